from __future__ import annotations

import pytest
from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import BasicTextSRStorage, CTImageStorage

from wardround_simulations.phantoms import DEFAULT, write_phantoms


def path_of(phantoms, name):
    [path] = phantoms.out.glob(f"*/{name}")
    return path


def named(phantoms, path) -> bool:
    dataset = dcmread(path, stop_before_pixels=True)
    labels = phantoms.labels(path.parent.name)
    return dataset.PatientID in labels or dataset.SOPInstanceUID in labels


def test_there_are_six_broken_files_two_at_each_hospital(phantoms):
    assert [len(summary.broken) for summary in phantoms.summary.hospitals] == [2, 2, 2]
    assert {name for summary in phantoms.summary.hospitals for name in summary.broken} == phantoms.broken


def test_one_file_ends_in_the_middle_of_its_pixels(phantoms):
    path = path_of(phantoms, "truncated.dcm")
    dataset = dcmread(path)
    assert dataset.SOPClassUID == CTImageStorage
    assert 0 < len(dataset.get("PixelData", b"x")) < dataset.Rows * dataset.Columns * 2
    assert named(phantoms, path)


def test_one_file_is_no_dicom(phantoms):
    with pytest.raises(InvalidDicomError):
        dcmread(path_of(phantoms, "not-dicom.dcm"))


def test_one_image_has_no_pixels(phantoms):
    path = path_of(phantoms, "no-pixels.dcm")
    dataset = dcmread(path)
    assert dataset.SOPClassUID == CTImageStorage
    assert "PixelData" not in dataset
    assert named(phantoms, path)


def test_one_image_says_it_is_huge_and_is_not(phantoms):
    path = path_of(phantoms, "huge-matrix.dcm")
    dataset = dcmread(path)
    assert (dataset.Rows, dataset.Columns, len(dataset.PixelData)) == (65_535, 65_535, 128)
    assert path.stat().st_size < 10_000
    assert named(phantoms, path)


def test_one_good_image_has_no_label(phantoms):
    path = path_of(phantoms, "unlabelled.dcm")
    assert dcmread(path).pixel_array.shape == (72, 72)
    assert not named(phantoms, path)


def test_one_object_is_a_report(phantoms):
    dataset = dcmread(path_of(phantoms, "report.dcm"))
    assert dataset.SOPClassUID == BasicTextSRStorage
    assert dataset.Modality == "SR"


def test_a_single_hospital_gets_all_six_and_none_where_none_are_wanted(phantoms, tmp_path):
    summary = write_phantoms(tmp_path / "all", seed=0, hospitals=DEFAULT[1:2], scale=0.01)
    assert set(summary.hospitals[0].broken) == phantoms.broken
    write_phantoms(tmp_path / "none", seed=0, hospitals=DEFAULT[1:2], scale=0.01, broken=False)
    assert not {path.name for path in (tmp_path / "none").rglob("*")} & phantoms.broken
