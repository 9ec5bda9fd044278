"""What a round sums and what the sum means, by kind of round: one rule for the coordinator and every site.

TRAIN sums weighted updates and leads to the next state. EVALUATE sums noised counts and leaves the state as
it is; its ACCEPT signs the state together with the counts.

Not here: masks and messages (``secagg``, ``messages``), how an update or a count is made (the site).

Privacy: functions of the plan and of the sum over a cohort.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wardround_common.canonical import digest
from wardround_common.messages import Kind, RoundContext
from wardround_common.models import layout_of
from wardround_common.plan import StudyPlan
from wardround_common.secagg.quantiser import Quantiser
from wardround_common.secagg.ring import (
    COUNT_WORD,
    WORDS,
    Ring,
    Word,
    decode_counts,
    encode_counts,
    largest_count,
)
from wardround_common.secagg.terms import RoundTerms
from wardround_common.state import StudyState, advance, initial_clips
from wardround_common.streams import Stream
from wardround_common.trust import Roster

VERIFY_LIMIT_BYTES = 100_000_000
"""Up to so many bytes of masked vectors a round, every site gets them all, unless the plan says otherwise."""


@dataclass(frozen=True, slots=True)
class Aggregation:
    """The sums of one study."""

    plan: StudyPlan

    def size(self, kind: Kind) -> int:
        """P, the length of the vector that a round of ``kind`` sums."""
        return layout_of(self.plan).size if kind == "train" else self.plan.task.cells

    def terms(self, context: RoundContext, *, roster: Roster, state: bytes) -> RoundTerms:
        """The terms of an attempt: what the plan says about it, the same at both ends.

        Args:
            context: The attempt.
            roster: Current members.
            state: Digest of the state that the round starts from.
        """
        aggregation = self.plan.aggregation
        return RoundTerms(
            context=context,
            roster=roster,
            sites=frozenset(site.name for site in self.plan.sites),
            minimum_cohort=aggregation.minimum_cohort,
            state=state,
            size=self.size(context.kind),
            word=self.word(context.kind),
            cipher=aggregation.cipher,
            degree=aggregation.mask_degree,
            verify_full=self._verifies_fully(context.kind),
        )

    def _verifies_fully(self, kind: Kind) -> bool:
        """Whether every site is sent all masked vectors of a round and recomputes their sum."""
        if (verify := self.plan.aggregation.verify) != "auto":
            return verify == "full"
        return len(self.plan.sites) * 4 * self.size(kind) <= VERIFY_LIMIT_BYTES

    def word(self, kind: Kind) -> Word:
        """The type of the words that a round of ``kind`` sums; counts have 32 bits in any plan."""
        return WORDS[self.plan.aggregation.ring_bits] if kind == "train" else COUNT_WORD

    def encode_update(
        self, update_P: npt.NDArray[np.float32], *, site: str, state: StudyState, dither: Stream | None
    ) -> Ring:
        """A site's update, weighted by its plan constant, as ring levels.

        Args:
            update_P: The update, float32, [P].
            site: Whose it is.
            state: The state that the round starts from; it has the clips.
            dither: What a ring of 16 bits is rounded with; a ring of 32 bits needs none.

        Raises:
            SecAggError: ``secagg.not_finite``.
        """
        return self._quantiser(state.clips).encode(update_P, weight=self.plan.weight(site), dither=dither)

    def encode_counts(self, counts: npt.NDArray[np.int64]) -> Ring:
        """A site's noised counts as ring levels."""
        return encode_counts(counts, sites=len(self.plan.sites))

    def bound(self, kind: Kind, survivors: Sequence[str]) -> int:
        """The largest size, in levels, that a coordinate of an honest sum over ``survivors`` can have."""
        if kind == "evaluate":
            return largest_count(len(self.plan.sites)) * len(survivors)
        quantiser = self._quantiser(initial_clips(self.plan))  # levels do not depend on the clips
        return quantiser.sum_bound(survivors=len(survivors), weight=self._weight(survivors))

    def following(self, state: StudyState, total: Ring, survivors: Sequence[str]) -> StudyState:
        """The state after a TRAIN round.

        Raises:
            SecAggError: ``secagg.bad_sum`` where it is not finite.
        """
        mean = self._quantiser(state.clips).decode(total, weight=self._weight(survivors))
        return advance(state, mean, self.plan)

    def mean_error(self, state: StudyState, survivors: Sequence[str]) -> float:
        """Bound on the error of a coordinate of the mean, against the mean of the clipped updates."""
        quantiser = self._quantiser(state.clips)
        return quantiser.mean_error(survivors=len(survivors), weight=self._weight(survivors))

    def counted(self, state: StudyState, total: Ring) -> bytes:
        """What the ACCEPT of an EVALUATE round signs as its outcome, 32 bytes."""
        return digest("counted", state.digest, decode_counts(total).astype("<i8").tobytes())

    def _quantiser(self, clips: tuple[int, ...]) -> Quantiser:
        rules = self.plan.aggregation
        return Quantiser(
            sites=len(self.plan.sites),
            sizes=tuple(tensor.size for tensor in layout_of(self.plan).tensors),
            clips=clips,
            method="dithered" if rules.ring_bits == 16 else rules.quantiser,
            largest_weight=self.plan.weight(max(self.plan.sites, key=lambda site: site.patients).name),
        )

    def _weight(self, survivors: Sequence[str]) -> float:
        return sum(self.plan.weight(name) for name in survivors)
