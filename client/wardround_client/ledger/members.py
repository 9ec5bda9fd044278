"""Who is in which snapshot of the catalogue: how a spend finds the patients that it is charged to.

A patient is a key (a keyed hash that never changes) and a side. Whatever folder or dataset name data come in
by, and however often they are removed and added, the key is the same and everything spent under it is found.

Rules:

* Rows are only added. A patient's side is fixed with the first snapshot that has the patient.
* A snapshot's members are hashed into the chain when it is registered; ``match`` compares.

Privacy: keys are pseudonyms; they stay in this file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Final

from wardround_client.ledger.records import SIDES, Registered
from wardround_common.canonical import digest
from wardround_common.errors import PrivacyError

KEY_BYTES: Final = 32

Group = tuple[int, frozenset[bytes]]
"""A side, and the snapshots that a patient of that side is in: patients of one group have spent the same."""

_KEYS_AND_SIDES: Final = """
SELECT patient.key, patient.side FROM member JOIN patient ON patient.id = member.patient
JOIN snapshot ON snapshot.id = member.snapshot WHERE snapshot.digest = ?
"""
_GROUPS: Final = """
SELECT patient.side, group_concat(member.snapshot) FROM member JOIN patient ON patient.id = member.patient
WHERE {which} GROUP BY member.patient
"""
_IN_SNAPSHOT: Final = """
member.patient IN (SELECT patient FROM member JOIN snapshot ON snapshot.id = snapshot WHERE digest = ?)
"""


def members_digest(side_of: Mapping[bytes, int]) -> bytes:
    """Return the digest of patient keys and their sides, in the order of the keys."""
    return digest("ledger members", *(key + bytes([side]) for key, side in sorted(side_of.items())))


def add(connection: sqlite3.Connection, snapshot: bytes, side_of: Mapping[bytes, int]) -> None:
    """Write down the members of a new snapshot.

    Raises:
        PrivacyError: ``ledger.side_changed``: a patient was on another side before.
    """
    connection.execute("INSERT INTO snapshot (digest) VALUES (?)", (snapshot,))
    connection.executemany("INSERT OR IGNORE INTO patient (key, side) VALUES (?, ?)", side_of.items())
    connection.executemany(
        "INSERT INTO member (patient, snapshot) SELECT patient.id, snapshot.id FROM patient, snapshot "
        "WHERE key = ? AND digest = ?",
        ((key, snapshot) for key in side_of),
    )
    if _side_of(connection, snapshot) != dict(side_of):
        raise PrivacyError(
            "a patient is on another side (training, validation, test) than in an earlier snapshot",
            remedy="Use the site secret that earlier snapshots were made with; the side follows from it.",
            code="ledger.side_changed",
        )


def match(connection: sqlite3.Connection, registered: Registered) -> bool:
    """Return whether the members on disk are those that the chain recorded."""
    return members_digest(_side_of(connection, registered.snapshot)) == registered.members


def groups(
    connection: sqlite3.Connection, *, snapshot: bytes | None = None, patient_key: bytes | None = None
) -> list[Group]:
    """List the distinct groups among patients.

    Args:
        connection: Inside a transaction.
        snapshot: Look at its patients only; a group still names *all* snapshots that a patient is in.
        patient_key: Look at one patient only.
    """
    which: str = "true"
    parameters: tuple[bytes, ...] = ()
    if snapshot is not None:
        which, parameters = _IN_SNAPSHOT, (snapshot,)
    elif patient_key is not None:
        which, parameters = "patient.key = ?", (patient_key,)
    rows = set(connection.execute(_GROUPS.format(which=which), parameters))
    digest_of_id = dict(connection.execute("SELECT id, digest FROM snapshot").fetchall())
    return list(
        {
            (side, frozenset(digest_of_id[int(id_)] for id_ in snapshots.split(","))): None
            for side, snapshots in sorted(rows)
        }
    )


def check_keys(side_of: Mapping[bytes, int]) -> None:
    """Raise ValueError unless keys have 32 bytes and sides are 0, 1 or 2."""
    if any(len(key) != KEY_BYTES or side not in SIDES for key, side in side_of.items()):
        raise ValueError(f"a patient key has {KEY_BYTES} bytes and a side is 0, 1 or 2")


def _side_of(connection: sqlite3.Connection, snapshot: bytes) -> dict[bytes, int]:
    return dict(connection.execute(_KEYS_AND_SIDES, (snapshot,)).fetchall())
