"""The ledger's file: durable transactions, and a chain of rows that shows every change.

One SQLite file, journal mode DELETE, ``synchronous = EXTRA``: a transaction that has returned survives a
power cut, including the removal of its journal. Write-ahead logging would be faster and as durable, but
there the newest rows live in a second file, and a copy of the first one alone is a ledger that has
forgotten spends. A round appends two rows, so speed does not matter.

Rules:

* The hash of a row covers its number, the hash of the row before and its text.
* Rows are never changed or deleted; triggers stop accidents, the chain shows the rest.
* Removing the newest rows leaves a valid, shorter chain. That is found by who remembers a later head: the
  coordinator, which returns the site's last signed one, and a file outside the backups (``head``).

Not here: what a record means (``history``, ``store``), who is in a snapshot (``members``).

Privacy: the file is readable by its owner only.

References:
    SQLite, "PRAGMA synchronous" and "Atomic Commit In SQLite".
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from wardround_client.ledger.records import Record
from wardround_client.ledger.schema import APPLICATION, PRAGMAS, SCHEMA, VERSION
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


class Database:
    """The file, one connection, one lock: threads of one process, and processes, take turns.

    Args:
        path: The file; made, readable by its owner only, where it does not exist. Its folder must exist.

    Raises:
        StorageError: It cannot be opened, or is something else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.lock = threading.RLock()
        with _translated(path):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            for pragma in PRAGMAS:
                self._connection.execute(f"PRAGMA {pragma}")
        self._prepare()

    def close(self) -> None:
        """Close the file."""
        with self.lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Open a write transaction; it is durable when the block has ended, or has not happened at all."""
        with self.lock, _translated(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def _prepare(self) -> None:
        """Make the tables of a new file; refuse a file of something else."""
        with self.transaction() as connection:
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            empty = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
            if empty and application == 0:
                for statement in _statements(SCHEMA):
                    connection.execute(statement)
            elif (application, version) != (APPLICATION, VERSION):
                raise StorageError(
                    f"{self._path} is not a ledger of version {VERSION}",
                    remedy="Point the configuration at the ledger, or install the version that made it.",
                    code="ledger.other_file",
                )


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


def _statements(script: str) -> Iterator[str]:
    """Split a script into statements: ``executescript`` would commit the open transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


_PERMISSION: Final = "Check that the ledger's folder exists and that the daemon's user may write there."
_RESTORE: Final = "Keep the file as evidence and restore the ledger from its newest backup."
_REMEDIES: Final = {
    sqlite3.SQLITE_FULL: "Free space on the disk of the site's data folder, then start again.",
    sqlite3.SQLITE_READONLY: _PERMISSION,
    sqlite3.SQLITE_CANTOPEN: _PERMISSION,
    sqlite3.SQLITE_CORRUPT: _RESTORE,
    sqlite3.SQLITE_NOTADB: _RESTORE,
    sqlite3.SQLITE_BUSY: "Another program holds the ledger: end it, or try again.",
}


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        reason = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        raise StorageError(
            f"the ledger {path} cannot be used: {error}",
            remedy=_REMEDIES.get(reason, "Keep the file as evidence and report what the message says."),
            code="ledger.unusable",
            retryable=reason == sqlite3.SQLITE_BUSY,
        ) from error
    except OSError as error:
        raise StorageError(
            f"the ledger {path} cannot be used: {error.strerror}",
            remedy=_PERMISSION,
            code="ledger.unusable",
        ) from error
