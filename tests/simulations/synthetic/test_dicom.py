import io
import shutil
import subprocess

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import SecondaryCaptureImageStorage

from wardround_client.ingest.acceptance import check_object
from wardround_client.ingest.reasons import Refusal
from wardround_common.plan import InputPlan
from wardround_simulations.synthetic.dicom import dicom_file
from wardround_simulations.synthetic.pictures import marked

DCIODVFY = shutil.which("dciodvfy")
NEWER_THAN_DICOM3TOOLS = "(0x0008,0x001c)"
"""SyntheticData is in the standard since 2023; Debian's dictionary of 2022 calls it unknown."""
ABOUT_PERSONS = (
    "Patient",
    "Physician",
    "Operator",
    "Institution",
    "Station",
    "Device",
    "Date",
    "Time",
    "Accession",
    "Comments",
    "Contributing",
)


def written(all_samples):
    return [dcmread(io.BytesIO(dicom_file(sample, all_samples))) for sample in all_samples.numbered()]


@pytest.fixture(params=["grey, fixed window", "grey, window of the file", "colour", "odd number of pixels"])
def kind(request, samples, projection):
    return {
        "grey, fixed window": lambda: samples(),
        "grey, window of the file": lambda: samples(plan=projection),
        "colour": lambda: samples(channels=3, size_px=28, plan=projection),
        "odd number of pixels": lambda: samples(n=2, size_px=257),
    }[request.param]()


@pytest.mark.skipif(DCIODVFY is None, reason="dciodvfy is not installed (Debian package dicom3tools)")
def test_the_validator_of_dicom3tools_finds_no_error_but_an_attribute_newer_than_itself(kind, tmp_path):
    path, complaints = tmp_path / "image.dcm", []
    for sample in list(kind.numbered())[:2]:
        path.write_bytes(dicom_file(sample, kind))
        result = subprocess.run([DCIODVFY, path], capture_output=True, text=True, check=False)
        lines = (result.stdout + result.stderr).splitlines()
        complaints += [line for line in lines if "Error" in line and NEWER_THAN_DICOM3TOOLS not in line]
        assert "SCImage" in lines
    assert complaints == []


def test_pydicom_reads_back_the_pixels_that_were_drawn(kind):
    for sample, dataset in zip(kind.numbered(), written(kind), strict=True):
        assert np.array_equal(dataset.pixel_array, marked(sample.image_CHW))
        assert len(dataset.PixelData) % 2 == 0


def test_every_file_says_in_its_attributes_that_it_is_synthetic(kind):
    for dataset in written(kind):
        assert dataset.SOPClassUID == SecondaryCaptureImageStorage
        assert dataset.SyntheticData == "YES"
        assert dataset.ImageType == ["DERIVED", "SECONDARY"]
        assert dataset.ConversionType == "SYN"
        assert dataset.BurnedInAnnotation == "YES"
        assert dataset.Modality == "OT"
        assert kind.plan_digest in dataset.DerivationDescription
        assert dataset.Manufacturer == "Wardround"


def test_no_element_describes_a_person_or_a_day(samples):
    for dataset in written(samples()):
        assert dataset.PatientName.family_name == "SYNTHETIC"
        assert dataset.PatientID.startswith("SYNTHETIC-")
        described = {
            element.keyword: element.value
            for element in dataset.iterall()
            if element.value
            and (element.VR == "PN" or any(word in element.keyword for word in ABOUT_PERSONS))
        }
        assert set(described) == {"PatientName", "PatientID", "IssuerOfPatientID"}
        assert not [element for element in dataset.iterall() if element.tag.is_private]


def test_patients_are_numbered_within_their_class(samples):
    names = [str(dataset.PatientName) for dataset in written(samples(n=4))]
    assert names == [
        "SYNTHETIC^CLEAR^0001",
        "SYNTHETIC^NODULE^0001",
        "SYNTHETIC^CLEAR^0002",
        "SYNTHETIC^NODULE^0002",
    ]


def test_rescaled_values_are_those_of_the_plans_window(samples):
    grey = np.zeros((2, 1, 32, 32), np.float32)
    grey[1] = 1
    black, white = written(samples(n=2, images_NCHW=grey))
    for dataset, expected in ((black, -1350.0), (white, 150.0)):
        value = float(dataset.pixel_array[0, 0]) * dataset.RescaleSlope + dataset.RescaleIntercept
        assert value == pytest.approx(expected, abs=1e-4)
    assert (black.WindowCenter, black.WindowWidth, black.RescaleType) == (-600, 1500, "HU")


def test_an_enlarged_image_keeps_its_size_in_millimetres(samples):
    (dataset,) = written(samples(n=1))
    assert (dataset.Rows, dataset.Columns) == (256, 256)
    assert dataset.Rows * dataset.PixelSpacing[0] == 32 * 2.0


def test_files_with_other_content_never_share_a_uid(samples):
    sets = [samples(), samples(seed=1), samples(plan_digest="6f" * 32), samples(title="Another title")]
    heads = [dataset for one in sets for dataset in written(one)]
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        assert len({head[keyword].value for head in heads}) == len(heads)
        assert all(head[keyword].value.startswith("2.25.") for head in heads)


def test_the_same_image_gives_the_same_bytes(samples):
    one, other = ([dicom_file(sample, s) for sample in s.numbered()] for s in (samples(), samples()))
    assert one == other


def test_a_title_that_no_element_could_hold_is_shortened(samples):
    (dataset,) = written(samples(n=1, title="München\n\\ " + 70 * "x"))
    assert dataset.StudyDescription.startswith("SYNTHETIC: München / x")
    assert len(dataset.StudyDescription.encode()) == 64


def test_a_site_refuses_them_as_training_images(samples):
    (dataset,) = written(samples(n=1))
    with pytest.raises(Refusal):
        check_object(dataset, modality="CT")


def test_images_without_a_common_scale_claim_none(samples):
    photographs = InputPlan(modality="XC", channels=3, size_px=32, spacing_mm=0.0, window="file")
    (first, *_) = written(samples(channels=3, plan=photographs))
    assert "PixelSpacing" not in first
