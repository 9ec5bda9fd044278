"""What a round computes from a site's patients: paid for first, computed once, kept until it is masked.

Not here: the protocol (``secagg``), who trains and counts (``training``), how (``tasks``).

Rules:

* The spend is in the ledger, on disk, before a patient is drawn. The output is computed once; from the moment
  that its digest is in the ledger nothing is computed for that round any more, and only bytes with that
  digest are masked. If they are lost, the round is void for this site.
* All randomness of a round comes from one fresh secret, bound to everything that goes into the round (``D``).

Privacy: an output is noised by the task (TRAIN) or here (EVALUATE) and paid for; it still leaves only masked.

References: ARCHITECTURE.md, "Privacy accounting".
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wardround_client.ledger import Claim
from wardround_client.parts import SiteParts
from wardround_client.privacy.noise import noisy_counts
from wardround_client.scratch import Output
from wardround_client.tasks.interface import NOTHING
from wardround_client.training.work import Trainer, not_planned, streams_of
from wardround_common import __version__
from wardround_common.accounting import Event, evaluate_event, train_event
from wardround_common.aggregate import Aggregation
from wardround_common.canonical import digest
from wardround_common.errors import PrivacyError
from wardround_common.evaluation import CELL_LEVELS
from wardround_common.messages import Kind, RoundContext
from wardround_common.plan import StudyPlan
from wardround_common.secagg.ring import Ring, vector_digest
from wardround_common.state import StudyState
from wardround_common.streams import derive
from wardround_common.trust import plan_digest

Local = npt.NDArray[np.float32]


class Outputs:
    """The outputs of one study.

    Args:
        parts: The site.
        plan: The approved plan.
        snapshot: Digest of the images that it was approved for.
        trainer: Trains and counts on them.
    """

    def __init__(self, parts: SiteParts, *, plan: StudyPlan, snapshot: bytes, trainer: Trainer) -> None:
        self._parts = parts
        self._plan = plan
        self._digest = plan_digest(plan)
        self._snapshot = snapshot
        self._trainer = trainer
        self._sums = Aggregation(plan)

    def output(self, context: RoundContext, state: StudyState) -> Ring:
        """The round's finished output, ready to be masked: computed at the first call, then from store.

        Args:
            context: A round whose START was verified.
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
            key = derive(secret, inputs, kind)
            train = kind == "train"
            stored = self._train(state, local_L, key) if train else self._count(state, key)
            self._parts.scratch.keep_output(self._digest, number, kind, stored)
        self._parts.ledger.output(spend, vector_digest(stored.words_P))
        return stored.words_P

    def local_after(self, context: RoundContext) -> Local:
        """What the task keeps at this site should the round be accepted.

        Raises:
            PrivacyError: ``privacy.output_lost``.
        """
        kind, number = context.kind, context.round
        kept = self._parts.scratch.output(self._digest, number, kind, word=self._sums.word(kind))
        if kept is None:
            raise _lost("the output of this round is no longer stored")
        return kept.local_L

    def _event(self, kind: Kind) -> Event:
        if kind == "train":
            return train_event(self._plan, self._plan.recipe.local_steps)
        counted = evaluate_event(self._plan)
        if counted is None:
            raise not_planned(kind)
        return counted

    def _train(self, state: StudyState, local_L: Local, key: bytes) -> Output:
        output = self._trainer.train(start=state.vector, local_L=local_L, key=key)
        if output.noisy_steps != self._plan.recipe.local_steps:
            raise PrivacyError(
                f"expected {self._plan.recipe.local_steps} noisy steps, the task took {output.noisy_steps}",
                remedy="Stop the study at this site and report the task: its steps are not accounted for.",
                code="privacy.step_count",
            )
        words_P = self._sums.encode_update(
            output.update_P, site=self._parts.signer.name, state=state, dither=streams_of(key)("dither", 0)
        )
        return Output(words_P=words_P, local_L=output.local_L)

    def _count(self, state: StudyState, key: bytes) -> Output:
        evaluation = self._plan.evaluation
        if evaluation is None:
            raise not_planned("evaluate")
        counts = self._trainer.count(vector=state.average)
        noised = noisy_counts(
            streams_of(key)("counts", 0),
            counts,
            noise_multiplier=evaluation.noise_multiplier,
            levels_per_patient=CELL_LEVELS,
        )
        return Output(words_P=self._sums.encode_counts(noised), local_L=NOTHING)


def _lost(what: str) -> PrivacyError:
    return PrivacyError(
        what,
        remedy="Let the round be void: its spend stays, and it must not be computed again.",
        code="privacy.output_lost",
    )
