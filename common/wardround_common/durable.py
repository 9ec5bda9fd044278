"""Append-only SQLite files whose transactions survive a power cut, refused where they are something else.

Journal mode DELETE, ``synchronous = EXTRA``: a transaction that has returned is on disk, and so is the
removal of its journal. Write-ahead logging would be faster and as durable, but there the newest rows live in
a second file, and a copy of the first one alone has forgotten them.

Not here: what the rows mean (the ledger, the audit log), how changes show (their chains).

Privacy: a file is readable by its owner only.

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

from wardround_common.errors import StorageError

PRAGMAS: Final = (
    "journal_mode = DELETE",
    "synchronous = EXTRA",
    "fullfsync = ON",
    "foreign_keys = ON",
    "busy_timeout = 5000",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sort:
    """What a kind of file is, and what is said of it.

    Attributes:
        noun: What people call it ("ledger").
        area: First part of its error codes.
        application: SQLite's ``application_id`` of such files.
        version: Version of their tables.
        schema: Statements that make the tables of a new file.
        restore: The remedy where a file is damaged.
        error: The class of its errors.
    """

    noun: str
    area: str
    application: int
    version: int
    schema: str
    restore: str
    error: type[StorageError] = StorageError

    @property
    def statements(self) -> tuple[str, ...]:
        """The statements of a new file, one by one: ``executescript`` would commit the open transaction."""
        found, statement = [], ""
        for line in self.schema.splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                found.append(statement)
                statement = ""
        marks = (f"PRAGMA application_id = {self.application}", f"PRAGMA user_version = {self.version}")
        return (*found, *marks)


def append_only(*tables: str) -> str:
    """Triggers that refuse to change or delete a row: they stop accidents, a chain shows the rest."""
    return "\n".join(
        f"CREATE TRIGGER {table}_{event.lower()} BEFORE {event} ON {table} "
        "BEGIN SELECT RAISE(ABORT, 'append-only'); END;"
        for table in tables
        for event in ("UPDATE", "DELETE")
    )


class DurableFile:
    """The file, one connection, one lock: threads of one process, and processes, take turns.

    Args:
        path: The file; made, readable by its owner only, where it does not exist. Its folder must exist.
        sort: What it is.

    Raises:
        StorageError: ``<area>.unusable`` or ``<area>.other_file``.
    """

    def __init__(self, path: Path, sort: Sort) -> None:
        self._path = path
        self._sort = sort
        self.lock = threading.RLock()
        with translated(path, sort):
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
        with self.lock, translated(self._path, self._sort):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def _prepare(self) -> None:
        """Make the tables of a new file; refuse a file of something else."""
        sort = self._sort
        with self.transaction() as connection:
            empty = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
            if empty and application(connection) == 0:
                for statement in sort.statements:
                    connection.execute(statement)
            else:
                check_sort(connection, self._path, sort)


def application(connection: sqlite3.Connection) -> int:
    """The ``application_id`` of a file; 0 where no program has set it."""
    return int(connection.execute("PRAGMA application_id").fetchone()[0])


def check_sort(connection: sqlite3.Connection, path: Path, sort: Sort) -> None:
    """Return only if the file is of that sort and version.

    Raises:
        StorageError: ``<area>.other_file``.
    """
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if (application(connection), version) != (sort.application, sort.version):
        article = "an" if sort.noun[0] in "aeiou" else "a"
        raise sort.error(
            f"{path} is not {article} {sort.noun} of version {sort.version}",
            remedy=f"Point the configuration at the {sort.noun}, or install the version that made it.",
            code=f"{sort.area}.other_file",
        )


@contextmanager
def translated(path: Path, sort: Sort) -> Iterator[None]:
    """SQLite's and the system's errors as ours."""
    try:
        yield
    except sqlite3.Error as error:
        reason = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        raise _unusable(path, sort, str(error), reason=reason) from error
    except OSError as error:
        raise _unusable(path, sort, str(error.strerror), reason=sqlite3.SQLITE_CANTOPEN) from error


def _unusable(path: Path, sort: Sort, why: str, *, reason: int) -> StorageError:
    permission = f"Check that the {sort.noun}'s folder exists and that the daemon's user may write there."
    remedies = {
        sqlite3.SQLITE_READONLY_ROLLBACK: "A row was being written when its program ended: start "
        "that program once, then try again.",
        sqlite3.SQLITE_FULL: f"Free space on the disk of the {sort.noun}'s folder, then start again.",
        sqlite3.SQLITE_READONLY: permission,
        sqlite3.SQLITE_CANTOPEN: permission,
        sqlite3.SQLITE_CORRUPT: sort.restore,
        sqlite3.SQLITE_NOTADB: sort.restore,
        sqlite3.SQLITE_BUSY: f"Another program holds the {sort.noun}: end it, or try again.",
    }
    return sort.error(
        f"the {sort.noun} {path} cannot be used: {why}",
        remedy=remedies.get(reason)
        or remedies.get(reason & 0xFF, "Keep the file as evidence and report what the message says."),
        code=f"{sort.area}.unusable",
        retryable=reason & 0xFF == sqlite3.SQLITE_BUSY,
    )
