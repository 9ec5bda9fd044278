"""A study at the coordinator: its rounds, one after the other, and the evaluation after the last.

``CoordinatorStudy`` on the journal of a study that was stopped goes on where that one stood.

Not here: how a round goes (``rounds``), the file (``journal``), pictures and words (``report``).

Rules:

* A void round is not repeated: its number is spent, the next round starts from the last accepted state.
* Two void rounds in a row pause the study, and so do ACCEPTs that contradict each other, which are kept as
  evidence. A pause lasts until a person ends it (``resume``), across restarts.
* What people decided (``halt``) counts before the next round begins: a round that has begun loses nothing.
* The coordinator computes each state from the sum, as every site does. It sends one only to a site that
  missed rounds, which believes it because of the other sites' ACCEPTs.
* Each attempt has the newest roster when it begins: a study that runs for weeks outlives several.
* The model is released with the ACCEPTs of at least t sites of the last accepted TRAIN round, not with fewer.

Privacy: sums over cohorts, and the states that follow from them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from wardround_common.aggregate import Aggregation
from wardround_common.audit import AuditLog
from wardround_common.canonical import encode
from wardround_common.errors import ProtocolError
from wardround_common.logs import event
from wardround_common.messages import Kind, RoundContext, Signer
from wardround_common.plan import StudyPlan
from wardround_common.secagg.refusals import refuse
from wardround_common.secagg.ring import Ring, decode_counts, exceeds
from wardround_common.secagg.terms import RoundTerms
from wardround_common.trust import Roster, plan_digest, recorded_roster
from wardround_server.audit import StudyAudit
from wardround_server.clock import Clock, SystemClock
from wardround_server.course import RoundSetup
from wardround_server.history import History, Welcome
from wardround_server.journal import Ended, Journal, RoundRow, corrupt
from wardround_server.observer import Observer, RoundRecord
from wardround_server.outcome import StudyOutcome, remembered
from wardround_server.rounds import RoundOutcome, run_round
from wardround_server.sending import Line
from wardround_server.transport import Transport

__all__ = ["FORK", "CoordinatorStudy", "StudyOutcome", "StudySetup"]

VOID_ROUNDS_THAT_PAUSE: Final = 2
FORK: Final = "secagg.fork"


@dataclass(frozen=True, kw_only=True, slots=True)
class StudySetup:
    """What a study is run with.

    Attributes:
        plan: The signed plan.
        signer: The coordinator's identity.
        roster: The newest roster as the authority signed it, which was checked; asked before each attempt.
    """

    plan: StudyPlan
    signer: Signer
    roster: Callable[[], bytes]


class CoordinatorStudy:
    """Runs one study; ``outcome`` grows while it runs.

    Args:
        setup: The study.
        observer: Is told what happens.
        journal: The study's journal; None keeps one in memory.
        clock: Time; None: the machine's.
        audit: The coordinator's audit log; None keeps none. What it cannot hold ends the run.
        halt: Is asked before each round: the code of what people decided, empty where the study may go on.

    Raises:
        StorageError: ``journal.*``: what the journal says does not fit together.
    """

    def __init__(
        self,
        setup: StudySetup,
        observer: Observer,
        *,
        journal: Journal | None = None,
        clock: Clock | None = None,
        audit: AuditLog | None = None,
        halt: Callable[[], str] = lambda: "",
    ) -> None:
        self._setup = setup
        self._plan = setup.plan
        self._digest = plan_digest(setup.plan)
        self._sums = Aggregation(setup.plan)
        self._observer = observer
        self._journal = journal or Journal(None, plan=self._digest)
        self._clock = clock or SystemClock()
        self._audit = StudyAudit(audit, setup.plan)
        self._halt = halt
        self._history = History(self._journal.rounds())
        self.outcome = remembered(self._journal, self._sums)

    def run(self, transport: Transport) -> None:
        """Run all rounds that are left and the evaluation, or until the study pauses."""
        line = Line(
            transport=transport,
            clock=self._clock,
            observer=self._observer,
            journal=self._journal,
            audit=self._audit,
            timeout_s=self._plan.aggregation.exchange_timeout_s,
        )
        rounds = self._plan.rounds
        last = rounds + (self._plan.evaluation is not None)
        while not self.outcome.paused and (number := len(self.outcome.records) + 1) <= last:
            if decided := self._halt():
                self._journal.pause(decided)
                self.outcome.paused = decided
            else:
                self._round(number, "train" if number <= rounds else "evaluate", line)
        if self.outcome.paused:
            event("study.paused", level=logging.ERROR, study=self._plan.study, code=self.outcome.paused)

    def resume(self, note: str) -> None:
        """End a pause, so that ``run`` goes on.

        Args:
            note: Who decided so, and why; it stays in the journal.
        """
        self._audit.resumed(note)
        self._journal.resume(note)
        self.outcome.paused = ""

    def _round(self, number: int, kind: Kind, line: Line) -> None:
        context = RoundContext(plan_digest=self._digest, round=number, kind=kind, attempt=1)
        setup = RoundSetup(
            terms=self._terms,
            context=context,
            signer=self._setup.signer,
            roster=self._setup.roster,
            accepts=self._history.accepts,
            welcome=self._welcome,
            outcome=partial(self._next, kind=kind),
            max_attempts=self._plan.aggregation.max_attempts,
            deadline_s=self._plan.aggregation.round_deadline_s,
        )
        ended = run_round(setup, line)
        self._end(ended)
        record = ended.record
        event(
            "round.ended",
            study=self._plan.study,
            round=number,
            kind=kind,
            attempt=record.attempts,
            survivors=list(record.survivors),
            status=record.void or "accepted",
            seconds=round(sum(record.seconds.values()), 3),
        )
        self._observer.round_ended(record, self.outcome.state)

    def _end(self, ended: RoundOutcome) -> None:
        """Write down how a round ended, and let it count."""
        record, outcome, total = ended.record, self.outcome, ended.total
        state, counts = outcome.state, None
        if total is not None and record.kind == "train":
            state = self._sums.following(outcome.state, total, record.survivors)
        elif total is not None:
            counts = total
        paused = self._pause(record, ended)
        self._audit.round_ended(record, paused=paused)
        row = RoundRow(
            number=record.number, record=encode(record), next=ended.next, accepts=dict(ended.accepts)
        )
        self._journal.end(
            Ended(
                row=row,
                state=None if state is outcome.state else state.pack(),
                counts=counts,
                evidence=ended.evidence,
                pause=paused,
            )
        )
        self._history.add(row)
        outcome.records.append(record)
        outcome.state, outcome.paused = state, paused
        if counts is not None:
            outcome.counts, outcome.counted_sites = decode_counts(counts), record.survivors

    def _pause(self, record: RoundRecord, ended: RoundOutcome) -> str:
        """Code of the reason why the study pauses after this round; empty where it goes on."""
        if ended.evidence:
            return FORK
        before = [r for r in self.outcome.records if r.number > self._journal.last_pause()]
        voids = [*before, record][-VOID_ROUNDS_THAT_PAUSE:]
        return record.void if len(voids) == VOID_ROUNDS_THAT_PAUSE and all(r.void for r in voids) else ""

    def _terms(self, context: RoundContext, signed_roster: bytes) -> RoundTerms:
        roster = _recorded_roster(signed_roster)
        return self._sums.terms(context, roster=roster, state=self.outcome.state.digest)

    def _welcome(self, site: str | None, everything: bool, roster: Roster) -> Welcome:
        """What START tells a site."""
        voice = None if site is None else self._journal.voices().get(site)
        hello = b"" if voice is None else voice.hello
        if site is None and not everything:
            return Welcome()
        links = self._history.missed(None if everything else site, roster)
        return Welcome(links=links, hello=hello, state=self.outcome.state.pack() if links else None)

    def _next(self, total: Ring, survivors: tuple[str, ...], *, kind: Kind) -> bytes:
        """Digest of what the round leads to.

        Raises:
            SecAggError: ``secagg.bad_sum``: no honest sum looks like this.
        """
        if exceeds(total, self._sums.bound(kind, survivors)):
            raise refuse("bad_sum", "the sum is outside the range that honest sites can reach")
        if kind == "evaluate":
            return self._sums.counted(self.outcome.state, total)
        return self._sums.following(self.outcome.state, total, survivors).digest


def _recorded_roster(signed: bytes) -> Roster:
    """The roster that an attempt is, or was, begun with; its signature was checked when it was taken up."""
    try:
        return recorded_roster(signed)
    except ProtocolError as error:
        raise corrupt(f"the roster of an attempt cannot be read ({error.code})") from error
