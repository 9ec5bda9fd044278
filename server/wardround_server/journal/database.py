"""The journal's file: durable transactions with names, refused where it is not this study's.

One SQLite file per study, journal mode DELETE, ``synchronous = EXTRA``: a transaction that has returned
survives a power cut. Write-ahead logging would save two of three syncs of a small commit, but would write
every masked vector twice and keep the newest rows in a second file that a copy forgets; a commit waits for a
site's reply, which takes far longer than a sync.

Rules:

* The file belongs to one plan; another plan's is refused, and so is another program's.
* ``hook`` is told the name of every transaction before and after it becomes durable.

Not here: what the rows mean (``study``, ``attempts``).

Privacy: the file is readable by its owner only.

References: SQLite, "PRAGMA synchronous" and "Atomic Commit In SQLite".
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

from wardround_common.errors import StorageError

Hook: TypeAlias = Callable[[str], None]
"""Called with "before NAME" and "after NAME" of every transaction."""

_APPLICATION: Final = 0x57524A4C
_VERSION: Final = 1
_SCHEMA: Final = (
    "CREATE TABLE study (plan BLOB NOT NULL) STRICT",
    "CREATE TABLE round (number INTEGER PRIMARY KEY, record BLOB NOT NULL, next BLOB) STRICT",
    "CREATE TABLE accept (round INTEGER NOT NULL REFERENCES round, site TEXT NOT NULL, "
    "envelope BLOB NOT NULL, PRIMARY KEY (round, site)) STRICT",
    "CREATE TABLE evidence (round INTEGER NOT NULL REFERENCES round, site TEXT NOT NULL, "
    "envelope BLOB NOT NULL, PRIMARY KEY (round, site)) STRICT",
    "CREATE TABLE pause (seq INTEGER PRIMARY KEY, round INTEGER NOT NULL, code TEXT NOT NULL, "
    "note TEXT) STRICT",
    "CREATE TABLE hello (site TEXT PRIMARY KEY, node INTEGER NOT NULL, envelope BLOB NOT NULL) STRICT",
    "CREATE TABLE attempt (number INTEGER PRIMARY KEY, round INTEGER NOT NULL, kind TEXT NOT NULL, "
    "roster BLOB NOT NULL, failed TEXT, masked INTEGER NOT NULL DEFAULT 0 CHECK (masked IN (0, 1))) STRICT",
    "CREATE TABLE reply (seq INTEGER PRIMARY KEY, attempt INTEGER NOT NULL REFERENCES attempt, "
    "exchange TEXT NOT NULL, site TEXT NOT NULL, node INTEGER NOT NULL, envelope BLOB NOT NULL, "
    "UNIQUE (attempt, exchange, site)) STRICT",
    "CREATE TABLE closed (attempt INTEGER NOT NULL REFERENCES attempt, exchange TEXT NOT NULL, "
    "PRIMARY KEY (attempt, exchange)) STRICT",
    "CREATE TABLE vector (name TEXT PRIMARY KEY, type TEXT NOT NULL, size INTEGER NOT NULL, "
    "digest BLOB NOT NULL) STRICT",
    "CREATE TABLE piece (name TEXT NOT NULL, number INTEGER NOT NULL, data BLOB NOT NULL, "
    "PRIMARY KEY (name, number)) STRICT",
)


class Database:
    """One journal file, one connection.

    Args:
        path: The file; made, readable by its owner only, where it does not exist. None: in memory.
        plan: Digest of the plan.
        hook: Is told of every transaction.
        read_only: Whether it is only looked at, while a job may be writing; it must exist.

    Raises:
        StorageError: It cannot be opened, is damaged, or belongs to something else.
    """

    def __init__(self, path: Path | None, *, plan: bytes, hook: Hook | None, read_only: bool = False) -> None:
        self._where = "in memory" if path is None else str(path)
        self._hook = hook
        with self._translated():
            if path is not None and read_only:
                uri = f"{path.absolute().as_uri()}?mode=ro"
                self._connection = sqlite3.connect(uri, uri=True, isolation_level=None)
                self._check_plan(plan)
                return
            if path is not None:
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._connection = sqlite3.connect(path or ":memory:", isolation_level=None)
            for pragma in ("journal_mode = DELETE", "synchronous = EXTRA", "foreign_keys = ON"):
                self._connection.execute(f"PRAGMA {pragma}")
            self._prepare(plan)

    def close(self) -> None:
        """Close the file. What was written is on disk already."""
        self._connection.close()

    @contextmanager
    def transaction(self, name: str) -> Iterator[sqlite3.Connection]:
        """Open a write transaction; it is durable when the block has ended, or has not happened at all."""
        with self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._tell(f"before {name}")
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
        self._tell(f"after {name}")

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """What a SELECT gives."""
        with self._translated():
            return self._connection.execute(statement, values).fetchall()

    def _prepare(self, plan: bytes) -> None:
        application, version = (self._pragma("application_id"), self._pragma("user_version"))
        empty = not self.rows("SELECT 1 FROM sqlite_schema")
        if empty and application == 0:
            with self.transaction("new journal") as connection:
                for statement in _SCHEMA:
                    connection.execute(statement)
                connection.execute("INSERT INTO study VALUES (?)", (plan,))
                connection.execute(f"PRAGMA application_id = {_APPLICATION}")
                connection.execute(f"PRAGMA user_version = {_VERSION}")
        elif (application, version) != (_APPLICATION, _VERSION):
            raise StorageError(
                f"{self._where} is not a coordinator's journal of version {_VERSION}",
                remedy="Point the configuration at the study's journal, or at a file that does not exist.",
                code="journal.other_file",
            )
        if (found := self._pragma("quick_check(1)")) != "ok":
            raise corrupt(str(found))
        self._check_plan(plan)

    def _check_plan(self, plan: bytes) -> None:
        if self.rows("SELECT plan FROM study") != [(plan,)]:
            raise StorageError(
                f"the journal {self._where} belongs to another plan",
                remedy="Give every study a journal of its own.",
                code="journal.other_plan",
            )

    def _pragma(self, name: str) -> object:
        return self.rows(f"PRAGMA {name}")[0][0]

    def _tell(self, what: str) -> None:
        if self._hook is not None:
            self._hook(what)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in (
                sqlite3.SQLITE_CORRUPT,
                sqlite3.SQLITE_NOTADB,
            ):
                raise corrupt(str(error)) from error
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_ROLLBACK:
                raise self._unusable("a row was being written when the job ended") from error
            raise self._unusable(str(error)) from error
        except OSError as error:
            raise self._unusable(str(error.strerror)) from error

    def _unusable(self, why: str) -> StorageError:
        return StorageError(
            f"the journal {self._where} cannot be used: {why}",
            remedy="Check free space and permissions of the coordinator's data folder, then start it again.",
            code="journal.unusable",
        )


def to_column(node: int) -> int:
    """A transport's name of a node, of 64 bits without a sign, as SQLite holds it: with one."""
    return node - (1 << 64) if node >= 1 << 63 else node


def from_column(node: int) -> int:
    """The name of a node that ``to_column`` made storable."""
    return node + (1 << 64) if node < 0 else node


def corrupt(what: str) -> StorageError:
    """The error for a journal that does not say what it must have said."""
    return StorageError(
        f"the coordinator's journal is damaged: {what}",
        remedy="Keep the file as evidence and restore the journal from its newest backup; "
        "without one, the lead starts a new study.",
        code="journal.corrupt",
    )
