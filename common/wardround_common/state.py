"""The state of a study after a round, which every party computes for itself.

State = global vector + its moving average + the server-side optimiser's momentum. The next state is a
function of the last one, the aggregate, the survivors and the plan: the coordinator never sends a model to
a site that took part, and so cannot send different models to different sites.

Rules:

* Only element-wise float32 arithmetic and nothing that depends on a library's order of summation, so the
  bytes are equal on every machine.
* An aggregate that would make the state other than finite is refused.

Privacy: a function of aggregates, nothing more.

References: McMahan et al. 2017 (FedAvg); Hsu et al. 2019 (server momentum).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wardround_common.canonical import digest
from wardround_common.errors import SecAggError
from wardround_common.models import initial_vector_of
from wardround_common.plan import StudyPlan

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StudyState:
    """What a round starts from; arrays of shape [P], float32.

    Attributes:
        updates: Number of aggregates that went into it.
        vector: The global parameters, which the next TRAIN round starts from.
        average: Their moving average, which is evaluated and released.
        momentum: The server-side optimiser's velocity.
    """

    updates: int
    vector: Vector
    average: Vector
    momentum: Vector

    @property
    def digest(self) -> bytes:
        """32 bytes that stand for this state in every message."""
        arrays = (self.vector, self.average, self.momentum)
        return digest("state", self.updates.to_bytes(4, "big"), *(a.astype("<f4").tobytes() for a in arrays))


def initial_state(plan: StudyPlan) -> StudyState:
    """The state before the first round: a function of the plan's model fields alone."""
    vector = initial_vector_of(plan)
    return StudyState(updates=0, vector=vector, average=vector, momentum=np.zeros_like(vector))


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
    return StudyState(updates=t + 1, vector=vector, average=average, momentum=momentum)
