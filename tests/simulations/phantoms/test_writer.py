from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread, dcmwrite
from pydicom.uid import ExplicitVRLittleEndian

from wardround_common.errors import ConfigError, StorageError
from wardround_simulations.phantoms import DEFAULT, write_phantoms

GOLDEN = "3010ab0a7c38f289f9947ab4b962a42e68a46a0c8f4034f01461dfcecd7f61ae"


def contents(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()
    }


def decoded_digest(paths: Iterable[Path], out: Path) -> str:
    """SHA-256 over paths, attributes and pixels: what a compressor's version may change is left out."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        dataset = dcmread(path)
        pixels = dataset.pixel_array.tobytes()
        del dataset.PixelData
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        header = io.BytesIO()
        dcmwrite(header, dataset, implicit_vr=False, little_endian=True)
        for part in (path.relative_to(out).as_posix().encode(), header.getvalue(), pixels):
            digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_processes(phantoms, tmp_path):
    write_phantoms(tmp_path / "again", seed=phantoms.seed, scale=phantoms.scale, workers=2)
    assert contents(tmp_path / "again") == contents(phantoms.out)


def test_another_seed_gives_other_patients(phantoms, tmp_path):
    write_phantoms(tmp_path, seed=phantoms.seed + 1, scale=0.01, broken=False)
    others = [dcmread(path) for path in tmp_path.glob("*/*.dcm")]
    ours = [dcmread(path) for path in phantoms.good()]
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "SOPInstanceUID", "PixelData"):
        values = {dataset[keyword].value for dataset in ours}
        assert values.isdisjoint(dataset[keyword].value for dataset in others)


def test_golden_digest_of_a_small_set(tmp_path):
    write_phantoms(tmp_path, seed=1, scale=0.01, broken=False)
    assert decoded_digest(tmp_path.glob("*/*.dcm"), tmp_path) == GOLDEN


def test_a_patient_does_not_depend_on_the_size_of_the_set_nor_on_other_hospitals(phantoms, tmp_path):
    write_phantoms(tmp_path, seed=phantoms.seed, hospitals=DEFAULT[2:], scale=0.1, broken=False)
    for path in phantoms.good("cedar"):
        one, other = dcmread(path), dcmread(tmp_path / "cedar" / path.name)
        assert (one.SOPInstanceUID, one.PatientID) == (other.SOPInstanceUID, other.PatientID)
        assert one.PixelData == other.PixelData


def test_the_summary_counts_what_lies_in_the_folders(phantoms):
    for hospital, summary in zip(DEFAULT, phantoms.summary.hospitals, strict=True):
        names = {path.name for path in phantoms.good(hospital.name)}
        patients = {name[:5] for name in names}
        assert summary.name == hospital.name
        assert summary.patients == round(hospital.patients * phantoms.scale) == len(patients)
        assert summary.images == len(names)
        assert 0 < summary.positives < summary.patients
        written = {path.name for path in (phantoms.out / hospital.name).iterdir()}
        assert written == names | set(summary.broken) | {"labels.csv"}


def test_every_good_scan_has_a_label_and_all_scans_of_a_patient_the_same(phantoms):
    for hospital, summary in zip(DEFAULT, phantoms.summary.hospitals, strict=True):
        labels = phantoms.labels(hospital.name)
        keyword = {"patient_id": "PatientID", "sop_instance_uid": "SOPInstanceUID"}[hospital.label_key]
        found: dict[str, set[str]] = {}
        for path in phantoms.good(hospital.name):
            dataset = dcmread(path, stop_before_pixels=True)
            found.setdefault(dataset.PatientID, set()).add(labels[dataset[keyword].value])
        assert len(found) == summary.patients
        assert all(len(words) == 1 for words in found.values())
        assert sum(words == {"nodule"} for words in found.values()) == summary.positives
        assert set(labels.values()) == {"normal", "nodule"}


def test_two_label_tables_name_patients_and_one_names_scans(phantoms):
    tables = [phantoms.out / hospital.name / "labels.csv" for hospital in DEFAULT]
    heads = [table.read_text().splitlines()[0] for table in tables]
    assert heads == ["patient_id,label", "patient_id,label", "sop_instance_uid,label"]


def test_a_folder_that_holds_something_else_is_refused_and_kept(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="other entries") as caught:
        write_phantoms(tmp_path, seed=0, scale=0.01)
    assert caught.value.code == "phantoms.folder_not_empty"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(ConfigError, match="found a file"):
        write_phantoms(tmp_path / "out", seed=0, scale=0.01)


def test_a_place_that_cannot_be_written_is_said_plainly(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError) as caught:
        write_phantoms(tmp_path / "file" / "out", seed=0, scale=0.01)
    assert caught.value.code == "phantoms.not_writable"


def test_phantoms_are_replaced_but_not_where_something_was_put_beside_them(tmp_path):
    write_phantoms(tmp_path, seed=0, scale=0.01)
    write_phantoms(tmp_path, seed=0, scale=0.005, hospitals=DEFAULT[:1], broken=False)
    assert not (tmp_path / "birch").exists()
    assert len({path.name[:5] for path in tmp_path.glob("alder/*.dcm")}) == 3
    (tmp_path / "mine").mkdir()
    with pytest.raises(ConfigError, match="1 other"):
        write_phantoms(tmp_path, seed=0, scale=0.01)
    assert (tmp_path / "alder" / "labels.csv").exists()


def test_progress_counts_patients_up_to_the_last(tmp_path):
    seen: list[tuple[int, int]] = []
    write_phantoms(tmp_path, seed=0, scale=0.04, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(20, 48), (24, 48), (40, 48), (48, 48)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1},
        {"scale": 0.0},
        {"scale": float("nan")},
        {"workers": 0},
        {"hospitals": ()},
        {"hospitals": DEFAULT[:1] * 2},
        {"hospitals": (replace(DEFAULT[0], name="../up"),)},
    ],
    ids=str,
)
def test_arguments_out_of_range_are_refused_before_anything_is_written(wrong: dict[str, Any], tmp_path):
    with pytest.raises(ConfigError):
        write_phantoms(tmp_path / "out", **{"seed": 0, "scale": 0.01} | wrong)
    assert not (tmp_path / "out").exists()
