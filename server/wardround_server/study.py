"""A study at the coordinator: its rounds, one after the other, and the evaluation after the last.

Not here: how a round goes (``rounds``), pictures and words (``report``).

Rules:

* A void round is not repeated: its number is spent, the next round starts from the last accepted state.
* Two void rounds in a row pause the study.
* The coordinator computes each state from the sum, as every site does, and sends none.

Privacy: sums over cohorts, and the states that follow from them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from wardround_common.aggregate import Aggregation
from wardround_common.errors import SecAggError
from wardround_common.logs import event
from wardround_common.messages import Kind, RoundContext, Signer
from wardround_common.plan import StudyPlan
from wardround_common.secagg.ring import Ring, decode_counts, exceeds
from wardround_common.secagg.terms import RoundTerms
from wardround_common.state import StudyState, initial_state
from wardround_common.trust import Roster, plan_digest
from wardround_server.observer import Observer, RoundRecord
from wardround_server.rounds import RoundSetup, run_round
from wardround_server.transport import Transport

VOID_ROUNDS_THAT_PAUSE = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class StudySetup:
    """What a study is run with.

    Attributes:
        plan: The signed plan.
        signer: The coordinator's identity.
        roster: The current roster, opened.
        signed_roster: The roster as the authority signed it.
    """

    plan: StudyPlan
    signer: Signer
    roster: Roster
    signed_roster: bytes


@dataclass(kw_only=True, slots=True)
class StudyOutcome:
    """How a study ended.

    Attributes:
        state: The last accepted state.
        records: All rounds.
        counts: The sum of the noised counts in ring levels, int64 [cells]; None without an evaluation.
        counted_sites: Sites whose counts are in the sum.
        paused: Empty, or the code of the error that paused the study.
    """

    state: StudyState
    records: list[RoundRecord] = field(default_factory=list)
    counts: npt.NDArray[np.int64] | None = None
    counted_sites: tuple[str, ...] = ()
    paused: str = ""


class CoordinatorStudy:
    """Runs one study; ``outcome`` grows while it runs."""

    def __init__(self, setup: StudySetup, observer: Observer) -> None:
        self._setup = setup
        self._plan = setup.plan
        self._digest = plan_digest(setup.plan)
        self._sums = Aggregation(setup.plan)
        self._observer = observer
        self._accepts: tuple[bytes, ...] = ()
        self.outcome = StudyOutcome(state=initial_state(setup.plan))

    def run(self, transport: Transport) -> None:
        """Run all rounds and the evaluation, or until the study pauses."""
        voids = 0
        for number in range(1, self._plan.rounds + 1):
            voids = 0 if self._train(number, transport) else voids + 1
            if voids == VOID_ROUNDS_THAT_PAUSE:
                self.outcome.paused = self.outcome.records[-1].void
                event("study.paused", level=logging.ERROR, study=self._plan.study, code=self.outcome.paused)
                return
        if self._plan.evaluation is not None:
            self._evaluate(self._plan.rounds + 1, transport)

    def _train(self, number: int, transport: Transport) -> bool:
        """Run a TRAIN round; whether it was accepted."""
        state = self.outcome.state
        total, survivors = self._round(number, "train", transport)
        if total is not None:
            self.outcome.state = self._sums.following(state, total, survivors)
        self._observer.round_ended(self.outcome.records[-1], self.outcome.state)
        return total is not None

    def _evaluate(self, number: int, transport: Transport) -> None:
        total, survivors = self._round(number, "evaluate", transport)
        if total is not None:
            self.outcome.counts = decode_counts(total)
            self.outcome.counted_sites = survivors
        self._observer.round_ended(self.outcome.records[-1], self.outcome.state)

    def _round(self, number: int, kind: Kind, transport: Transport) -> tuple[Ring | None, tuple[str, ...]]:
        aggregation = self._plan.aggregation
        setup = RoundSetup(
            terms=partial(self._terms, kind=kind),
            context=RoundContext(plan_digest=self._digest, round=number, kind=kind, attempt=1),
            signer=self._setup.signer,
            roster=self._setup.signed_roster,
            accepts=self._accepts,
            outcome=partial(self._outcome, kind=kind),
            max_attempts=aggregation.max_attempts,
            timeout_s=aggregation.exchange_timeout_s,
        )
        outcome = run_round(setup, transport, self._observer)
        self.outcome.records.append(outcome.record)
        event(
            "round.ended",
            study=self._plan.study,
            round=number,
            kind=kind,
            attempt=outcome.record.attempts,
            survivors=list(outcome.record.survivors),
            status=outcome.record.void or "accepted",
            seconds=round(sum(outcome.record.seconds.values()), 3),
        )
        if outcome.total is not None:
            self._accepts = outcome.accepts
        return outcome.total, outcome.record.survivors

    def _terms(self, context: RoundContext, *, kind: Kind) -> RoundTerms:
        return RoundTerms(
            context=context,
            roster=self._setup.roster,
            sites=frozenset(site.name for site in self._plan.sites),
            minimum_cohort=self._plan.aggregation.minimum_cohort,
            state=self.outcome.state.digest,
            size=self._sums.size(kind),
            word=self._sums.word(kind),
            cipher=self._plan.aggregation.cipher,
        )

    def _outcome(self, total: Ring, survivors: tuple[str, ...], *, kind: Kind) -> bytes:
        """Digest of what the round leads to.

        Raises:
            SecAggError: ``secagg.bad_sum``: no honest sum looks like this.
        """
        if exceeds(total, self._sums.bound(kind, survivors)):
            raise SecAggError(
                "the sum is outside the range that honest sites can reach",
                remedy="Look for a site with broken software: the round is void.",
                code="secagg.bad_sum",
            )
        if kind == "evaluate":
            return self._sums.counted(self.outcome.state, total)
        return self._sums.following(self.outcome.state, total, survivors).digest
