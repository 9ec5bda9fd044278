"""The state of a study after a round, which every party computes for itself.

State = global vector + its moving average + the server-side optimiser's momentum + the clips of the next
round. The next state is a function of the last one, the aggregate, the survivors and the plan: the
coordinator never sends a model to a site that took part, and so cannot send different models to different
sites.

A state can travel as one array (``pack``) and is known by its digest.

Rules:

* Only element-wise float32 arithmetic and nothing that depends on a library's order of summation, so the
  bytes are equal on every machine.
* An aggregate that would make the state other than finite is refused.

Not here: how the clips follow from an aggregate (``clips``).

Privacy: a function of aggregates, nothing more.

References: McMahan et al. 2017 (FedAvg); Hsu et al. 2019 (server momentum).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from wardround_common.canonical import digest
from wardround_common.clips import LARGEST, SMALLEST, following_clips
from wardround_common.errors import ProtocolError, SecAggError
from wardround_common.models import initial_vector_of, layout_of
from wardround_common.plan import StudyPlan

Vector = npt.NDArray[np.float32]
Words = npt.NDArray[np.uint32]


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyState:
    """What a round starts from; arrays of shape [P], float32, which nobody writes to.

    Attributes:
        updates: Number of aggregates that went into it.
        vector: The global parameters, which the next TRAIN round starts from.
        average: Their moving average, which is evaluated and released.
        momentum: The server-side optimiser's velocity.
        clips: For each tensor of the layout k: the next TRAIN round clips its updates to [-2^k, 2^k].
    """

    updates: int
    vector: Vector
    average: Vector
    momentum: Vector
    clips: tuple[int, ...]

    @cached_property
    def digest(self) -> bytes:
        """32 bytes that stand for this state in every message; computed once."""
        return digest("state", self.pack().astype("<u4", copy=False).view(np.uint8).data)

    def pack(self) -> Words:
        """The state as one array: updates, number of tensors T, T clips, then the three vectors.

        Integers are two's complement, vectors the bits of their float32.

        Returns:
            uint32, shape [2 + T + 3 P].
        """
        head = np.array([self.updates, len(self.clips), *self.clips], dtype=np.int32)
        vectors = (self.vector, self.average, self.momentum)
        return np.concatenate(
            [head.view(np.uint32), *(v.astype(np.float32).view(np.uint32) for v in vectors)]
        )


def packed_size(plan: StudyPlan) -> int:
    """Number of words of a packed state."""
    layout = layout_of(plan)
    return 2 + len(layout.tensors) + 3 * layout.size


def unpack(plan: StudyPlan, words: npt.NDArray[np.uint16 | np.uint32]) -> StudyState:
    """The state that ``words`` are the ``pack`` of. Whether it is *the* state, its digest tells.

    Args:
        plan: The study's plan.
        words: uint32, one-dimensional, from anywhere.

    Raises:
        ProtocolError: ``state.malformed``: of another length, not finite, or with an impossible count or
            clip.
    """
    if words.dtype != np.uint32 or words.shape != (packed_size(plan),):
        raise _malformed(f"expected {packed_size(plan)} words, got {words.dtype} of shape {words.shape}")
    tensors = len(layout_of(plan).tensors)
    updates, count, *clips = words[: 2 + tensors].view(np.int32).tolist()
    if count != tensors or not 0 <= updates <= plan.rounds:
        raise _malformed(f"expected {tensors} tensors and at most {plan.rounds} updates")
    if not all(SMALLEST <= clip <= LARGEST for clip in clips):
        raise _malformed(f"expected clips from 2^{SMALLEST} to 2^{LARGEST}")
    vector, average, momentum = np.split(words[2 + tensors :].view(np.float32), 3)
    if not all(np.isfinite(part).all() for part in (vector, average, momentum)):
        raise _malformed("expected finite numbers")
    return StudyState(updates=updates, vector=vector, average=average, momentum=momentum, clips=tuple(clips))


def _malformed(problem: str) -> ProtocolError:
    return ProtocolError(
        f"not a state of this study: {problem}",
        remedy="Check that both ends run the same version of Wardround; else find out who altered the state.",
        code="state.malformed",
    )


def initial_state(plan: StudyPlan) -> StudyState:
    """The state before the first round: a function of the plan alone."""
    vector = initial_vector_of(plan)
    return StudyState(
        updates=0,
        vector=vector,
        average=vector,
        momentum=np.zeros_like(vector),
        clips=initial_clips(plan),
    )


def initial_clips(plan: StudyPlan) -> tuple[int, ...]:
    """The clips of the first round: the plan's, for every tensor."""
    return (plan.aggregation.clip_log2,) * len(layout_of(plan).tensors)


def advance(state: StudyState, mean_update: npt.NDArray[np.float64], plan: StudyPlan) -> StudyState:
    """The state after a TRAIN round.

    Args:
        state: The state that the round started from.
        mean_update: Weighted mean of the survivors' updates, [P].
        plan: The study's plan.

    Raises:
        SecAggError: ``secagg.bad_sum`` where the result is not finite.
    """
    algorithm = plan.algorithm
    momentum = np.float32(algorithm.server_momentum) * state.momentum + mean_update.astype(np.float32)
    vector = state.vector + momentum
    if not np.isfinite(vector).all():
        raise SecAggError(
            "the aggregate leads to a state that is not finite",
            remedy="Look for a site with broken software; lower the learning rate.",
            code="secagg.bad_sum",
        )
    t = state.updates
    decay = np.float32(min(plan.task.average_decay(plan), (1 + t) / (10 + t)))
    average = (decay * state.average + (np.float32(1) - decay) * vector).astype(np.float32)
    clips = state.clips
    if plan.aggregation.clips == "last":
        sizes = [tensor.size for tensor in layout_of(plan).tensors]
        clips = following_clips(clips, mean_update, sizes=sizes, sites=len(plan.sites), first=t == 0)
    return StudyState(updates=t + 1, vector=vector, average=average, momentum=momentum, clips=clips)
