"""The classification task behind ``tasks.interface.Task``.

Privacy: that of ``training`` and ``scoring``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wardround_client.catalogue import Catalogue
from wardround_client.tasks.batches import FeatureCache, PatientBatches
from wardround_client.tasks.classification import scoring
from wardround_client.tasks.classification.networks import build
from wardround_client.tasks.classification.training import train
from wardround_client.tasks.interface import RuntimeFlags, Streams, TrainOutput
from wardround_common.plan import StudyPlan


class ClassificationTask:
    """One per process; between rounds it keeps the front end's output for the site's images, nothing else."""

    def __init__(self) -> None:
        self._cache = FeatureCache()

    def train_round(
        self,
        plan: StudyPlan,
        *,
        site: str,
        start: NDArray[np.float32],
        local_L: NDArray[np.float32],
        data: Catalogue,
        streams: Streams,
        flags: RuntimeFlags,
    ) -> TrainOutput:
        """Train for the plan's local steps, with its privacy; see ``interface.Task``.

        Raises:
            ConfigError: The plan does not name the site.
        """
        network = build(plan)
        network.load(start)
        batches = PatientBatches(
            plan.recipe, data=data, streams=streams, front_end=network.front_end, cache=self._cache
        )
        return train(
            plan,
            network=network,
            batches=batches,
            streams=streams,
            divisor=plan.expected_batch(site),
            flags=flags,
        )

    def evaluate(
        self, plan: StudyPlan, *, vector: NDArray[np.float32], validation: Catalogue, test: Catalogue
    ) -> NDArray[np.int64]:
        """Count held-out patients; see ``scoring.count``."""
        return scoring.count(plan, vector=vector, sides=(validation, test), cache=self._cache)

    def scores(
        self, plan: StudyPlan, vector: NDArray[np.float32], images_NCHW: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """The probability of the positive class for each image; see ``scoring.score``."""
        return scoring.score(plan, vector, images_NCHW, cache=self._cache)


TASK = ClassificationTask()
