"""Keyed hashes of patients and scans."""

import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from wardround_client.ingest.dataset import quietly
from wardround_client.ingest.identity import alias, identify, scan_key

SECRET = bytes(range(32))


def person(patient_id, issuer="", charset=None, **changes):
    dataset = Dataset()
    if charset:
        dataset.SpecificCharacterSet = charset
    dataset.PatientID, dataset.IssuerOfPatientID = patient_id, issuer
    with quietly():
        for keyword, value in changes.items():
            setattr(dataset, keyword, value)
    return identify(dataset, SECRET)


def test_the_patient_key_is_a_keyed_hash_of_issuer_and_id():
    parts = (b"wardround patient", b"Mercy", b"P1")
    message = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    assert person("P1", "Mercy").key == hmac.new(SECRET, message, hashlib.sha256).digest()


@given(st.text("ABC", min_size=1, max_size=4), st.text("ABC", max_size=4))
def test_no_other_split_of_the_same_letters_gives_the_same_key(patient_id, issuer):
    joined = issuer + patient_id
    keys = {person(joined[cut:], joined[:cut]).key for cut in range(len(joined))}
    assert len(keys) == len(joined)


def test_padding_and_unicode_form_do_not_split_a_patient():
    assert person(" P1 ").key == person("P1").key
    assert person("Mu\u0308ller", charset="ISO_IR 192").key == person("M\u00fcller", charset="ISO_IR 192").key


def test_case_and_leading_zeros_make_another_patient():
    assert len({person(text).key for text in ("p1", "P1", "01", "1")}) == 4


def test_keys_of_different_kinds_and_secrets_differ():
    assert (
        len({person("1.2").key, alias(SECRET, "1.2"), scan_key(SECRET, "1.2"), alias(b"x" * 32, "1.2")}) == 4
    )


def test_a_missing_issuer_is_a_statement_and_a_missing_birth_date_is_none():
    plain = person("P1")
    assert plain.traits[0] != b""
    assert plain.traits[1:] == (b"", b"")
    assert person("P1", PatientSex="f").traits == person("P1", PatientSex="F").traits
