from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    PYDICOM_IMPLEMENTATION_UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from wardround_simulations.phantoms import DEFAULT

DCIODVFY = shutil.which("dciodvfy")


def hounsfield(dataset: Dataset) -> NDArray[np.float64]:
    return dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)


def around(dataset: Dataset, x_mm: float, y_mm: float) -> float:
    """Mean of 3 x 3 pixels at a place of the chest, found by the file's own geometry."""
    left, top, _ = (float(value) for value in dataset.ImagePositionPatient)
    down, across = (float(value) for value in dataset.PixelSpacing)
    row, column = round((y_mm - top) / down), round((x_mm - left) / across)
    return float(hounsfield(dataset)[row - 1 : row + 2, column - 1 : column + 2].mean())


def one_of_each_kind(phantoms) -> list[Path]:
    """One file per hospital and transfer syntax."""
    chosen = {}
    for path in phantoms.good():
        chosen.setdefault((path.parent.name, phantoms.syntax(path)), path)
    return list(chosen.values())


@pytest.mark.skipif(DCIODVFY is None, reason="dciodvfy is not installed (Debian package dicom3tools)")
def test_the_validator_of_dicom3tools_finds_no_error(phantoms, tmp_path):
    complaints = []
    for path in {*one_of_each_kind(phantoms), *phantoms.good()[::3]}:
        checked = path
        if phantoms.syntax(path) == DeflatedExplicitVRLittleEndian:
            # dicom3tools reads no deflated files: it gets the same data set inflated
            checked = tmp_path / "inflated.dcm"
            inflated = ExplicitVRLittleEndian.encode() + bytes(3)
            data = phantoms.plain(path)
            checked.write_bytes(data.replace(DeflatedExplicitVRLittleEndian.encode(), inflated))
        result = subprocess.run([DCIODVFY, checked], capture_output=True, text=True, check=False)
        complaints += [line for line in (result.stdout + result.stderr).splitlines() if "Error" in line]
        assert "CTImage" in result.stdout + result.stderr
    assert complaints == []


def test_four_transfer_syntaxes_and_both_photometric_interpretations_are_there(phantoms):
    heads = [dcmread(path, stop_before_pixels=True) for path in phantoms.good()]
    assert {head.file_meta.TransferSyntaxUID for head in heads} == {
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
    }
    for hospital in DEFAULT:
        own = [head for head in heads if head.PatientID.startswith(hospital.name.upper())]
        assert {head.file_meta.TransferSyntaxUID for head in own} == set(hospital.scanner.syntaxes)
        assert {head.PhotometricInterpretation for head in own} == {hospital.scanner.photometric}
    assert [h.scanner.photometric for h in DEFAULT].count("MONOCHROME1") == 1


@pytest.mark.parametrize("hospital", [hospital.name for hospital in DEFAULT])
def test_rescaling_alone_gives_hounsfield_units_at_every_hospital(phantoms, hospital):
    files = [dcmread(path) for path in phantoms.good(hospital)]
    air = np.mean([around(dataset, 0.0, -133.0) for dataset in files])
    muscle = np.mean([around(dataset, 34.0, 80.0) for dataset in files])
    bone = np.mean([around(dataset, 0.0, 60.0) for dataset in files])
    assert air == pytest.approx(-1000, abs=15)
    assert muscle == pytest.approx(45, abs=15)
    assert 250 < bone < 450


def test_monochrome1_stores_dense_tissue_as_small_values(phantoms):
    dataset = dcmread(phantoms.good("birch")[0])
    assert float(dataset.RescaleSlope) < 0
    stored, units = dataset.pixel_array.ravel(), hounsfield(dataset).ravel()
    assert stored[units.argmax()] == stored.min()


def test_padding_lies_outside_the_circle_and_no_tissue_has_its_value(phantoms):
    dataset = dcmread(phantoms.good("cedar")[0])
    padded_HW = dataset.pixel_array == dataset.PixelPaddingValue
    assert padded_HW[0, 0]
    assert not padded_HW[40].any()
    assert 0.15 < padded_HW.mean() < 0.25
    assert hounsfield(dataset)[~padded_HW].min() >= -1024


def test_no_version_of_a_library_is_written(phantoms):
    for path in one_of_each_kind(phantoms):
        data = phantoms.plain(path)
        assert PYDICOM_IMPLEMENTATION_UID.encode() not in data
        assert f"PYDICOM {pydicom.__version__}".encode() not in data
        assert data[:128] == bytes(128)


def test_slices_of_a_patient_share_the_exam_and_differ(phantoms):
    by_patient: dict[str, list[Dataset]] = {}
    for path in phantoms.good("alder"):
        dataset = dcmread(path)
        by_patient.setdefault(dataset.PatientID, []).append(dataset)
    assert {len(slices) for slices in by_patient.values()} == {1, 2, 3}
    for slices in by_patient.values():
        assert len({dataset.StudyInstanceUID for dataset in slices}) == 1
        assert len({dataset.SOPInstanceUID for dataset in slices}) == len(slices)
        assert len({dataset.PixelData for dataset in slices}) == len(slices)
