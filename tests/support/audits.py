"""Audit logs to tamper with: by whoever can write to the file, with or without a key."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from wardround_common.audit import AuditLog, Happened, Refused, Sent
from wardround_common.audit.chain import SORT, Row, Tip, seal
from wardround_common.audit.check import read
from wardround_common.canonical import digest
from wardround_common.identity import SigningKey
from wardround_common.messages import Signer

OWNER = SigningKey.from_seed(digest("test", b"owner"))
STRANGER = SigningKey.from_seed(digest("test", b"stranger"))
BIRCH = Signer("birch", OWNER)


def sent(number: int = 1, **changes) -> Sent:
    fields = {
        "study": "test",
        "plan": b"p" * 32,
        "round": number,
        "kind": "train",
        "attempt": 1,
        "peer": "coordinator",
        "message": "masked",
        "exchange": "envelopes",
        "size": 161,
        "digest": digest("test", bytes([number % 256])),
        "array_size": 400,
        "array_digest": b"a" * 32,
        "epsilon": 0.25 * number,
    }
    return Sent(**(fields | changes))


def entries(count: int) -> list[Sent | Refused | Happened]:
    kinds = (
        lambda n: sent(n),
        lambda n: Refused(code="secagg.start_state", size=n, digest=b"r" * 32, left=18, message="start"),
        lambda n: Happened(event="settled", study="test", note=f"Disk {n} was full."),
    )
    return [kinds[n % 3](n) for n in range(1, count + 1)]


def write_log(path: Path, count: int, *, head: bool = False) -> bytes:
    """A log of one row and ``count`` more; returns its head."""
    with closing(open_log(path, head=head)) as log:
        log.append(*entries(count))
        return log.head()


def open_log(path: Path, *, head: bool = False, signer: Signer = BIRCH, **options) -> AuditLog:
    head_path = path.with_name("audit.head") if head else None
    return AuditLog(path, signer=signer, head_path=head_path, **options)


@contextmanager
def tampering(path: Path) -> Iterator[sqlite3.Connection]:
    """The file without its triggers; they are back afterwards."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        triggers = [s for s in SORT.statements if "TRIGGER" in s]
        for name in ("entry_update", "entry_delete"):
            database.execute(f"DROP TRIGGER {name}")
        yield database
        for statement in triggers:
            database.execute(statement)


def rows(path: Path) -> list[Row]:
    with closing(sqlite3.connect(path)) as database:
        return [
            Row(*row) for row in database.execute("SELECT seq, body, hash, signature FROM entry ORDER BY seq")
        ]


def contents(path: Path, *, key: bytes = OWNER.public) -> list:
    return [entry for _, entry in read(path, key)]


def insert(database: sqlite3.Connection, row: Row) -> None:
    database.execute("INSERT INTO entry VALUES (?, ?, ?, ?)", (row.seq, row.body, row.hash, row.signature))


def forged(entry, *, after: Row, key: SigningKey) -> Row:
    """A row that fits behind ``after``, by whoever has a key, perhaps not the right one."""
    return seal(entry, after=Tip(after.seq, after.hash), key=key)
