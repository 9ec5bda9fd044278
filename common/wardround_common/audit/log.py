"""The writer of an audit log: rows are durable before the caller goes on.

Not here: verification of a whole file (``check``); opening looks at its newest row only.

Rules:

* What is appended is on disk when ``append`` returns, all of it or nothing. Whoever cannot append does not
  act: an ``AuditError`` means that nothing leaves.
* Opening a log that lacks the head which the head file remembers is refused: it is an older one. So is a log
  of another key.
* The head file follows the rows; after a crash in between it names a row that the log still has.

Privacy: the file is readable by its owner only.
"""

from __future__ import annotations

import datetime
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from wardround_common.audit.chain import FIRST, SORT, BadRowError, Row, Tip, seal, unseal
from wardround_common.audit.rows import Entry, Moment, Opened
from wardround_common.durable import DurableFile
from wardround_common.errors import AuditError, ProtocolError
from wardround_common.heads import HeadFile
from wardround_common.messages import Signer


def now() -> datetime.datetime:
    """The machine's clock."""
    return datetime.datetime.now(tz=datetime.UTC)


class AuditLog:
    """One party's log, kept in one file. Threads of a process, and processes, take turns.

    Args:
        path: The file; made where it does not exist. Its folder must exist.
        signer: Whose log it is.
        head_path: File for the newest head, outside every backup; None keeps none.
        clock: Time.

    Raises:
        AuditError: ``audit.unusable``, ``audit.other_file``, ``audit.broken``, ``audit.rolled_back`` or
            ``audit.head_file``.
    """

    def __init__(
        self,
        path: Path,
        *,
        signer: Signer,
        head_path: Path | None = None,
        clock: Callable[[], datetime.datetime] = now,
    ) -> None:
        self._signer = signer
        self._clock = clock
        self._head_file = head_file(head_path)
        self._file = DurableFile(path, SORT)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def append(self, *entries: Entry) -> None:
        """Write entries as the next rows, in this order, with the time of now. Durable when it returns.

        Raises:
            AuditError: They could not be written; nothing was.
        """
        if not entries:
            return
        at = moment(self._clock())
        with self._file.lock:
            with self._file.transaction() as connection:
                tip = _tip(connection)
                for entry in entries:
                    tip = _insert(connection, self._sealed(msgspec.structs.replace(entry, at=at), tip))
            self._remember(tip)

    def head(self) -> bytes:
        """Hash of the newest row."""
        with self._file.transaction() as connection:
            return _tip(connection).hash

    def newest(self, count: int) -> list[Entry]:
        """The last ``count`` rows, oldest first; checked when the log was opened, or written since.

        Raises:
            AuditError: ``audit.broken``.
        """
        with self._file.transaction() as connection:
            rows = list(_last(connection, count + 1))
        older = [*rows[1:], None]
        return [self._unsealed(row, before)[1] for row, before in zip(rows[:count], older, strict=False)][
            ::-1
        ]

    def _open(self) -> None:
        known = None if self._head_file is None else self._head_file.recall()
        with self._file.transaction() as connection:
            rows = list(_last(connection, 2))
            if known is not None and not _knows(connection, known):
                raise rolled_back()
            if rows:
                self._unsealed(rows[0], rows[1] if len(rows) > 1 else None)
                return
            opened = Opened(
                at=moment(self._clock()),
                party=self._signer.name,
                key=self._signer.key.public,
                log=os.urandom(32),
            )
            tip = _insert(connection, self._sealed(opened, Tip()))
        self._remember(tip)

    def _sealed(self, entry: Entry, after: Tip) -> Row:
        try:
            return seal(entry, after=after, key=self._signer.key)
        except ProtocolError as error:
            raise AuditError(
                f"a row of the audit log would not be readable: {error.message}",
                remedy="Report this to the developers; nothing was sent.",
                code="audit.unreadable",
            ) from error

    def _unsealed(self, row: Row, before: Row | None) -> tuple[Tip, Entry]:
        after = Tip() if before is None else Tip(before.seq, _bytes(before.hash))
        try:
            return unseal(row, after=after, public_key=self._signer.key.public)
        except BadRowError as error:
            raise broken(row.seq, str(error)) from error

    def _remember(self, tip: Tip) -> None:
        if self._head_file is not None:
            self._head_file.remember(tip.hash)


def head_file(path: Path | None) -> HeadFile | None:
    """The head file of an audit log."""
    return None if path is None else HeadFile(path, SORT.noun, SORT.area, AuditError)


def broken(seq: int, why: str) -> AuditError:
    """The error for a log whose first bad row is ``seq``."""
    return AuditError(
        f"the audit log is broken at row {seq}: {why}",
        remedy="Keep the file as evidence, find out who could write to it, and compare it with a copy and "
        "with the log of the other end.",
        code="audit.broken",
    )


def rolled_back() -> AuditError:
    """The error for a log that lacks a row which it had."""
    return AuditError(
        "the audit log is shorter than it was: its newest rows were removed, or an older copy was put back",
        remedy="Put the newer file back. If it is lost, keep what there is as evidence; moving both the log "
        "and its head file away begins a new log.",
        code="audit.rolled_back",
    )


def _insert(connection: sqlite3.Connection, row: Row) -> Tip:
    connection.execute(
        "INSERT INTO entry (seq, body, hash, signature) VALUES (?, ?, ?, ?)",
        (row.seq, row.body, row.hash, row.signature),
    )
    return Tip(row.seq, _bytes(row.hash))


def _last(connection: sqlite3.Connection, count: int) -> Iterator[Row]:
    """The last rows, newest first."""
    select = "SELECT seq, body, hash, signature FROM entry ORDER BY seq DESC LIMIT ?"
    return (Row(*row) for row in connection.execute(select, (count,)))


def _tip(connection: sqlite3.Connection) -> Tip:
    row = next(_last(connection, 1), None)
    return Tip() if row is None else Tip(row.seq, _bytes(row.hash))


def _knows(connection: sqlite3.Connection, head: bytes) -> bool:
    newest = "SELECT hash FROM entry ORDER BY seq DESC"
    return any(hash_ == head for (hash_,) in connection.execute(newest))


def moment(at: datetime.datetime) -> Moment:
    """A time as rows have it."""
    return at.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else FIRST
