"""Who the imaginary patients are: names, numbers, dates and UIDs, from hashes, never from a clock.

Rules:

* The same hospital, seed and patient number always give the same identity, and two patients of a hospital
  never share a name or a number.
* UIDs stand under 2.25 (PS3.5 B.2: a UUID as one decimal number), here a hash.
* No UID and no date equals or contains a planted date (see ``planted``).

Privacy: the persons do not exist; a real system has to treat them as if they did.
References: DICOM PS3.5 B.2 (UUID derived UID).
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from datetime import date, timedelta

from wardround_simulations.phantoms.planted import PLANTED_DATES

_SYLLABLES = (
    *("bal", "bren", "cor", "dag", "del", "dor", "eld", "fal", "fen", "gar"),
    *("hal", "hol", "jor", "kel", "kor", "lan", "lor", "mal", "mer", "nol"),
    *("orm", "pel", "quin", "ras", "sel", "tam", "tor", "ulm", "var", "wex"),
)
_NAMES = len(_SYLLABLES) ** 4
_NUMBERS = 10_000_000
_STRIDE = 7_368_787
"""Coprime to both, so that consecutive patients are spread and never meet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """One imaginary patient, as a hospital's records describe them. Dates are ``YYYYMMDD``."""

    patient_id: str
    name: str
    sex: str
    birth_date: str
    study_date: str
    age: str
    accession: str


def identity(hospital: str, *, seed: int, patient: int) -> Identity:
    """The identity of patient number ``patient`` of ``hospital``."""
    bits = hashed("identity", hospital, seed, patient)
    start = hashed("first identity", hospital, seed)
    number = (start + patient * _STRIDE) % _NUMBERS
    birth = date(1931, 1, 1) + timedelta(days=bits % 24_000)
    study = date(2021, 1, 4) + timedelta(days=(bits >> 32) % 1_000)
    return Identity(
        patient_id=f"{hospital.upper()}-{number:07d}",
        name=_name((start + patient * _STRIDE) % _NAMES),
        sex="FM"[bits >> 64 & 1],
        birth_date=f"{birth:%Y%m%d}",
        study_date=f"{study:%Y%m%d}",
        age=f"{(study - birth).days // 365:03d}Y",
        accession=f"A{(number * 3 + 1) % _NUMBERS:07d}",
    )


def _name(index: int) -> str:
    """Family^given, two syllables each, one name for each index below ``_NAMES``."""
    syllables = []
    for _ in range(4):
        index, digit = divmod(index, len(_SYLLABLES))
        syllables.append(_SYLLABLES[digit])
    a, b, c, d = syllables
    return f"{(a + b).title()}^{(c + d).title()}"


def uid(*parts: str | int) -> str:
    """A UID that depends on ``parts`` and nothing else."""
    for attempt in range(1_000):
        digest = hashed("uid", *parts, attempt).to_bytes(16, "big")
        text = f"2.25.{uuid.UUID(bytes=digest, version=5).int}"
        if not any(planted in text for planted in PLANTED_DATES):
            return text
    raise AssertionError("a thousand UIDs in a row contain a planted date")


def hashed(*parts: str | int) -> int:
    """128 bits of a SHA-256 over ``parts``."""
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")
