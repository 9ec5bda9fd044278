"""A study in the journal: its rounds, its state, who accepted what, and whether it is paused.

Rules:

* A round's end is one transaction: its record, its ACCEPTs, the state or the counts that it led to, evidence,
  a pause, and the end of everything that was kept for it alone.
* What is read back is checked: every vector against its digest, every message as it was when it arrived.

Not here: what follows from it (``wardround_server.study``).

Privacy: names, codes, signed messages; the state and the sum of noised counts, which are functions of
aggregates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wardround_common.messages import EXCHANGES, RoundContext
from wardround_common.secagg.ring import Ring
from wardround_server.journal import vectors
from wardround_server.journal.attempts import AttemptLog, AttemptRow
from wardround_server.journal.database import Database, Hook, corrupt, from_column

BY_PEOPLE: Final = "study."
"""How the codes of pauses begin that a person decided, and no round."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundRow:
    """A round that has ended.

    Attributes:
        number: Its number.
        record: What happened, encoded.
        next: Digest of what was accepted; None where the round is void.
        accepts: The ACCEPT envelopes by site, in ascending order.
    """

    number: int
    record: bytes
    next: bytes | None
    accepts: Mapping[str, bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """What is written when a round ends.

    Attributes:
        row: The round.
        state: The state that it led to, packed; None where it stays.
        counts: The sum of an EVALUATE round; None for others.
        evidence: ACCEPTs that contradict those in ``row``, by site.
        pause: Code of the reason why the study pauses now; empty where it goes on.
    """

    row: RoundRow
    state: Ring | None = None
    counts: Ring | None = None
    evidence: Mapping[str, bytes]
    pause: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Voice:
    """The last HELLO of a site, and the node that it came from."""

    node: int
    hello: bytes


class Journal:
    """The journal of one study.

    Args:
        path: The file, made where it does not exist; None keeps it in memory.
        plan: Digest of the plan.
        hook: Is told "before NAME" and "after NAME" of every transaction, for tests.
        read_only: Whether it is only looked at, while a job may be writing; the file must exist.

    Raises:
        StorageError: ``journal.*``.
    """

    def __init__(
        self, path: Path | None, *, plan: bytes, hook: Hook | None = None, read_only: bool = False
    ) -> None:
        self._database = Database(path, plan=plan, hook=hook, read_only=read_only)
        self._plan = plan

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def rounds(self) -> tuple[RoundRow, ...]:
        """The rounds that have ended, in order."""
        rows = self._database.rows("SELECT number, record, next FROM round ORDER BY number")
        if [row[0] for row in rows] != list(range(1, len(rows) + 1)):
            raise corrupt("a round is missing")
        return tuple(
            RoundRow(number=number, record=record, next=digest, accepts=self._envelopes("accept", number))
            for number, record, digest in rows
        )

    def state(self) -> Ring | None:
        """The last accepted state, packed; None before the first."""
        return vectors.get(self._database, "state")

    def counts(self) -> Ring | None:
        """The sum of the EVALUATE round; None where there is none."""
        return vectors.get(self._database, "counts")

    def voices(self) -> dict[str, Voice]:
        """The last HELLO of each site."""
        rows = self._database.rows("SELECT site, node, envelope FROM hello ORDER BY site")
        return {site: Voice(node=from_column(node), hello=envelope) for site, node, envelope in rows}

    def evidence(self) -> dict[tuple[int, str], bytes]:
        """ACCEPTs that contradict others, by round and site."""
        rows = self._database.rows("SELECT round, site, envelope FROM evidence ORDER BY round, site")
        return {(number, site): envelope for number, site, envelope in rows}

    def end(self, ended: Ended) -> None:
        """Write a round's end, and forget what was kept for it alone."""
        row = ended.row
        with self._database.transaction(f"end round {row.number}") as connection:
            connection.execute("INSERT INTO round VALUES (?, ?, ?)", (row.number, row.record, row.next))
            for table, envelopes in (("accept", row.accepts), ("evidence", ended.evidence)):
                connection.executemany(
                    f"INSERT INTO {table} VALUES (?, ?, ?)",
                    [(row.number, site, envelope) for site, envelope in envelopes.items()],
                )
            for name, words in (("state", ended.state), ("counts", ended.counts)):
                if words is not None:
                    vectors.put(connection, name, words)
            if ended.pause:
                connection.execute("INSERT INTO pause (round, code) VALUES (?, ?)", (row.number, ended.pause))
            for table in ("closed", "reply", "attempt"):
                connection.execute(f"DELETE FROM {table}")
            vectors.drop(connection, "attempt ", all_below=True)

    def paused(self) -> str:
        """Code of the reason why the study is paused; empty where it is not."""
        rows = self._database.rows("SELECT code FROM pause WHERE note IS NULL ORDER BY seq DESC")
        return str(rows[0][0]) if rows else ""

    def pause(self, code: str) -> None:
        """Pause the study after the rounds that have ended, because a person says so.

        Args:
            code: ``study.*``: what was decided; who and why is in the audit log.
        """
        if self.paused() == code:
            return
        with self._database.transaction("pause") as connection:
            connection.execute(
                "INSERT INTO pause (round, code) SELECT coalesce(max(number), 0), ? FROM round", (code,)
            )

    def resume(self, note: str) -> None:
        """End the pause.

        Args:
            note: Who decided so, and why.
        """
        with self._database.transaction("resume") as connection:
            connection.execute("UPDATE pause SET note = ? WHERE note IS NULL", (note,))

    def last_pause(self) -> int:
        """The last round that paused the study; 0 where none did. What people decided is not counted."""
        select = "SELECT coalesce(max(round), 0) FROM pause WHERE code NOT GLOB ?"
        return int(self._database.rows(select, f"{BY_PEOPLE}*")[0][0])

    def attempts(self, context: RoundContext) -> tuple[AttemptRow, ...]:
        """The attempts at the round of ``context`` that were begun, in order.

        Raises:
            StorageError: ``journal.corrupt``: another round is under way.
        """
        rows = self._database.rows(
            "SELECT number, round, kind, roster, failed, masked FROM attempt ORDER BY number"
        )
        for number, round_number, kind, *_ in rows:
            if (round_number, kind) != (context.round, context.kind) or number > len(rows):
                raise corrupt(f"attempt {number} at {kind} round {round_number} does not belong here")
        strange = "SELECT exchange FROM reply UNION SELECT exchange FROM closed"
        if unknown := {row[0] for row in self._database.rows(strange)} - set(EXCHANGES):
            raise corrupt(f"there is no exchange {min(unknown)!r}")
        return tuple(
            AttemptRow(
                number=number,
                round=round_number,
                kind=kind,
                roster=roster,
                failed=failed,
                masked=bool(masked),
                members=self._members(number),
            )
            for number, round_number, kind, roster, failed, masked in rows
        )

    def begin(self, context: RoundContext, *, roster: bytes) -> AttemptLog:
        """Write that an attempt begins.

        Args:
            context: The attempt.
            roster: The roster that it is begun with, as the authority signed it.
        """
        with self._database.transaction(f"begin {context.attempt}") as connection:
            connection.execute(
                "INSERT INTO attempt (number, round, kind, roster) VALUES (?, ?, ?, ?)",
                (context.attempt, context.round, context.kind, roster),
            )
        return self.attempt(context.attempt)

    def attempt(self, number: int) -> AttemptLog:
        """What is written about an attempt that was begun."""
        return AttemptLog(self._database, number)

    def _members(self, attempt: int) -> tuple[str, ...]:
        select = "SELECT site FROM reply WHERE attempt = ? AND exchange = 'start' ORDER BY site"
        return tuple(row[0] for row in self._database.rows(select, attempt))

    def _envelopes(self, table: str, number: int) -> dict[str, bytes]:
        select = f"SELECT site, envelope FROM {table} WHERE round = ? ORDER BY site"
        return dict(self._database.rows(select, number))
