"""Rules that compare files, over whole folders."""

import itertools

import pytest

from wardround_common.errors import IngestError


def codes(hospital):
    return {row.path: row.code for row in hospital.ingest().rejects}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"PatientBirthDate": "19500101"}, {"PatientBirthDate": "19500102"}),
        ({"PatientSex": "F"}, {"PatientSex": "M"}),
        ({"IssuerOfPatientID": "North"}, {"IssuerOfPatientID": "South"}),
        ({}, {"IssuerOfPatientID": "South"}),
    ],
)
def test_all_scans_of_a_patient_id_that_may_be_two_persons_are_rejected(hospital, make, one, other):
    hospital.put("a.dcm", make(**one))
    hospital.put("b.dcm", make(**other))
    hospital.put("c.dcm", make(**one))
    hospital.put("other.dcm", make(PatientID="P2", PatientBirthDate="19990101"))
    assert codes(hospital) == dict.fromkeys(["a.dcm", "b.dcm", "c.dcm"], "patient.conflict")


def test_a_missing_birth_date_or_sex_contradicts_nobody(hospital, make):
    hospital.put("a.dcm", make(PatientBirthDate="19500101", PatientSex="F"))
    hospital.put("b.dcm", make())
    hospital.put("c.dcm", make(PatientBirthDate=""))
    assert codes(hospital) == {}


def test_a_file_that_is_rejected_itself_still_bears_witness(hospital, make):
    hospital.put("good.dcm", make(PatientSex="F"))
    hospital.put("other.dcm", make(PatientID="P2"))
    hospital.put("report.dcm", make(PatientSex="M", Modality="CT"))
    assert codes(hospital) == {"good.dcm": "patient.conflict", "report.dcm": "modality.other"}


def test_copies_of_a_file_are_used_once(hospital, make, to_bytes):
    data = to_bytes(make())
    for name in ("b.dcm", "a.dcm", "deep/c.dcm"):
        hospital.put(name, data)
    assert codes(hospital) == {"b.dcm": "duplicate", "deep/c.dcm": "duplicate"}


def test_different_files_with_one_sop_instance_uid_are_all_rejected(hospital, make, draw, to_bytes):
    data = to_bytes(make(SOPInstanceUID="1.2.3"))
    hospital.put("a.dcm", data)
    hospital.put("b.dcm", data)
    hospital.put("c.dcm", make(draw(1), SOPInstanceUID="1.2.3"))
    hospital.put("other.dcm", make(PatientID="P2"))
    assert codes(hospital) == dict.fromkeys(["a.dcm", "b.dcm", "c.dcm"], "duplicate.conflict")


def test_one_scan_under_two_patients_is_rejected_twice(hospital, make):
    hospital.put("a.dcm", make(SOPInstanceUID="1.2.3"))
    hospital.put("b.dcm", make(SOPInstanceUID="1.2.3", PatientID="P2"))
    hospital.put("other.dcm", make(PatientID="P3"))
    assert codes(hospital) == dict.fromkeys(["a.dcm", "b.dcm"], "duplicate.conflict")


def test_a_broken_copy_does_not_harm_the_good_one(hospital, make, to_bytes):
    data = to_bytes(make())
    hospital.put("good.dcm", data)
    hospital.put("broken.dcm", data[:-100])
    assert codes(hospital) == {"broken.dcm": "file.truncated"}


def test_the_order_and_the_names_of_files_do_not_matter(hospital, make, draw, to_bytes):
    files = [
        to_bytes(make(draw(1), SOPInstanceUID="1.2.1")),
        to_bytes(make(draw(2), SOPInstanceUID="1.2.2", PatientID="P2")),
        to_bytes(make(draw(3), SOPInstanceUID="1.2.2", PatientID="P2")),
        to_bytes(make(draw(4), SOPInstanceUID="1.2.4", PatientID="P3")),
    ]
    seen = set()
    for order in itertools.permutations(range(4)):
        for name, index in enumerate(order):
            hospital.put(f"{name}.dcm", files[index])
        result = hospital.ingest()
        seen.add((result.catalogue.snapshot, tuple(sorted(row.code for row in result.rejects))))
    assert len(seen) == 1


def test_without_one_usable_scan_there_is_one_error_and_the_reasons_are_written(hospital, make):
    hospital.put("a.dcm", make(PatientID="P9"))
    hospital.put("b.txt", b"hello")
    with pytest.raises(IngestError) as caught:
        hospital.ingest()
    assert caught.value.code == "ingest.no_usable_scan"
    assert "1 file.not_dicom, 1 label.missing" in caught.value.message
    found = [(row["path"], row["tag"], row["code"]) for row in hospital.rejects()]
    assert found == [("a.dcm", "(0008,0018)", "label.missing"), ("b.txt", "", "file.not_dicom")]


def test_a_table_whose_scans_are_all_of_another_export_labels_by_patient(hospital, make):
    hospital.label("patient_id,sop_instance_uid,label", "P1,1.2.3,normal", "P2,1.2.4,pneumonia")
    hospital.put("a.dcm", make())
    hospital.put("b.dcm", make(PatientID="P2"))
    catalogue = hospital.ingest().catalogue
    assert sorted(catalogue.label_N) == [0, 1]


def test_once_one_scan_of_the_table_is_found_the_others_are_not_guessed(hospital, make):
    named = make(PatientID="P2")
    hospital.label(
        "patient_id,sop_instance_uid,label", "P1,1.2.3,normal", f"P2,{named.SOPInstanceUID},pneumonia"
    )
    hospital.put("a.dcm", make())
    hospital.put("b.dcm", named)
    assert codes(hospital) == {"a.dcm": "label.other_scan"}
