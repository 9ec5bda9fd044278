"""One approved study at a site: what a round needs of ledger, data, task and state.

Not here: the order of a round (``rounds``), the messages and their checks (``secagg``), approval (``site``).

Rules:

* The spend is in the ledger, on disk, before a patient is drawn. The output is computed once; from the moment
  that its digest is in the ledger nothing is computed for that round any more, and only bytes with that
  digest are masked. If they are lost, the round is void for this site.
* All randomness of a round comes from one fresh secret, bound to everything that goes into the round (``D``).
* A state is stored before the ACCEPT that leads to it is recorded.

Privacy: an output is noised by the task (TRAIN) or here (EVALUATE) and paid for; it still leaves only masked.

References: ARCHITECTURE.md, "Privacy accounting".
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wardround_client.catalogue import Catalogue
from wardround_client.ledger import Claim, Ledger
from wardround_client.policy import SitePolicy
from wardround_client.privacy.noise import noisy_counts
from wardround_client.scratch import Output, Scratch
from wardround_client.secagg import ProtocolRecord, SiteSession, read_start
from wardround_client.tasks.interface import NOTHING, CountingTask, RuntimeFlags, Streams, Task
from wardround_common import __version__
from wardround_common.accounting import Event, evaluate_event, train_event
from wardround_common.aggregate import Aggregation
from wardround_common.canonical import digest
from wardround_common.errors import PrivacyError, ProtocolError, StorageError
from wardround_common.evaluation import CELL_LEVELS
from wardround_common.messages import Kind, Packet, RoundContext, Signer
from wardround_common.plan import StudyPlan
from wardround_common.secagg.ring import Ring, vector_digest
from wardround_common.secagg.terms import RoundTerms
from wardround_common.secagg.thresholds import SecAggPolicy
from wardround_common.state import StudyState, initial_state, unpack
from wardround_common.streams import Stream, derive
from wardround_common.trust import open_roster, plan_digest

Local = npt.NDArray[np.float32]
RoundSecret = Callable[[bytes, int, str], bytes]
"""Makes the secret of (plan digest, round, kind), 32 bytes; from the operating system where deployed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteParts:
    """What belongs to the site rather than to one study.

    Attributes:
        signer: The site's name and identity key.
        policy: Its own limits.
        ledger: Its ledger.
        scratch: Its scratch database.
        record_path: SQLite file of what it said.
        flags: What its machine is good at.
        today: Its clock.
        round_secret: Source of round secrets.
        entropy: Source of one-attempt keys.
    """

    signer: Signer
    policy: SitePolicy
    ledger: Ledger
    scratch: Scratch
    record_path: Path
    flags: RuntimeFlags
    today: Callable[[], datetime.date]
    round_secret: RoundSecret
    entropy: Callable[[int], bytes]


class SiteStudy:
    """A study that the site approved, and the data that it approved it for."""

    def __init__(
        self, parts: SiteParts, *, plan: StudyPlan, catalogue: Catalogue, task: Callable[[str], Task]
    ) -> None:
        self._parts = parts
        self._plan = plan
        self._digest = plan_digest(plan)
        self._snapshot = catalogue.snapshot
        self._sides = {side: catalogue.of_side(side) for side in ("train", "validation", "test")}
        self._task = task
        self._sums = Aggregation(plan)
        self._record = ProtocolRecord(parts.record_path, study=self._digest)
        self._newest_roster = 0

    def close(self) -> None:
        """Close what belongs to this study alone."""
        self._record.close()

    def begin(self, start: Packet) -> tuple[SiteSession, RoundContext, StudyState]:
        """1: verify START; returns the session, which round it is, and the state that it starts from.

        Raises:
            ProtocolError, ConsentError: START, its roster or its state is not acceptable.
            StorageError: The state is gone.
        """
        claim = read_start(start, sites=len(self._plan.sites))
        roster = open_roster(
            claim.roster,
            authority_key=bytes.fromhex(self._plan.authority_key),
            today=self._parts.today(),
            newest=self._newest_roster,
        )
        state = self._state()
        terms = RoundTerms(
            context=claim.context,
            roster=roster,
            sites=frozenset(site.name for site in self._plan.sites),
            minimum_cohort=self._plan.aggregation.minimum_cohort,
            state=state.digest,
            size=self._sums.size(claim.context.kind),
            word=self._sums.word(claim.context.kind),
            cipher=self._plan.aggregation.cipher,
        )
        session = SiteSession(
            terms,
            signer=self._parts.signer,
            policy=SecAggPolicy(
                minimum_cohort=self._parts.policy.minimum_cohort,
                max_colluders=self._parts.policy.max_colluders,
            ),
            record=self._record,
            entropy=self._parts.entropy,
        )
        session.begin(start)
        self._newest_roster = roster.version
        return session, claim.context, state

    def output(self, context: RoundContext, state: StudyState) -> Ring:
        """The round's finished output, ready to be masked: computed at the first call, then from store.

        Args:
            context: A round that ``begin`` verified.
            state: The state that it starts from.

        Raises:
            PrivacyError: The ledger refuses, or the output or the secret of an earlier attempt is lost.
        """
        kind, number = context.kind, context.round
        secret = self._parts.scratch.secret(
            self._digest, number, kind, make=lambda: self._parts.round_secret(self._digest, number, kind)
        )
        local_L = self._parts.scratch.local(self._digest, state.digest)
        inputs = digest(
            "inputs", self._digest, __version__.encode(), state.digest, self._snapshot, local_L.tobytes()
        )
        spend = self._parts.ledger.spend(
            Claim(
                plan_digest=self._digest,
                study=self._plan.study,
                round=number,
                kind=kind,
                snapshot=self._snapshot,
                event=self._event(kind),
                D=inputs,
                secret_id=digest("secret id", secret),
            )
        )
        stored = self._parts.scratch.output(self._digest, number, kind, word=self._sums.word(kind))
        recorded = self._parts.ledger.output_of(self._plan.study, number, kind)
        if stored is None and recorded is not None:
            raise _lost("the output of this round is recorded but no longer stored")
        if stored is None:
            streams = _streams(derive(secret, inputs, kind))
            train = kind == "train"
            stored = self._train(state, local_L, streams) if train else self._count(state, streams)
            self._parts.scratch.keep_output(self._digest, number, kind, stored)
        self._parts.ledger.output(spend, vector_digest(stored.words_P))
        return stored.words_P

    def ledger_head(self) -> bytes:
        """Hash of the ledger's last row."""
        return self._parts.ledger.head()

    def sum_bound(self, kind: Kind, survivors: tuple[str, ...]) -> int:
        """The largest size, in levels, that a coordinate of an honest sum over ``survivors`` can have."""
        return self._sums.bound(kind, survivors)

    def following(
        self, context: RoundContext, state: StudyState, total: Ring, *, survivors: tuple[str, ...]
    ) -> bytes:
        """Compute and store what a round leads to; returns the digest to accept.

        Args:
            context: TRAIN leads to the next state; EVALUATE leaves the state as it is.
            state: The state that the round started from.
            total: The verified sum.
            survivors: Whose vectors are in it.
        """
        if context.kind == "evaluate":
            return self._sums.counted(state, total)
        following = self._sums.following(state, total, survivors)
        word = self._sums.word(context.kind)
        trained = self._parts.scratch.output(self._digest, context.round, context.kind, word=word)
        if trained is None:
            raise _lost("the output of this round is no longer stored")
        self._parts.scratch.keep_state(self._digest, following, local_L=trained.local_L, beside=state.digest)
        return following.digest

    def _state(self) -> StudyState:
        """The state that this site accepted last; before the first round the computed one."""
        accepted = self._record.state()
        if accepted is None:
            return initial_state(self._plan)
        words = self._parts.scratch.state(self._digest, accepted)
        if words is None:
            raise StorageError(
                "the state that this site accepted last is not in its scratch database",
                remedy="Let the site sit out the rest of this study, and check its disk.",
                code="storage.state_lost",
            )
        return unpack(self._plan, words)

    def _event(self, kind: Kind) -> Event:
        if kind == "train":
            return train_event(self._plan, self._plan.recipe.local_steps)
        counted = evaluate_event(self._plan)
        if counted is None:
            raise _not_planned(kind)
        return counted

    def _train(self, state: StudyState, local_L: Local, streams: Streams) -> Output:
        output = self._task(self._plan.task.name).train_round(
            self._plan,
            site=self._parts.signer.name,
            start=state.vector,
            local_L=local_L,
            data=self._sides["train"],
            streams=streams,
            flags=self._parts.flags,
        )
        if output.noisy_steps != self._plan.recipe.local_steps:
            raise PrivacyError(
                f"expected {self._plan.recipe.local_steps} noisy steps, the task took {output.noisy_steps}",
                remedy="Stop the study at this site and report the task: its steps are not accounted for.",
                code="privacy.step_count",
            )
        words_P = self._sums.encode_update(
            output.update_P, site=self._parts.signer.name, state=state, dither=streams("dither", 0)
        )
        return Output(words_P=words_P, local_L=output.local_L)

    def _count(self, state: StudyState, streams: Streams) -> Output:
        task, evaluation = self._task(self._plan.task.name), self._plan.evaluation
        if evaluation is None or not isinstance(task, CountingTask):
            raise _not_planned("evaluate")
        counts: npt.NDArray[np.int64] = task.evaluate(
            self._plan,
            vector=state.average,
            validation=self._sides["validation"],
            test=self._sides["test"],
        )
        noised = noisy_counts(
            streams("counts", 0),
            counts,
            noise_multiplier=evaluation.noise_multiplier,
            levels_per_patient=CELL_LEVELS,
        )
        return Output(words_P=self._sums.encode_counts(noised), local_L=NOTHING)


def _streams(key: bytes) -> Streams:
    return lambda purpose, step: Stream(derive(key, purpose, step))


def _not_planned(kind: Kind) -> ProtocolError:
    return ProtocolError(
        f"the plan has no round of kind {kind!r}",
        remedy="Check that coordinator and sites run the same version of Wardround.",
        code="round.not_planned",
    )


def _lost(what: str) -> PrivacyError:
    return PrivacyError(
        what,
        remedy="Let the round be void: its spend stays, and it must not be computed again.",
        code="privacy.output_lost",
    )
