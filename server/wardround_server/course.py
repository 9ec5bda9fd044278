"""The course of a round: which attempts have failed, whether they are closed, and what the next one needs.

Not here: one attempt (``rounds``), one exchange (``exchanges``).

Rules:

* No attempt begins before *every* earlier one that failed behind ENVELOPES is closed by enough ABORTs.
* A cohort that sites refused as too small is not offered again: the next attempt waits for one HELLO more.
* An attempt that was begun keeps the roster that it was begun with.

Privacy: names, numbers and codes.

References: ARCHITECTURE.md, "A round, message by message".
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from msgspec import structs

from wardround_common.errors import SecAggError
from wardround_common.logs import event
from wardround_common.messages import RoundContext, Signer
from wardround_common.secagg.ring import Ring
from wardround_common.secagg.terms import RoundTerms
from wardround_common.trust import Roster
from wardround_server.exchanges import Exchanges
from wardround_server.history import Welcome
from wardround_server.journal import AttemptLog, AttemptRow
from wardround_server.observer import RoundRecord
from wardround_server.secagg import CoordinatorSession, FailedAttempt
from wardround_server.sending import Line

_COHORT_REFUSED: Final = frozenset(
    f"secagg.{what}" for what in ("cohort_too_small", "too_many_colluders", "too_few_honest")
)

_MORE_ABORTS: Final = frozenset(("secagg.not_aborted", "secagg.aborted_elsewhere"))


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundSetup:
    """What a round is run with.

    Attributes:
        terms: Makes the terms of an attempt from its context and the signed roster.
        context: The first attempt's context; later ones differ in the attempt's number.
        signer: The coordinator's identity.
        roster: The newest roster as the authority signed it; asked when an attempt begins.
        accepts: ACCEPT envelopes of the last round that was accepted, of the sites of a roster.
        welcome: What START tells a site (None: an unknown one), with all links or only those that it needs,
            under a roster.
        outcome: Digest that the round leads to, from the sum and the survivors; refuses an impossible sum.
        max_attempts: How often to try.
        deadline_s: How long to wait for missing sites, all attempts together.
    """

    terms: Callable[[RoundContext, bytes], RoundTerms]
    context: RoundContext
    signer: Signer
    roster: Callable[[], bytes]
    accepts: Callable[[Roster], tuple[bytes, ...]]
    welcome: Callable[[str | None, bool, Roster], Welcome]
    outcome: Callable[[Ring, tuple[str, ...]], bytes]
    max_attempts: int
    deadline_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One try: its session, its exchanges and its page of the journal."""

    session: CoordinatorSession
    exchanges: Exchanges
    log: AttemptLog
    terms: RoundTerms


class Course:
    """The attempts of one round: which failed, whether they are closed, how many HELLOs the next needs.

    Attributes:
        setup: What the round is run with.
        record: What is told of it.
        until: When the waiting for missing sites ends.
        now: The time.
        wanted: HELLOs that the next attempt waits for.
    """

    def __init__(self, setup: RoundSetup, line: Line) -> None:
        self.setup = setup
        self.record = RoundRecord(number=setup.context.round, kind=setup.context.kind)
        self.until = line.clock.now() + setup.deadline_s
        self.now = line.clock.now
        self.wanted = setup.terms(setup.context, setup.roster()).minimum_cohort
        self._line = line
        self._begun = {row.number: row for row in line.journal.attempts(setup.context)}
        self._failed: list[tuple[FailedAttempt, Exchanges]] = []
        for row in self._begun.values():
            if row.failed is not None:
                self._recall(row)

    def numbers(self) -> Iterator[int]:
        """The attempts that are still to be made, each only once those before it are closed."""
        first = 1 + sum(row.failed is not None for row in self._begun.values())
        for number in range(first, self.setup.max_attempts + 1):
            if number not in self._begun and not self._close():
                return
            yield number
            if self.now() >= self.until:
                return

    @property
    def aborts(self) -> tuple[bytes, ...]:
        """The ABORTs of the attempts that failed, by attempt and name."""
        return tuple(data for failed, _ in self._failed for data in failed.aborts)

    def begin(self, number: int) -> Attempt:
        """Begin an attempt, or go on with the one that was under way."""
        self.record.attempts, self.record.void = number, ""
        context = structs.replace(self.setup.context, attempt=number)
        row = self._begun.get(number)
        roster = self.setup.roster() if row is None else row.roster
        journal = self._line.journal
        log = journal.begin(context, roster=roster) if row is None else journal.attempt(number)
        terms = self.setup.terms(context, roster)
        session = CoordinatorSession(
            terms, signer=self.setup.signer, roster=roster, accepts=self.setup.accepts(terms.roster)
        )
        exchanges = Exchanges(self._line, log, self.record)
        return Attempt(session=session, exchanges=exchanges, log=log, terms=terms)

    def failed(self, attempt: Attempt, error: SecAggError) -> None:
        """Write down that an attempt has failed, and what the next one needs."""
        session, record = attempt.session, self.record
        record.void = error.code
        self.blame(session)
        number = record.attempts
        event("round.failed", level=logging.WARNING, round=record.number, attempt=number, code=error.code)
        if session.may_be_opened:
            return
        attempt.log.fail(error.code, masked=session.may_have_masked)
        codes = attempt.exchanges.codes
        if codes & _COHORT_REFUSED:
            self.wanted = max(self.wanted, len(record.cohort) + 1)
        if codes & _MORE_ABORTS:
            for failed, _ in self._failed:
                failed.more()
        if session.may_have_masked:
            self._failed.append((session.failed(), attempt.exchanges))

    def blame(self, session: CoordinatorSession) -> None:
        """Name the sites that provably broke the protocol."""
        for site, code in session.blamed.items():
            event("site.blamed", level=logging.WARNING, round=self.record.number, site=site, code=code)
        self.record.blamed.update(session.blamed)

    def _close(self) -> bool:
        """Close every attempt that failed; whether all are closed.

        Whoever has not sent ABORT is asked, also where there are enough: a site wants its own among them.
        """
        for failed, exchanges in self._failed:
            if not exchanges.abandon(failed, until=self.until):
                self.record.void = "secagg.too_few_aborts"
                return False
        return True

    def _recall(self, row: AttemptRow) -> None:
        """Take up an attempt that failed before the coordinator was stopped."""
        self.record.attempts, self.record.void = row.number, row.failed or ""
        if row.masked:
            context = structs.replace(self.setup.context, attempt=row.number)
            terms = self.setup.terms(context, row.roster)
            failed = FailedAttempt(terms, members=row.members, signer=self.setup.signer)
            exchanges = Exchanges(self._line, self._line.journal.attempt(row.number), self.record)
            exchanges.recall(failed)
            self._failed.append((failed, exchanges))
