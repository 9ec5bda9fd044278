"""The whole way from a folder to a catalogue: nothing lost, nothing leaked, nothing touched."""

import logging
import os
import shutil
import socket
import stat
import subprocess
import sys
import traceback
import warnings
from pathlib import Path

import numpy as np
import pytest
from keys import DATA
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from wardround_client.catalogue import Catalogue
from wardround_client.ingest import CATALOGUE_FILE, REJECTS_FILE, decoders, limits, scan
from wardround_client.ingest.readers import read_all
from wardround_client.ingest.scan import Rules
from wardround_common.errors import ConfigError, IngestError, StorageError

CANARY = "CANARY"


@pytest.fixture
def folder(hospital, make, draw):
    """Twelve patients with one to three scans, and everything that can go wrong beside them."""
    rows = ["patient_id,label"]
    for p in range(12):
        rows.append(f"Q{p},{'pneumonia' if p % 3 else 'normal'}")
        for n in range(1 + p % 3):
            uid = f"1.2.{p}.{n}"
            hospital.put(f"{p % 4}/{p}-{n}", make(draw(10 * p + n), PatientID=f"Q{p}", SOPInstanceUID=uid))
    hospital.label(*rows)
    hospital.put("notes.txt", b"not an image")
    hospital.put("report.dcm", make(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.33", PixelData=None))
    hospital.put("DICOMDIR", b"passed over")
    hospital.put(".hidden/scan.dcm", b"passed over")
    return hospital


def fingerprint(folder):
    """Content, permissions and time of change of everything below ``folder``."""
    return {
        str(path): (path.stat().st_mode, path.stat().st_mtime_ns, path.is_file() and path.read_bytes())
        for path in sorted(folder.rglob("*"))
    }


def test_every_file_is_a_row_of_the_catalogue_or_of_the_rejects(folder):
    calls = []
    result = folder.ingest(progress=lambda done, total: calls.append((done, total)))
    assert len(result.catalogue.sop_N) == 24
    assert [row.path for row in result.rejects] == ["notes.txt", "report.dcm"]
    assert calls == [(done, 26) for done in range(1, 27)]
    table = folder.rejects()
    assert [(row["path"], row["code"]) for row in table] == [
        ("notes.txt", "file.not_dicom"),
        ("report.dcm", "object.unsupported"),
    ]
    assert all(row["reason"] for row in table)


def test_labels_and_images_belong_to_their_patients(folder):
    catalogue = folder.ingest().catalogue
    assert catalogue.images_NCHW.shape == (24, 1, 16, 16)
    assert catalogue.images_NCHW.dtype == np.float32
    per_patient = np.bincount(catalogue.patient_N)
    labels = [set(catalogue.label_N[catalogue.patient_N == p]) for p in range(12)]
    assert all(len(found) == 1 for found in labels)
    assert sorted((int(count), *found) for count, found in zip(per_patient, labels, strict=True)) == sorted(
        (1 + p % 3, int(p % 3 > 0)) for p in range(12)
    )


def test_a_second_ingest_elsewhere_gives_the_same_catalogue(folder, tmp_path):
    first = folder.ingest()
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for n, path in enumerate(sorted(folder.folder.rglob("*"), reverse=True)):
        if path.is_file():
            shutil.copy(path, moved / (path.name if path.name == "labels.csv" else f"renamed-{n}"))
    folder.folder, folder.store = moved, tmp_path / "store 2"
    second = folder.ingest()
    assert second.catalogue.snapshot == first.catalogue.snapshot
    assert second.catalogue.patient_keys == first.catalogue.patient_keys
    assert (second.catalogue.side_P == first.catalogue.side_P).all()
    contents = []
    for store in (folder.store, tmp_path / "store"):
        with (store / CATALOGUE_FILE).open("rb") as file:
            contents.append(b"".join(DATA.opened(file, CATALOGUE_FILE)))
    assert contents[0] == contents[1]


def test_any_number_of_workers_gives_the_same_result(folder):
    alone, together = folder.ingest(), folder.ingest(workers=2)
    assert together.catalogue.snapshot == alone.catalogue.snapshot
    assert together.rejects == alone.rejects


def test_another_secret_gives_other_keys(folder):
    keys = {folder.ingest(site_secret=bytes([n]) * 32).catalogue.patient_keys for n in range(2)}
    assert len(keys) == 2


def test_originals_stay_as_they_are(folder):
    before = fingerprint(folder.folder)
    folder.ingest(workers=2)
    assert fingerprint(folder.folder) == before


def test_only_the_store_is_written_and_only_its_owner_may_read_it(folder, tmp_path):
    folder.ingest()
    assert {path.name for path in tmp_path.iterdir()} == {"originals", "store"}
    assert {path.name for path in folder.store.iterdir()} == {CATALOGUE_FILE, REJECTS_FILE}
    assert stat.S_IMODE(folder.store.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.store.iterdir()} == {0o600}


def test_the_saved_catalogue_is_the_one_returned(folder):
    result = folder.ingest()
    assert Catalogue.load(folder.store / CATALOGUE_FILE, DATA).snapshot == result.catalogue.snapshot


def test_no_identifier_appears_in_what_is_written_logged_or_warned(
    hospital, make, capfd, caplog, monkeypatch
):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(logging.getLogger("pydicom"), "disabled", False)  # as ``logging.config`` does
    planted = {
        "PatientID": CANARY + "-1", "PatientName": CANARY, "IssuerOfPatientID": CANARY,
        "PatientBirthDate": CANARY, "PatientSex": CANARY, "AccessionNumber": CANARY, "StudyID": CANARY,
        "InstitutionName": CANARY, "PatientComments": CANARY, "ReferringPhysicianName": CANARY,
        "StudyDescription": CANARY, "OperatorsName": CANARY, "DeviceSerialNumber": CANARY,
    }  # fmt: skip
    nested = Dataset()
    nested.PatientName = CANARY
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom about the writing of such values
        for n, change in enumerate(
            [
                {},
                {"Rows": 60000},
                {"SOPInstanceUID": CANARY},
                {"RescaleType": CANARY, "VOILUTFunction": CANARY, "WindowCenter": 1, "WindowWidth": 9},
                {"ImageType": [CANARY, CANARY, CANARY], "BurnedInAnnotation": "YES"},
                {"Modality": CANARY},
                {"PhotometricInterpretation": CANARY},
                {"SpecificCharacterSet": CANARY},
                {"PatientID": CANARY + "-unlabelled"},
            ]
        ):
            dataset = make(**(planted | change), OtherPatientIDsSequence=Sequence([nested]))
            dataset.private_block(0x0011, CANARY, create=True).add_new(1, "LO", CANARY)
            hospital.put(f"{n}.dcm", dataset)
    hospital.label("patient_id,label", f"{CANARY}-1,normal")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        result = hospital.ingest()
    assert len(result.rejects) == 7
    written = b"".join(path.read_bytes() for path in hospital.store.iterdir())
    said = "".join(capfd.readouterr()) + caplog.text + repr(result) + "".join(str(w.message) for w in warned)
    assert CANARY.encode() not in written
    assert CANARY not in said


def test_no_identifier_appears_in_an_error(hospital, make):
    hospital.put("a.dcm", make(PatientID=CANARY, RescaleSlope="1.5", RescaleIntercept="1"))
    with pytest.raises(IngestError) as caught:
        hospital.ingest()
    assert CANARY not in "".join(traceback.format_exception(caught.value)) + caught.value.remedy


def test_links_pipes_and_sockets_are_rows_and_never_opened(hospital, make, tmp_path):
    hospital.put("scan.dcm", make())
    outside = tmp_path / "outside.dcm"
    outside.write_bytes(b"must not be read")
    (hospital.folder / "link.dcm").symlink_to(outside)
    (hospital.folder / "inner.dcm").symlink_to(hospital.folder / "scan.dcm")
    (hospital.folder / "dangling.dcm").symlink_to(tmp_path / "nothing")
    (hospital.folder / "loop").symlink_to(hospital.folder, target_is_directory=True)
    os.mkfifo(hospital.folder / "pipe.dcm")
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(hospital.folder / "s"))
        result = hospital.ingest()
    assert {row.path: row.code for row in result.rejects} == {
        "link.dcm": "file.symlink",
        "inner.dcm": "file.symlink",
        "dangling.dcm": "file.symlink",
        "loop": "file.symlink",
        "pipe.dcm": "file.not_regular",
        "s": "file.not_regular",
    }
    assert len(result.catalogue.sop_N) == 1


def test_file_names_that_are_no_text_are_written_all_the_same(hospital, make):
    hospital.put("scan.dcm", make())
    Path(os.fsdecode(os.fsencode(hospital.folder) + b'/na\xefve,"\n.dcm')).write_bytes(b"")
    assert [row.path for row in hospital.ingest().rejects] == ['na\\xefve,"\n.dcm']
    assert [row["path"] for row in hospital.rejects()] == ['na\\xefve,"\n.dcm']


AS_NOBODY = """
import os, sys
from pathlib import Path
from wardround_client.ingest import ingest
from wardround_client.sealing import SiteKey
from wardround_common.errors import WardroundError
from wardround_common.plan import InputPlan

def read(folder, store):
    plan = InputPlan(modality="CR", size_px=16, spacing_mm=1.0, window="file")
    how = {"sealer": SiteKey.new().data(b""), "labels": ("normal", "pneumonia"), "site_secret": bytes(32)}
    return ingest(Path(folder), store=Path(store), input_plan=plan, **how)

read(*sys.argv[3:])  # imports everything while it may still be read
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    print(*[f"{row.path}={row.code}" for row in read(*sys.argv[1:3]).rejects])
except WardroundError as error:
    print(error.code, error.remedy)
"""


@pytest.fixture
def open_hospital(hospital, make, tmp_path):
    """A folder that any user may read, and a way to ingest it as a user without rights."""
    hospital.put("scan.dcm", make())
    hospital.put("sub/scan.dcm", make(PatientID="P2"))
    public = Path("/tmp") / f"wardround-{os.getpid()}"
    shutil.copytree(tmp_path, public)
    for path in (public, *public.rglob("*")):
        path.chmod(0o777)

    def run():
        folders = [root / name for root in (public, tmp_path) for name in ("originals", "store")]
        arguments = [sys.executable, "-c", AS_NOBODY, *folders]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert done.stderr == ""
        return done.stdout.strip()

    yield public, run
    for path in public.rglob("*"):
        if path.is_dir():
            path.chmod(0o777)
    shutil.rmtree(public)


def test_a_file_or_a_sub_folder_that_may_not_be_read_is_a_row(open_hospital):
    public, run = open_hospital
    (public / "originals" / "locked.dcm").touch(mode=0o000)
    (public / "originals" / "sub").chmod(0o000)
    assert run() == "locked.dcm=file.unreadable sub=folder.unreadable"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("originals", "ingest.folder_unreadable"),
        ("originals/labels.csv", "ingest.labels_unreadable"),
        ("", "store.unwritable"),
    ],
)
def test_a_folder_table_or_store_without_permission_is_one_clear_error(open_hospital, path, code):
    public, run = open_hospital
    (public / path).chmod(0o000 if path else 0o555)
    assert run().startswith(code + " ")


def test_a_folder_that_is_missing_empty_or_a_file_is_one_clear_error(hospital, tmp_path):
    with pytest.raises(IngestError) as caught:
        hospital.ingest()
    assert caught.value.code == "ingest.folder_empty"
    shutil.rmtree(hospital.folder)
    for make_it in (lambda: None, hospital.folder.touch):
        make_it()
        with pytest.raises(IngestError) as caught:
            hospital.ingest()
        assert caught.value.code == "ingest.folder_missing"


def test_a_store_inside_the_originals_is_refused(hospital, make):
    hospital.put("scan.dcm", make())
    hospital.store = hospital.folder / "deep" / "store"
    with pytest.raises(IngestError) as caught:
        hospital.ingest()
    assert caught.value.code == "ingest.store_inside_folder"
    assert not hospital.store.exists()


def test_a_store_that_is_a_file_is_one_clear_error(hospital, make):
    hospital.put("scan.dcm", make())
    hospital.store.touch()
    with pytest.raises(StorageError) as caught:
        hospital.ingest()
    assert caught.value.code == "store.unwritable"


def test_a_fixed_window_without_width_and_a_short_secret_are_refused(hospital, ct_plan):
    import msgspec

    with pytest.raises(ConfigError):
        hospital.ingest(input_plan=msgspec.structs.replace(ct_plan, window_width=0.0))
    with pytest.raises(ConfigError):
        hospital.ingest(site_secret=b"short")


def test_a_catalogue_from_before_stays_when_nothing_can_be_used(hospital, make):
    hospital.put("scan.dcm", make())
    before = hospital.ingest().catalogue.snapshot
    hospital.label("patient_id,label", "P9,normal")
    with pytest.raises(IngestError):
        hospital.ingest()
    assert Catalogue.load(hospital.store / CATALOGUE_FILE, DATA).snapshot == before


def test_ingest_does_not_import_torch():
    code = "import sys, wardround_client.ingest; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_table_of_decoders_names_what_is_read(hospital):
    table = decoders()
    assert table["Explicit VR Little Endian"]
    assert table["JPEG Lossless, Non-Hierarchical, First-Order Prediction (Process 14 [Selection Value 1])"]
    assert not table["MPEG2 Main Profile / Main Level"]


def test_more_files_or_images_than_allowed_are_one_clear_error(folder, monkeypatch):
    for limit, code in (("MAX_CATALOGUE_BYTES", "ingest.too_much"), ("MAX_FILES", "ingest.too_many_files")):
        with monkeypatch.context() as patch:
            patch.setattr(limits, limit, 10)
            with pytest.raises(IngestError) as caught:
                folder.ingest()
        assert caught.value.code == code
    assert not (folder.store / CATALOGUE_FILE).exists()


class _Deadly:
    """Ends the process that unpickles it."""

    def __reduce__(self):
        return os._exit, (3,)


def test_a_worker_that_dies_is_one_clear_error(folder, cr_plan):
    rules = Rules(plan=cr_plan, labels=_Deadly(), site_secret=bytes(32))
    with pytest.raises(IngestError) as caught:
        list(read_all(folder.folder, ["notes.txt"] * 40, rules=rules, workers=2))
    assert caught.value.code == "ingest.worker_died"


def test_memory_that_runs_out_is_one_clear_error(folder, monkeypatch):
    def exhausted(data):
        raise MemoryError

    monkeypatch.setattr(scan, "open_dataset", exhausted)
    with pytest.raises(IngestError) as caught:
        folder.ingest()
    assert caught.value.code == "ingest.memory"
