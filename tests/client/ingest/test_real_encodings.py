"""Genuine images in up to eight encodings each (NEMA WG04), where the files are at hand."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import VLPhotographicImageStorage

from wardround_common.plan import InputPlan

ARCHIVE = Path(__file__).resolve().parents[4] / "shared" / "data" / "dicom_dev.zip"
pytestmark = pytest.mark.skipif(not ARCHIVE.exists(), reason="../shared is absent")

WINDOW = {"size_px": 64, "spacing_mm": 4.0, "window_center": 40.0, "window_width": 400.0}
PLANS = {
    "CT": InputPlan(modality="CT", window="fixed", **WINDOW),
    "MR": InputPlan(modality="MR", window="file", **WINDOW),
}


def read(name, encoding):
    folder = "REF" if encoding == "UNC" else encoding
    with zipfile.ZipFile(ARCHIVE) as archive:
        return archive.read(f"WG04/{folder}/{name}_{encoding}.dcm")


@pytest.mark.parametrize("name", ["CT1", "CT2", "MR1", "MR2", "MR3", "MR4"])
def test_all_lossless_encodings_of_an_image_give_the_same_tensor(hospital, name):
    plan = PLANS[name[:2]]
    reference = hospital.image(read(name, "UNC"), plan=plan)
    assert reference.std() > 0.05
    for encoding in ("RLE", "JPLL", "JLSL", "J2KR"):
        assert (hospital.image(read(name, encoding), plan=plan) == reference).all(), encoding
    for encoding in ("JLSN", "J2KI"):
        assert abs(hospital.image(read(name, encoding), plan=plan) - reference).mean() < 0.03, encoding


@pytest.mark.parametrize("name", ["MR1", "MR2", "MR3", "MR4"])
def test_twelve_bit_jpeg_is_rejected_cleanly(hospital, name):
    assert hospital.code(read(name, "JPLY"), plan=PLANS["MR"]) == "pixels.undecodable"


@pytest.mark.parametrize(
    ("name", "code"), [("NM1", "object.secondary_capture"), ("US1", "object.unsupported")]
)
def test_other_objects_are_named_as_such(hospital, name, code):
    assert hospital.code(read(name, "UNC"), plan=PLANS["CT"]) == code


def photograph(name, encoding):
    """A genuine colour image (ultrasound, laparoscopy): named a photograph, its pixels as they are."""
    dataset = pydicom.dcmread(io.BytesIO(read(name, encoding)))
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = VLPhotographicImageStorage
    dataset.Modality = "XC"
    return dataset


@pytest.mark.parametrize("name", ["US1", "VL2"])
def test_all_encodings_of_a_colour_image_give_its_colours(hospital, name):
    original = photograph(name, "UNC")
    side, columns = min(original.Rows, 512), original.Columns
    plan = InputPlan(modality="XC", channels=3, size_px=side, spacing_mm=0.0, window="file")
    stored = np.frombuffer(original.PixelData, np.uint8)[: side * columns * 3].reshape(side, columns, 3)
    left = (columns - side) // 2
    reference_CHW = np.moveaxis(stored[:, left : left + side], -1, 0) / np.float32(255)
    assert np.abs(reference_CHW[0] - reference_CHW[2]).mean() > 0.001  # not grey
    for encoding, tolerance in (("UNC", 0), ("RLE", 0), ("J2KR", 0), ("J2KI", 0.02)):
        image_CHW = hospital.outcome(photograph(name, encoding), plan=plan).scan.image_CHW
        assert np.abs(image_CHW - reference_CHW).mean() <= tolerance, encoding
        assert hospital.code(photograph(name, encoding), plan=PLANS["MR"]) == "modality.other"
