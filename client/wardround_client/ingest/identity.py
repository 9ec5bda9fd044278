"""Who a scan belongs to, as keyed hashes: the last place where a patient's identity is readable.

Everything that outlives the reading of a file names patients and scans by HMAC-SHA256 under the site's
secret, so the same patient has the same key in every folder and study of the site, and another one at
another site.

Not here: which scans of a patient conflict (``collect``).

Rules:

* Parts of a hash are length-prefixed: no two pairs (issuer, id) give the same input.
* The text of a PatientID is brought to Unicode NFC and stripped of padding, so that the character set of a
  file does not split a patient in two. Case and leading zeros count.
* A missing birth date or sex is no statement; a missing issuer is one, since the key depends on it.

Privacy: keyed hashes are pseudonyms: who holds the site's secret and a list of ids can undo them. They stay
in the site's data folder.

References: RFC 2104 (HMAC); DICOM PS3.3 C.7.1.1 (Patient Module).
"""

from __future__ import annotations

import hmac
import re
import unicodedata
from dataclasses import dataclass

from pydicom.dataset import Dataset

from wardround_client.ingest.dataset import text
from wardround_client.ingest.reasons import Refusal

SECRET_BYTES = 32
_MAX_ID_CHARACTERS = 64
_FILLERS = frozenset(("ANON", "ANONYMIZED", "ANONYMOUS", "DUMMY", "N/A", "NA", "NONE", "NULL", "UNKNOWN"))
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """Whom a file says that it is about."""

    key: bytes
    """Keyed hash of issuer and id: the patient key of the ledger."""
    alias: bytes
    """Keyed hash of the id without its issuer; what ``labels.csv`` can name."""
    traits: tuple[bytes, bytes, bytes]
    """Keyed hashes of issuer, birth date and sex; empty where the file does not tell (but an issuer that is
    missing has a hash)."""


def identify(dataset: Dataset, site_secret: bytes) -> Person:
    """The person that a file is about.

    Raises:
        Refusal: PatientID is missing, malformed or a filler word.
    """
    patient_id = normal(text(dataset, "PatientID"))
    issuer = normal(text(dataset, "IssuerOfPatientID"))
    if not patient_id:
        raise Refusal("patient.id_missing", "PatientID")
    if not is_patient_id(patient_id):
        raise Refusal("patient.id_invalid", "PatientID")
    birth_date = normal(text(dataset, "PatientBirthDate"))
    sex = normal(text(dataset, "PatientSex")).upper()
    return Person(
        key=_keyed(site_secret, "patient", issuer, patient_id),
        alias=alias(site_secret, patient_id),
        traits=(
            _keyed(site_secret, "issuer", issuer),
            _keyed(site_secret, "birth date", birth_date) if birth_date else b"",
            _keyed(site_secret, "sex", sex) if sex else b"",
        ),
    )


def alias(site_secret: bytes, patient_id: str) -> bytes:
    """Keyed hash of a normal patient id, whoever issued it."""
    return _keyed(site_secret, "patient id", patient_id)


def scan_key(site_secret: bytes, uid: str) -> bytes:
    """Keyed hash of a SOP Instance UID."""
    return _keyed(site_secret, "scan", uid)


def scan_uid(dataset: Dataset) -> str:
    """The SOP Instance UID of a file.

    Raises:
        Refusal: It is missing or malformed.
    """
    uid = text(dataset, "SOPInstanceUID")
    if not is_uid(uid):
        raise Refusal("sop.invalid", "SOPInstanceUID")
    return uid


def is_uid(uid: str) -> bool:
    """True for numbers joined by dots, 64 characters at most."""
    return len(uid) <= 64 and _UID.fullmatch(uid) is not None


def is_patient_id(patient_id: str) -> bool:
    """True for a normal id that can name a person."""
    return (
        0 < len(patient_id) <= _MAX_ID_CHARACTERS
        and patient_id.isprintable()
        and "\\" not in patient_id
        and patient_id.upper() not in _FILLERS
        and set(patient_id) != {"0"}
    )


def normal(value: str) -> str:
    """``value`` in Unicode NFC, without padding."""
    return unicodedata.normalize("NFC", value).strip(" \t\0")


def _keyed(site_secret: bytes, label: str, *parts: str) -> bytes:
    encoded = [part.encode("utf-8", "surrogatepass") for part in ("wardround " + label, *parts)]
    message = b"".join(len(part).to_bytes(8, "big") + part for part in encoded)
    return hmac.digest(site_secret, message, "sha256")
