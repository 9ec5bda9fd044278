"""The ledger's rows: a chain that shows every change.

Rules:

* The hash of a row covers its number, the hash of the row before and its text.
* Rows are never changed or deleted; triggers stop accidents, the chain shows the rest.
* Removing the newest rows leaves a valid, shorter chain. That is found by who remembers a later head: the
  coordinator, which returns the site's last signed one, and a file outside the backups (``heads``).

Not here: the file (``wardround_common.durable``), what a record means (``history``, ``store``), who is in a
snapshot (``members``).

Privacy: rows hold keyed hashes and events; they stay at the site.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from wardround_client.ledger.records import Record
from wardround_common.canonical import digest
from wardround_common.errors import StorageError

START: Final = bytes(32)
"""What the first row calls the row before it."""

_DECODER: Final = msgspec.json.Decoder(Record)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tip:
    """The newest row that a reader has seen."""

    seq: int = 0
    hash: bytes = START


def append(connection: sqlite3.Connection, record: Record, *, after: Tip) -> Tip:
    """Write ``record`` behind the row ``after``, inside the caller's transaction.

    Raises:
        ValueError: A field is out of its range: the row could not be read again.
    """
    body = msgspec.json.encode(record)
    if _decode(body) != record:
        raise ValueError(f"a field of this {type(record).__name__} is out of range")
    hash_ = _hash_of(record.seq, body, previous=after.hash)
    row = (record.seq, body.decode(), after.hash, hash_)
    connection.execute("INSERT INTO entry (seq, body, previous, hash) VALUES (?, ?, ?, ?)", row)
    return Tip(seq=record.seq, hash=hash_)


def read(connection: sqlite3.Connection, *, after: Tip) -> Iterator[tuple[Tip, Record]]:
    """Read the rows behind ``after`` in order, recomputing the chain.

    Raises:
        StorageError: ``ledger.broken``, naming the first row that was changed, removed, moved or inserted.
    """
    rows = connection.execute(
        "SELECT seq, body, previous, hash FROM entry WHERE seq > ? ORDER BY seq", (after.seq,)
    )
    for seq, body, previous, hash_ in rows:
        if previous != after.hash or hash_ != _hash_of(seq, body.encode(), previous=previous):
            raise broken(after.seq + 1)
        record = _decode(body.encode())
        if record is None:
            raise broken(seq)
        after = Tip(seq=seq, hash=hash_)
        yield after, record


def broken(seq: int) -> StorageError:
    """Return the error for a chain whose first bad row is ``seq``."""
    return StorageError(
        f"the ledger's chain is broken at row {seq}: a row was changed, removed or inserted",
        remedy="Stop this site, keep the file as evidence and restore the ledger from its newest backup.",
        code="ledger.broken",
    )


def _decode(body: bytes) -> Record | None:
    try:
        record: Record = _DECODER.decode(body)
    except msgspec.DecodeError:
        return None
    return record


def _hash_of(seq: int, body: bytes, *, previous: bytes) -> bytes:
    return digest("ledger row", seq.to_bytes(8, "big"), previous, body)
