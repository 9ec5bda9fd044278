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
from wardround_common.messages import Kind
from wardround_common.models import layout_of
from wardround_common.plan import StudyPlan
from wardround_common.secagg.ring import Quantiser, Ring, decode_counts, encode_counts, largest_count
from wardround_common.state import StudyState, advance


@dataclass(frozen=True, slots=True)
class Aggregation:
    """The sums of one study."""

    plan: StudyPlan

    def size(self, kind: Kind) -> int:
        """P, the length of the vector that a round of ``kind`` sums."""
        return layout_of(self.plan).size if kind == "train" else self.plan.task.cells

    def encode_update(self, update_P: npt.NDArray[np.float32], *, site: str) -> Ring:
        """A site's update, weighted by its plan constant, as ring levels."""
        return self._quantiser.encode(update_P, weight=self.plan.weight(site))

    def encode_counts(self, counts: npt.NDArray[np.int64]) -> Ring:
        """A site's noised counts as ring levels."""
        return encode_counts(counts, sites=len(self.plan.sites))

    def bound(self, kind: Kind, survivors: Sequence[str]) -> int:
        """The largest size, in levels, that a coordinate of an honest sum over ``survivors`` can have."""
        if kind == "evaluate":
            return largest_count(len(self.plan.sites)) * len(survivors)
        return self._quantiser.sum_bound(survivors=len(survivors), weight=self._weight(survivors))

    def following(self, state: StudyState, total: Ring, survivors: Sequence[str]) -> StudyState:
        """The state after a TRAIN round.

        Raises:
            SecAggError: ``secagg.bad_sum`` where it is not finite.
        """
        mean = self._quantiser.decode(total, weight=self._weight(survivors))
        return advance(state, mean, self.plan)

    def counted(self, state: StudyState, total: Ring) -> bytes:
        """What the ACCEPT of an EVALUATE round signs as its outcome, 32 bytes."""
        return digest("counted", state.digest, decode_counts(total).astype("<i8").tobytes())

    @property
    def _quantiser(self) -> Quantiser:
        return Quantiser(clip_log2=self.plan.aggregation.clip_log2, sites=len(self.plan.sites))

    def _weight(self, survivors: Sequence[str]) -> float:
        return sum(self.plan.weight(name) for name in survivors)
