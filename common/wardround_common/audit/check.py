"""Verification of an audit log by whoever holds its party's public key.

Not here: what a valid log still does not show (the package's docstring).

Rules:

* The file is opened for reading only and is believed in nothing: its tables must be those of an audit log, a
  value longer than a row can be is not read, and no expression stored in the file is evaluated.
* Rows are read some hundreds at a time, whatever their number; between two readings the file is free, so that
  a running program is not held up.

Privacy: see ``rows``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wardround_common.audit.chain import FIRST, SORT, BadRowError, Row, Tip, claimed, unseal
from wardround_common.audit.rows import ROW_LIMIT_BYTES, Entry, Opened
from wardround_common.durable import check_sort, translated
from wardround_common.errors import AuditError

PAGE_ROWS: Final = 500
_LOWEST: Final = -(2**63)
_LONGEST_VALUE: Final = 2 * ROW_LIMIT_BYTES
_DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_TOOBIG)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a verification found.

    Attributes:
        rows: Number of good rows, up to the first bad one.
        head: Hash of the last good row.
        party: Whose log it is; empty where not even the first row is good.
        first: When its first row was written.
        last: When its last good row was written.
        bad_row: Number of the first row that is not what its party wrote there; None where all are.
        reason: What is wrong, in words.
    """

    rows: int = 0
    head: bytes = FIRST
    party: str = ""
    first: str = ""
    last: str = ""
    bad_row: int | None = None
    reason: str = ""

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return self.bad_row is None


def verify(path: Path, public_key: bytes, *, head: bytes | None = None) -> Verdict:
    """Check every row of a log.

    Args:
        path: The file.
        public_key: Its party's identity key, 32 bytes, from the roster or by phone: not from the log itself.
        head: A head of this log that was remembered elsewhere; the log must contain it. None: whether rows
            are missing at the end is not looked at.

    Raises:
        AuditError: ``audit.unusable`` or ``audit.other_file``: it is no audit log at all.
    """
    tip, party, first, last, known, reason = Tip(), "", "", "", head is None, ""
    try:
        for tip, entry in read(path, public_key):
            if isinstance(entry, Opened):
                party, first = entry.party, entry.at
            last = entry.at
            known = known or tip.hash == head
    except BadRowError as error:
        reason = str(error)
    else:
        if not tip.seq:
            reason = "the log is empty"
        elif not known:
            reason = "the newest rows are missing: the head that was remembered is not there"
    bad_row = tip.seq + 1 if reason else None
    return Verdict(
        rows=tip.seq, head=tip.hash, party=party, first=first, last=last, bad_row=bad_row, reason=reason
    )


def read(path: Path, public_key: bytes) -> Iterator[tuple[Tip, Entry]]:
    """The rows of a log in order, each checked before it is given.

    Raises:
        BadRowError: At the first row that is not what the owner of the key wrote there.
        AuditError: ``audit.unusable`` or ``audit.other_file``.
    """
    tip = Tip()
    with translated(path, SORT), closing(_connect(path)) as connection:
        for row in _rows(connection):
            tip, entry = unseal(row, after=tip, public_key=public_key)
            yield tip, entry


def claimed_key(path: Path) -> bytes | None:
    """The key that a log names in its first row, **which proves nothing**; None where it names none.

    Raises:
        AuditError: ``audit.unusable`` or ``audit.other_file``.
    """
    with translated(path, SORT), closing(_connect(path)) as connection:
        try:
            return next((claimed(row) for row in _rows(connection)), None)
        except BadRowError:
            return None


def _rows(connection: sqlite3.Connection) -> Iterator[Row]:
    """The rows as they stand there, in the order of their numbers; nothing is checked."""
    select = "SELECT seq, body, hash, signature FROM entry WHERE seq >= ? ORDER BY seq LIMIT ?"
    following = _LOWEST
    while page := _page(connection, select, (following, PAGE_ROWS)):
        yield from page
        following = page[-1].seq + 1


def _page(connection: sqlite3.Connection, select: str, values: tuple[int, int]) -> list[Row]:
    try:
        return [Row(*row) for row in connection.execute(select, values).fetchall()]
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGE:
            raise
        raise BadRowError("the file is damaged there") from error


def _connect(path: Path) -> sqlite3.Connection:
    """The file, for reading only, if it is an audit log."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "busy_timeout = 5000"):
            connection.execute(f"PRAGMA {pragma}")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
        check_sort(connection, path, SORT)
        if not _has_our_tables(connection):
            raise AuditError(
                f"{path} has other tables than an audit log",
                remedy="Keep the file as evidence and find out who could write to it.",
                code="audit.other_file",
            )
        connection.text_factory = _no_text
    except BaseException:
        connection.close()
        raise
    return connection


def _has_our_tables(connection: sqlite3.Connection) -> bool:
    with closing(sqlite3.connect(":memory:")) as expected:
        for statement in SORT.statements:
            expected.execute(statement)
        try:
            return _tables(connection) == _tables(expected)
        except UnicodeDecodeError:  # in what SQLite says of a damaged table
            return False


def _tables(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    return set(connection.execute("SELECT type, name, sql FROM sqlite_schema LIMIT 100"))


def _no_text(data: bytes) -> None:
    """No column of the table holds text: what claims to be text is no value."""
