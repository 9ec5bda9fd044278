"""What a site has said in its rounds, durably, so that it never says the opposite.

Each method is one transaction that is on disk before it returns, and is called *before* what it records
leaves the site. Rows are only ever added; triggers refuse anything else. What is recorded twice with the same
content is fine and gives the recorded bytes back; with other content it is refused.

| table | at most one per | recorded before |
|---|---|---|
| begun | round, attempt | data is touched |
| masked | round | the first byte of MASKED leaves |
| confirmed | round, attempt | CONFIRM leaves |
| released | round | OPEN leaves, with its exact bytes |
| accepted | round | ACCEPT leaves, with its exact bytes |
| evidence | round, sender | the study is paused |

Rounds are numbered through both kinds. A record serves one study and one thread at a time.

Not here: what a round costs (the ledger), one-attempt keys (memory only).

Privacy: digests, names and shares of one-attempt secrets that left anyway.

References: ARCHITECTURE.md, "A round, message by message"; SQLite, "PRAGMA synchronous".
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wardround_common.canonical import encode
from wardround_common.errors import StorageError
from wardround_common.messages import Accept, Kind, Opened, RoundContext
from wardround_common.secagg.refusals import refuse

_TABLES: Final = {
    "begun": "attempt INTEGER, start BLOB, PRIMARY KEY (study, round, attempt)",
    "masked": "attempt INTEGER, transcript BLOB, PRIMARY KEY (study, round)",
    "confirmed": "attempt INTEGER, transcript BLOB, survivors BLOB, PRIMARY KEY (study, round, attempt)",
    "released": "attempt INTEGER, message BLOB, PRIMARY KEY (study, round)",
    "accepted": "attempt INTEGER, start BLOB, next BLOB, message BLOB, PRIMARY KEY (study, round)",
    "evidence": "sender TEXT, message BLOB, PRIMARY KEY (study, round, sender)",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class AcceptedRound:
    """A round that this site accepted.

    Attributes:
        round: Its number.
        kind: Its kind.
        start: Digest of the state that it started from.
        next: Digest that the site signed as its outcome.
        message: The ACCEPT envelope.
    """

    round: int
    kind: Kind
    start: bytes
    next: bytes
    message: bytes


class ProtocolRecord:
    """The durable record of one site in one study.

    Args:
        path: SQLite file, made if it is missing; several studies may share it.
        study: The plan's digest.

    Raises:
        StorageError: The file cannot be opened.
    """

    def __init__(self, path: Path | str, *, study: bytes) -> None:
        self._study = study
        with _translated():
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            for table, columns in _TABLES.items():
                self._make(table, columns)

    def close(self) -> None:
        """Close the file. What was recorded is on disk already."""
        self._db.close()

    def begin(self, context: RoundContext, *, start: bytes) -> None:
        """Record that this attempt starts from the state with digest ``start``.

        Raises:
            SecAggError: ``secagg.fork`` while evidence of one is held; ``secagg.old_round``,
                ``secagg.other_kind``, ``secagg.start_state``, ``secagg.old_attempt``,
                ``secagg.already_masked``.
        """
        with self._transaction():
            if self._rows("evidence"):
                raise refuse("fork", "another site accepted another result; its ACCEPT is kept as evidence")
            if (state := self.state()) is not None and state != start:
                raise refuse("start_state", "expected the state after the last round that this site accepted")
            last = self._last("begun")
            if last and context.round < last["round"]:
                raise refuse("old_round", f"round {last['round']} has begun here, got {context.round}")
            if last and context.round == last["round"]:
                self._check_retry(context, start, last)
            self._insert("begun", context, attempt=context.attempt, start=start)

    def masked(self, context: RoundContext, *, transcript: bytes) -> None:
        """Record that a masked vector leaves in this attempt; once per round.

        Raises:
            SecAggError: ``secagg.masked_twice``, or ``secagg.superseded``.
        """
        with self._transaction():
            if self._rows("masked", round=context.round):
                raise refuse("masked_twice", f"this site has sent its update of round {context.round}")
            self._check_current(context)
            self._insert("masked", context, attempt=context.attempt, transcript=transcript)

    def confirm(self, context: RoundContext, *, transcript: bytes, survivors: tuple[str, ...]) -> None:
        """Record the one set of survivors that is confirmed in this attempt.

        Raises:
            SecAggError: ``secagg.confirmed_otherwise``, or ``secagg.superseded``.
        """
        content = {"transcript": transcript, "survivors": encode(survivors)}
        with self._transaction():
            rows = self._rows("confirmed", round=context.round, attempt=context.attempt)
            if not rows:
                self._check_current(context)
                self._insert("confirmed", context, attempt=context.attempt, **content)
            elif any(rows[0][name] != value for name, value in content.items()):
                raise refuse("confirmed_otherwise", "another set of survivors was confirmed in this attempt")

    def release(self, context: RoundContext, message: bytes) -> bytes:
        """Record the OPEN of this round, and give the recorded one back.

        Raises:
            SecAggError: ``secagg.opened_otherwise``, or ``secagg.superseded``.
        """
        with self._transaction():
            rows = self._rows("released", round=context.round)
            if not rows:
                self._check_current(context)
                self._insert("released", context, attempt=context.attempt, message=message)
            elif rows[0]["message"] != message:
                raise refuse("opened_otherwise", f"round {context.round} was opened with other shares")
        return message

    def accept(self, context: RoundContext, *, start: bytes, next_digest: bytes, message: bytes) -> bytes:
        """Record the ACCEPT of this round, and give the recorded one back.

        Raises:
            SecAggError: ``secagg.accepted_otherwise``, or ``secagg.superseded``.
        """
        with self._transaction():
            rows = self._rows("accepted", round=context.round)
            if not rows:
                self._check_current(context)
                content = {"start": start, "next": next_digest, "message": message}
                self._insert("accepted", context, attempt=context.attempt, **content)
            elif rows[0]["message"] != message:
                raise refuse("accepted_otherwise", f"another result of round {context.round} was accepted")
        return message

    def compare(self, accept: Opened[Accept]) -> None:
        """Hold another site's verified ACCEPT against the one of this site for the same round.

        Raises:
            SecAggError: ``secagg.fork`` where they lead elsewhere; the other one is kept as evidence first.
        """
        context, theirs = accept.context, (accept.context.kind, accept.body.start, accept.body.next)
        mine = self._rows("accepted", round=context.round)
        if not mine or (mine[0]["kind"], mine[0]["start"], mine[0]["next"]) == theirs:
            return
        with self._transaction():
            if not self._rows("evidence", round=context.round, sender=accept.sender):
                self._insert("evidence", context, sender=accept.sender, message=accept.data)
        raise refuse(
            "fork", f"{accept.sender} accepted another result of round {context.round} than this site"
        )

    def released(self, round_number: int) -> bytes | None:
        """The OPEN of a round, to be sent again unchanged; None where there is none."""
        rows = self._rows("released", round=round_number)
        return rows[0]["message"] if rows else None

    def last_accept(self) -> AcceptedRound | None:
        """The last round that this site accepted."""
        if (last := self._last("accepted")) is None:
            return None
        return AcceptedRound(**{name: last[name] for name in ("round", "kind", "start", "next", "message")})

    def state(self) -> bytes | None:
        """Digest of the state after the last accepted round: EVALUATE leaves it as it was."""
        last = self.last_accept()
        return None if last is None else last.next if last.kind == "train" else last.start

    def evidence(self) -> tuple[bytes, ...]:
        """ACCEPTs of other sites that contradict this site's own."""
        return tuple(row["message"] for row in self._rows("evidence"))

    def _check_retry(self, context: RoundContext, start: bytes, last: dict[str, Any]) -> None:
        if last["kind"] != context.kind:
            raise refuse("other_kind", f"round {context.round} began as a round of kind {last['kind']}")
        if last["start"] != start:
            raise refuse("start_state", f"round {context.round} began from another state")
        if last["attempt"] >= context.attempt:
            raise refuse("old_attempt", f"attempt {last['attempt']} has begun, got {context.attempt}")
        if self._rows("masked", round=context.round):
            raise refuse("already_masked", f"this site has sent its update of round {context.round}")

    def _check_current(self, context: RoundContext) -> None:
        last = self._last("begun")
        if last is None or (last["round"], last["attempt"]) != (context.round, context.attempt):
            raise refuse("superseded", f"attempt {context.attempt} at round {context.round} is not the last")

    def _make(self, table: str, columns: str) -> None:
        self._db.execute(
            f"CREATE TABLE IF NOT EXISTS {table} (study BLOB, round INTEGER, kind TEXT, {columns}) STRICT"
        )
        for event in ("UPDATE", "DELETE"):
            self._db.execute(
                f"CREATE TRIGGER IF NOT EXISTS {table}_no_{event.lower()} BEFORE {event} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, 'rows are only added'); END"
            )

    def _rows(self, table: str, **where: int | str) -> list[dict[str, Any]]:
        conditions = "".join(f" AND {name} = :{name}" for name in where)
        return self._select(f"SELECT * FROM {table} WHERE study = :study{conditions}", **where)

    def _last(self, table: str) -> dict[str, Any] | None:
        order = "ORDER BY round DESC, attempt DESC LIMIT 1"
        rows = self._select(f"SELECT * FROM {table} WHERE study = :study {order}")
        return rows[0] if rows else None

    def _select(self, statement: str, **where: int | str) -> list[dict[str, Any]]:
        with _translated():
            cursor = self._db.execute(statement, {"study": self._study, **where})
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def _insert(self, table: str, context: RoundContext, **content: int | bytes | str) -> None:
        values = {"study": self._study, "round": context.round, "kind": context.kind, **content}
        slots = ", ".join(f":{name}" for name in values)
        self._db.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({slots})", values)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StorageError(
            f"the protocol record cannot be read or written: {error}",
            remedy="Check disk and permissions of the data folder; the site sends nothing until then.",
            code="storage.protocol_record",
        ) from error
