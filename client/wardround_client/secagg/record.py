"""What a site has said in its rounds, durably, so that it never says the opposite.

Each method is one transaction that is on disk before it returns, and is called *before* what it records
leaves the site. What is recorded twice with the same content is fine and gives the recorded bytes back; with
other content it is refused.

| table | at most one per | recorded before |
|---|---|---|
| roster | version | anything that the roster's keys signed is believed |
| begun | round, attempt | data is touched |
| masked, held | round, attempt | the first byte of MASKED leaves; ``held``: the peers' shares, sealed |
| confirmed | round, attempt | CONFIRM leaves |
| released | round | OPEN leaves, with its exact bytes |
| aborted | round, attempt | ABORT leaves, with its exact bytes |
| accepted | round | ACCEPT leaves, with its exact bytes |
| adopted | round | a state that other sites accepted is started from |
| evidence | round, sender | the study is paused |
| settled | - | the study goes on after a pause, with a person's note |

Rounds are numbered through both kinds. A record serves one study and one thread at a time. Only the attempt
begun last may go on: the shares of all others are erased when it begins.

Not here: what a round costs (the ledger), one-attempt keys (memory only).

Privacy: digests, names, public messages, and shares of one-attempt secrets: sealed, and erased when they have
been opened, aborted, or overtaken.

References: ARCHITECTURE.md, "A round, message by message".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from wardround_client.secagg.rows import (
    AcceptedRound,
    BegunAttempt,
    SentUpload,
    accepted_round,
    sent_upload,
)
from wardround_client.secagg.tables import Tables, Tip, rolled_back
from wardround_client.secagg.vault import Vault, shares_lost
from wardround_common.canonical import decode, encode
from wardround_common.messages import MESSAGE_LIMIT_BYTES, Accept, Opened, RoundContext
from wardround_common.secagg.channel import HeldShares
from wardround_common.secagg.refusals import refuse
from wardround_common.secagg.retry import MaskedAttempt, check_retry

VOID_ROUNDS_THAT_PAUSE: Final = 2


class ProtocolRecord:
    """The durable record of one site in one study.

    Args:
        path: SQLite file, made if it is missing; several studies may share it.
        study: The plan's digest.
        vault: Seals peers' shares.
        tip: Remembers how long the record is, outside every backup; None remembers nothing.

    Raises:
        StorageError: The file cannot be opened, or ``storage.record_rolled_back``.
    """

    def __init__(self, path: Path | str, *, study: bytes, vault: Vault, tip: Tip | None = None) -> None:
        self._study = study
        self._vault = vault
        self._tables = Tables(path, study=study, tip=tip)

    def close(self) -> None:
        """Close the file. What was recorded is on disk already."""
        self._tables.close()

    # rosters

    def see_roster(self, version: int, signed: bytes) -> None:
        """Remember a roster that the authority signed."""
        if not self._tables.rows("roster", round=version):
            with self._tables.transaction():
                self._tables.insert("roster", round_number=version, signed=signed)

    def newest_roster(self) -> tuple[int, bytes]:
        """Version of the newest roster seen, 0 before the first, and the roster as it was signed."""
        row = self._tables.last("roster", by="round DESC")
        return (0, b"") if row is None else (row["round"], row["signed"])

    # an attempt, in the order of its messages

    def begin(self, context: RoundContext, *, start: bytes, roster: bytes) -> None:
        """Record the start of this attempt from the state with digest ``start``; erase all others' shares.

        Raises:
            SecAggError: ``secagg.fork`` or ``secagg.two_void_rounds`` while the study is paused here;
                ``secagg.start_state``, ``secagg.round_closed``, ``secagg.old_round``,
                ``secagg.other_kind``, ``secagg.other_start``, ``secagg.old_attempt``,
                ``secagg.already_opened``, ``secagg.aborted``.
        """
        with self._tables.transaction():
            self._check_not_paused(context.round)
            if (state := self.state()) is not None and state != start:
                raise refuse("start_state", "expected the state after the last round that this site accepted")
            if context.round <= self.last_round():
                raise refuse("round_closed", f"round {context.round} has been accepted")
            last = self._tables.last("begun")
            if last and context.round < last["round"]:
                raise refuse("old_round", f"round {last['round']} has begun here, got {context.round}")
            if last and context.round == last["round"]:
                self._check_next_attempt(context, start, last)
            self.check_not_aborted(context)
            self._insert("begun", context, start=start, roster=roster)
            self._tables.erase_held()

    def masked(
        self,
        context: RoundContext,
        upload: SentUpload,
        *,
        held: Mapping[str, HeldShares],
        aborts: Mapping[int, Collection[str]],
        site: str,
        max_colluders: int,
    ) -> None:
        """Record that a masked vector leaves in this attempt, if the retry rule allows it.

        Args:
            context: The attempt.
            upload: What is needed to go on after a restart.
            held: The peers' shares, by dealer.
            aborts: By earlier attempt, whose verified ABORTs this site holds.
            site: This site.
            max_colluders: Its own limit.

        Raises:
            SecAggError: ``secagg.already_opened``, ``secagg.not_aborted``, ``secagg.masked_twice``,
                ``secagg.aborted`` or ``secagg.superseded``.
        """
        with self._tables.transaction():
            self._check_current(context)
            self.check_not_aborted(context)
            rows = self._tables.rows("masked", round=context.round)
            if any(row["attempt"] == context.attempt for row in rows):
                raise refuse("masked_twice", "this site has sent its update in this attempt")
            check_retry(
                [
                    MaskedAttempt(attempt=row["attempt"], cohort=sent.cohort, t=sent.t)
                    for row, sent in ((row, sent_upload(row)) for row in rows)
                ],
                aborts=aborts,
                site=site,
                opened=bool(self._tables.rows("released", round=context.round)),
                max_colluders=max_colluders,
            )
            self._insert(
                "masked",
                context,
                hellos=encode((upload.cohort, upload.t, upload.hellos)),
                deals=encode(upload.deals),
                message=upload.message,
            )
            self._insert("held", context, sealed=self._vault.seal(held, context))

    def confirm(self, context: RoundContext, uploads: tuple[bytes, ...]) -> None:
        """Record the one set of uploads that is confirmed in this attempt.

        Args:
            context: The attempt.
            uploads: The survivors' MASKED envelopes, by name in ascending order.

        Raises:
            SecAggError: ``secagg.confirmed_otherwise``, ``secagg.aborted`` or ``secagg.superseded``.
        """
        with self._tables.transaction():
            self.check_not_aborted(context)
            known = self.confirmed(context)
            if known is None:
                self._check_current(context)
                self._insert("confirmed", context, uploads=encode(uploads))
            elif known != uploads:
                raise refuse("confirmed_otherwise", "another set of survivors was confirmed in this attempt")

    def release(self, context: RoundContext, message: bytes) -> bytes:
        """Record the OPEN of this round, erase the shares, and give the recorded OPEN back.

        Raises:
            SecAggError: ``secagg.opened_otherwise``, ``secagg.aborted`` or ``secagg.superseded``.
        """
        with self._tables.transaction():
            self.check_not_aborted(context)
            rows = self._tables.rows("released", round=context.round)
            if not rows:
                self._check_current(context)
                self._insert("released", context, message=message)
                self._tables.erase_held()
            elif rows[0]["message"] != message:
                raise refuse("opened_otherwise", f"round {context.round} was opened with other shares")
        return message

    def abort(self, context: RoundContext, message: bytes) -> bytes:
        """Record that this attempt was not opened here and never will be; erase its shares.

        Raises:
            SecAggError: ``secagg.abort_after_open`` or ``secagg.round_closed``.
        """
        with self._tables.transaction():
            if self._tables.rows("released", round=context.round):
                raise refuse("abort_after_open", f"this site has opened round {context.round}")
            if context.round <= self.last_round():
                raise refuse("round_closed", f"round {context.round} has been accepted")
            if not self._aborted(context):
                self._insert("aborted", context, message=message)
                last = self._tables.last("begun")
                if last and (last["round"], last["attempt"]) == (context.round, context.attempt):
                    self._tables.erase_held()
        return message

    def accept(self, context: RoundContext, *, start: bytes, next_digest: bytes, message: bytes) -> bytes:
        """Record the ACCEPT of this round, and give the recorded one back.

        Raises:
            SecAggError: ``secagg.accepted_otherwise`` or ``secagg.superseded``.
        """
        with self._tables.transaction():
            rows = self._tables.rows("accepted", round=context.round)
            if not rows:
                self._check_current(context)
                self._insert("accepted", context, start=start, next=next_digest, message=message)
                self._tables.erase_held()
            elif rows[0]["message"] != message:
                raise refuse("accepted_otherwise", f"another result of round {context.round} was accepted")
        return message

    # states of other sites

    def adopt(self, round_number: int, *, state: bytes, links: tuple[tuple[bytes, ...], ...]) -> None:
        """Record that this site goes on from a state that others accepted while it was away.

        Args:
            round_number: The last round of the links.
            state: Digest of the state after it.
            links: The ACCEPTs that prove it.
        """
        with self._tables.transaction():
            self._tables.insert("adopted", round_number=round_number, state=state, links=encode(links))

    def compare(self, accept: Opened[Accept]) -> None:
        """Hold another site's verified ACCEPT against the one of this site for the same round.

        Raises:
            SecAggError: ``secagg.fork`` where they lead elsewhere; the other one is kept as evidence first.
        """
        context, theirs = accept.context, (accept.context.kind, accept.body.start, accept.body.next)
        mine = self._tables.rows("accepted", round=context.round)
        agrees = not mine or (mine[0]["kind"], mine[0]["start"], mine[0]["next"]) == theirs
        if agrees or context.round <= self._settled():
            return
        if not self._tables.rows("evidence", round=context.round, sender=accept.sender):
            with self._tables.transaction():
                self._tables.insert(
                    "evidence",
                    round_number=context.round,
                    kind=context.kind,
                    sender=accept.sender,
                    message=accept.data,
                )
        raise refuse(
            "fork", f"{accept.sender} accepted another result of round {context.round} than this site"
        )

    def settle(self, note: str) -> None:
        """End a pause, with the note of the person who decided it; what led to it stays on record."""
        rows = [self._tables.last(table, by="round DESC") for table in ("begun", "evidence")]
        through = max((row["round"] for row in rows if row), default=0)
        with self._tables.transaction():
            self._tables.insert("settled", round_number=through, note=note)

    # what was recorded

    def begun(self) -> BegunAttempt | None:
        """The attempt begun last."""
        row = self._tables.last("begun")
        if row is None:
            return None
        return BegunAttempt(context=self._context(row), start=row["start"], roster=row["roster"])

    def check_knows(self, context: RoundContext) -> None:
        """Return only if this record holds an attempt that is known to have begun here.

        Raises:
            StorageError: ``storage.record_rolled_back``: an older record was put in place of this site's.
        """
        if not self._tables.rows("begun", round=context.round, attempt=context.attempt):
            raise rolled_back()

    def sent(self, context: RoundContext) -> SentUpload | None:
        """What this site sent as MASKED in an attempt, and what it needs to go on from there."""
        rows = self._tables.rows("masked", round=context.round, attempt=context.attempt)
        return sent_upload(rows[0]) if rows else None

    def held(self, context: RoundContext) -> dict[str, HeldShares]:
        """The shares of an attempt, by dealer.

        Raises:
            StorageError: ``storage.shares_lost``: they were erased, or cannot be unsealed.
        """
        rows = self._tables.rows("held", round=context.round, attempt=context.attempt)
        if not rows:
            raise shares_lost()
        return self._vault.open(rows[0]["sealed"], context)

    def confirmed(self, context: RoundContext) -> tuple[bytes, ...] | None:
        """The MASKED envelopes of the set that was confirmed in an attempt."""
        rows = self._tables.rows("confirmed", round=context.round, attempt=context.attempt)
        if not rows:
            return None
        return decode(rows[0]["uploads"], tuple[bytes, ...], limit_bytes=MESSAGE_LIMIT_BYTES)

    def released(self, context: RoundContext) -> bytes | None:
        """The OPEN of an attempt, to be sent again unchanged; None where there is none."""
        rows = self._tables.rows("released", round=context.round, attempt=context.attempt)
        return rows[0]["message"] if rows else None

    def accepted(self, round_number: int) -> AcceptedRound | None:
        """The ACCEPT of a round."""
        rows = self._tables.rows("accepted", round=round_number)
        return accepted_round(rows[0]) if rows else None

    def last_round(self) -> int:
        """The last round that was accepted here, or by others and adopted; 0 before the first."""
        rows = (self._tables.last(table, by="round DESC") for table in ("accepted", "adopted"))
        return max((row["round"] for row in rows if row), default=0)

    def state(self) -> bytes | None:
        """Digest of the state after the last accepted round, which the next round must start from."""
        accepted, adopted = (self._tables.last(table, by="round DESC") for table in ("accepted", "adopted"))
        if adopted and (accepted is None or adopted["round"] > accepted["round"]):
            return bytes(adopted["state"])
        return None if accepted is None else accepted_round(accepted).state

    def has_left(self, state: bytes) -> bool:
        """Whether a round that this site accepted led away from the state with that digest."""
        return any(row["kind"] == "train" and row["start"] == state for row in self._tables.rows("accepted"))

    def evidence(self) -> tuple[bytes, ...]:
        """ACCEPTs of other sites that contradict this site's own, settled ones included."""
        return tuple(row["message"] for row in self._tables.rows("evidence"))

    # rules

    def _check_not_paused(self, number: int) -> None:
        settled = self._settled()
        if any(row["round"] > settled for row in self._tables.rows("evidence")):
            raise refuse("fork", "another site accepted another result; its ACCEPT is kept as evidence")
        closed = {row["round"] for table in ("accepted", "adopted") for row in self._tables.rows(table)}
        begun = sorted({row["round"] for row in self._tables.rows("begun")})
        before = [other for other in begun if settled < other < number][-VOID_ROUNDS_THAT_PAUSE:]
        last_closed = max(closed, default=0)
        if len(before) == VOID_ROUNDS_THAT_PAUSE and before[0] > last_closed:
            raise refuse("two_void_rounds", f"rounds {before[0]} and {before[1]} came to nothing here")

    def _check_next_attempt(self, context: RoundContext, start: bytes, last: dict[str, Any]) -> None:
        if last["kind"] != context.kind:
            raise refuse("other_kind", f"round {context.round} began as a round of kind {last['kind']}")
        if last["start"] != start:
            raise refuse("other_start", f"round {context.round} began from another state")
        if last["attempt"] >= context.attempt:
            raise refuse("old_attempt", f"attempt {last['attempt']} has begun, got {context.attempt}")
        if self._tables.rows("released", round=context.round):
            raise refuse("already_opened", f"this site has opened round {context.round}")

    def _check_current(self, context: RoundContext) -> None:
        last = self._tables.last("begun")
        if last is None or (last["round"], last["attempt"]) != (context.round, context.attempt):
            raise refuse("superseded", f"attempt {context.attempt} at round {context.round} is not the last")

    def check_not_aborted(self, context: RoundContext) -> None:
        """Return only if this site has not aborted the attempt.

        Raises:
            SecAggError: ``secagg.aborted``.
        """
        if self._aborted(context):
            raise refuse(
                "aborted", f"this site has aborted attempt {context.attempt} at round {context.round}"
            )

    def _aborted(self, context: RoundContext) -> bool:
        return bool(self._tables.rows("aborted", round=context.round, attempt=context.attempt))

    def _settled(self) -> int:
        """The last round that a person has settled."""
        row = self._tables.last("settled", by="round DESC")
        return 0 if row is None else int(row["round"])

    def _insert(self, table: str, context: RoundContext, **content: int | bytes | str) -> None:
        self._tables.insert(
            table, round_number=context.round, kind=context.kind, attempt=context.attempt, **content
        )

    def _context(self, row: dict[str, Any]) -> RoundContext:
        return RoundContext(
            plan_digest=self._study, round=row["round"], kind=row["kind"], attempt=row["attempt"]
        )
