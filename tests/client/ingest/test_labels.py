"""labels.csv: what is accepted, and one clear error for everything else."""

import traceback

import pytest

from wardround_client.ingest import limits
from wardround_client.ingest.identity import alias, scan_key
from wardround_client.ingest.labels import Source, read_labels
from wardround_client.ingest.reasons import Refusal
from wardround_common.errors import IngestError

SECRET = bytes(range(32))
WORDS = ("normal", "pneumonia")


def read(folder, content):
    data = content if isinstance(content, bytes) else content.encode()
    (folder / "labels.csv").write_bytes(data)
    return read_labels(folder, labels=WORDS, site_secret=SECRET)


def label(table, patient="", scan="9.9"):
    try:
        return table.label_of(scan=scan_key(SECRET, scan), alias=alias(SECRET, patient))[0]
    except Refusal as refusal:
        return refusal.code


def test_a_row_without_a_scan_is_about_every_scan_of_its_patient(tmp_path):
    table = read(tmp_path, "patient_id,label\n007,pneumonia\n1e5,normal\n")
    assert (label(table, "007", "1.2"), label(table, "1e5", "1.3"), label(table, "7")) == (
        1,
        0,
        "label.missing",
    )


def test_a_row_with_a_scan_is_about_that_scan_only(tmp_path):
    table = read(tmp_path, "label,sop_instance_uid,patient_id\nnormal,1.2,A\npneumonia,1.3,A\n")
    assert (label(table, "A", "1.2"), label(table, "A", "1.3")) == (0, 1)
    assert label(table, "A", "1.4") == "label.other_scan"
    assert label(table, "B", "1.2") == "label.other_patient"


def test_a_scan_row_and_a_patient_row_must_agree(tmp_path):
    table = read(tmp_path, "patient_id,sop_instance_uid,label\nA,,normal\n,1.2,normal\n,1.3,pneumonia\n")
    assert label(table, "A", "1.2") == 0
    assert label(table, "A", "1.3") == "label.conflict"


def test_a_label_of_other_scans_of_the_patient_is_marked_as_such_where_they_agree(tmp_path):
    table = read(tmp_path, "label,sop_instance_uid,patient_id\nnormal,1.2,A\npneumonia,1.3,B\n")
    found = table.label_of(scan=scan_key(SECRET, "1.9"), alias=alias(SECRET, "B"))
    assert found == (1, Source.OTHER_SCAN)


@pytest.mark.parametrize(
    "content",
    [
        "patient_id,label\nA,normal\nA,normal\n",
        "\ufeffpatient_id,label\r\nA,normal\r\n\r\n",
        'Patient_ID , LABEL\n"A", normal \n\n',
        "sop_instance_uid,patient_id,label\n,A,normal\n",
    ],
)
def test_repeated_rows_blank_lines_marks_and_spaces_do_no_harm(tmp_path, content):
    assert label(read(tmp_path, content), "A") == 0


@pytest.mark.parametrize(
    ("code", "content"),
    [
        ("ingest.labels_encoding", "patient_id,label\nMüller-CANARY,normal\n".encode("latin-1")),
        ("ingest.labels_columns", "id,label\nCANARY,normal\n"),
        ("ingest.labels_columns", "CANARY,normal\nP2,normal\n"),
        ("ingest.labels_columns", "patient_id\nCANARY\n"),
        ("ingest.labels_columns", "label\nnormal\n"),
        ("ingest.labels_columns", "patient_id,label,CANARY\nA,normal,x\n"),
        ("ingest.labels_columns", "patient_id,patient_id,label\nA,CANARY,normal\n"),
        ("ingest.labels_columns", "patient_id,label\nA,normal,CANARY,CANARY\n"),
        ("ingest.labels_columns", 'patient_id,label\nA,"CANARY\n'),
        ("ingest.labels_columns", b"\0\0\0CANARY"),
        ("ingest.labels_columns", ""),
        ("ingest.labels_empty", "patient_id,label\n\n"),
        ("ingest.labels_unknown", "patient_id,label\nA,normal\nCANARY,CANARY-word\nB,\n"),
        ("ingest.labels_unknown", "patient_id,label\nCANARY\n"),
        ("ingest.labels_unnamed", "patient_id,label\n,normal\n"),
        ("ingest.labels_unnamed", "patient_id,label\nunknown,normal\n"),
        ("ingest.labels_unnamed", "sop_instance_uid,label\nCANARY,normal\n"),
        ("ingest.labels_conflict", "patient_id,label\nCANARY,normal\nB,normal\nCANARY,pneumonia\n"),
        ("ingest.labels_conflict", "patient_id,sop_instance_uid,label\nCANARY,1.2,normal\nB,1.2,normal\n"),
    ],
)
def test_a_table_that_cannot_be_used_gives_one_clear_error(tmp_path, code, content):
    with pytest.raises(IngestError) as caught:
        read(tmp_path, content)
    assert caught.value.code == code
    assert caught.value.remedy.endswith(".")
    assert "CANARY" not in "".join(traceback.format_exception(caught.value)) + caught.value.remedy
    assert caught.value.__context__ is None or "CANARY" not in repr(caught.value.__context__)


def test_errors_name_rows_as_a_spreadsheet_shows_them_and_the_permitted_words(tmp_path):
    rows = "".join(f"P{n},{'wrong' if n % 2 else 'normal'}\n" for n in range(2, 42))
    with pytest.raises(IngestError, match="rows 3, 5, 7, 9, 11, 13, 15, 17, 19, 21 and 10 more") as caught:
        read(tmp_path, "patient_id,label\n" + rows)
    assert "normal, pneumonia" in caught.value.message
    assert "normal, pneumonia" in caught.value.remedy


def test_conflicts_name_the_later_row_behind_blank_lines(tmp_path):
    with pytest.raises(IngestError, match="rows 5:"):
        read(tmp_path, "patient_id,label\nA,normal\n\n\nA,pneumonia\n")


def test_a_missing_table_gives_a_remedy_with_the_columns(tmp_path):
    with pytest.raises(IngestError) as caught:
        read_labels(tmp_path, labels=WORDS, site_secret=SECRET)
    assert caught.value.code == "ingest.labels_missing"
    assert "sop_instance_uid" in caught.value.remedy


def test_a_table_that_is_a_folder_a_link_or_too_large_is_refused(tmp_path):
    path = tmp_path / "labels.csv"
    path.mkdir()
    with pytest.raises(IngestError) as caught:
        read_labels(tmp_path, labels=WORDS, site_secret=SECRET)
    assert caught.value.code == "ingest.labels_unreadable"
    path.rmdir()
    with path.open("wb") as file:
        file.truncate(limits.MAX_LABEL_BYTES + 1)
    with pytest.raises(IngestError) as caught:
        read_labels(tmp_path, labels=WORDS, site_secret=SECRET)
    assert caught.value.code == "ingest.labels_unreadable"
