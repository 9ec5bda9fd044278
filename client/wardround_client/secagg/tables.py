"""The tables of a site's protocol record: rows that are only ever added, and shares that can be erased.

Not here: what a row means (``record``).

Rules:

* Every table belongs to one study and refuses UPDATE and DELETE by trigger, but for ``held``: the peers'
  shares are erased as soon as their attempt is over.
* A transaction is on disk before it returns. No WAL: a copy of the main file without its WAL would be a
  record that has forgotten what was said. Erased pages are overwritten.
* How many rows there are is remembered elsewhere (``Tip``): a record that is shorter is an older one.

Privacy: digests, names, public messages, and shares that are sealed (``vault``).

References: SQLite, "PRAGMA synchronous", "PRAGMA secure_delete".
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from wardround_common.errors import StorageError
from wardround_common.files import OWNER_ONLY

_TABLES: Final = {
    "roster": "signed BLOB, PRIMARY KEY (study, round)",
    "begun": "attempt INTEGER, start BLOB, roster BLOB, PRIMARY KEY (study, round, attempt)",
    "masked": "attempt INTEGER, hellos BLOB, deals BLOB, message BLOB, PRIMARY KEY (study, round, attempt)",
    "confirmed": "attempt INTEGER, uploads BLOB, PRIMARY KEY (study, round, attempt)",
    "released": "attempt INTEGER, message BLOB, PRIMARY KEY (study, round)",
    "aborted": "attempt INTEGER, message BLOB, PRIMARY KEY (study, round, attempt)",
    "accepted": "attempt INTEGER, start BLOB, next BLOB, message BLOB, PRIMARY KEY (study, round)",
    "adopted": "state BLOB, links BLOB, PRIMARY KEY (study, round)",
    "evidence": "sender TEXT, message BLOB, PRIMARY KEY (study, round, sender)",
    "settled": "note TEXT",
    "held": "attempt INTEGER, sealed BLOB, PRIMARY KEY (study, round, attempt)",
}
_ERASABLE: Final = "held"


class Tip(Protocol):
    """Remembers one number, outside every backup."""

    def recall(self) -> int:
        """The number; 0 before the first."""
        ...

    def remember(self, length: int) -> None:
        """Keep a larger one."""
        ...


class Tables:
    """The tables of one study in a file that several studies may share.

    Args:
        path: The file; made where it is missing, readable by its owner only.
        study: The plan's digest.
        tip: Remembers the number of rows; None remembers nothing.

    Raises:
        StorageError: The file cannot be opened, or ``storage.record_rolled_back``.
    """

    def __init__(self, path: Path | str, *, study: bytes, tip: Tip | None) -> None:
        self._study = study
        self._tip: Tip | None = None  # from when the record has been found whole
        with translated():
            if path != ":memory:":
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, OWNER_ONLY))
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = DELETE")
            self._db.execute("PRAGMA synchronous = EXTRA")
            self._db.execute("PRAGMA secure_delete = ON")
            with self.transaction():
                for table, columns in _TABLES.items():
                    self._make(table, columns)
        if tip is not None and self._length() < tip.recall():
            self.close()
            raise rolled_back()
        self._tip = tip

    def close(self) -> None:
        """Close the file. What was recorded is on disk already."""
        self._db.close()

    def rows(self, table: str, **where: int | str) -> list[dict[str, Any]]:
        """The study's rows with these values."""
        conditions = "".join(f" AND {name} = :{name}" for name in where)
        return self._select(f"SELECT * FROM {table} WHERE study = :study{conditions}", **where)

    def last(self, table: str, *, by: str = "round DESC, attempt DESC") -> dict[str, Any] | None:
        """The study's last row in that order."""
        rows = self._select(f"SELECT * FROM {table} WHERE study = :study ORDER BY {by} LIMIT 1")
        return rows[0] if rows else None

    def insert(self, table: str, *, round_number: int, kind: str = "", **content: int | bytes | str) -> None:
        """Add a row."""
        values = {"study": self._study, "round": round_number, "kind": kind, **content}
        slots = ", ".join(f":{name}" for name in values)
        self._db.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({slots})", values)

    def erase_held(self) -> None:
        """Erase all shares of the study: no attempt but the newest may go on, and it holds none yet."""
        self._db.execute(f"DELETE FROM {_ERASABLE} WHERE study = ?", (self._study,))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it, on disk, or nothing."""
        with translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        if self._tip is not None:
            self._tip.remember(self._length())

    def _length(self) -> int:
        """Number of the study's rows that are never erased."""
        tables = [table for table in _TABLES if table != _ERASABLE]
        counts = " + ".join(f"(SELECT count(*) FROM {table} WHERE study = :study)" for table in tables)
        return int(self._select(f"SELECT {counts} AS length")[0]["length"])

    def _make(self, table: str, columns: str) -> None:
        self._db.execute(
            f"CREATE TABLE IF NOT EXISTS {table} (study BLOB, round INTEGER, kind TEXT, {columns}) STRICT"
        )
        for event in ("UPDATE",) if table == _ERASABLE else ("UPDATE", "DELETE"):
            self._db.execute(
                f"CREATE TRIGGER IF NOT EXISTS {table}_no_{event.lower()} BEFORE {event} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, 'rows are only added'); END"
            )

    def _select(self, statement: str, **where: int | str) -> list[dict[str, Any]]:
        with translated():
            cursor = self._db.execute(statement, {"study": self._study, **where})
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]


def rolled_back() -> StorageError:
    """The record is older than what this site has said."""
    return StorageError(
        "the protocol record is older than what this site has said: it was restored from a backup",
        remedy="Put the newer protocol.sqlite back. If it is lost, end the study at this site.",
        code="storage.record_rolled_back",
    )


@contextmanager
def translated() -> Iterator[None]:
    """SQLite's and the system's errors as ours."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StorageError(
            f"the protocol record cannot be read or written: {error}",
            remedy="Check disk and permissions of the data folder; the site sends nothing until then.",
            code="storage.protocol_record",
        ) from error
