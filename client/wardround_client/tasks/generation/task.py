"""The generation task behind ``tasks.interface.Task``.

Privacy: that of ``training``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wardround_client.catalogue import Catalogue
from wardround_client.tasks.batches import FeatureCache, PatientBatches
from wardround_client.tasks.generation.networks import build, front_end
from wardround_client.tasks.generation.training import train
from wardround_client.tasks.interface import RuntimeFlags, Streams, TrainOutput
from wardround_common.models import initial_values_of
from wardround_common.plan import StudyPlan
from wardround_common.tasks.generation import GenerationPlan


class GenerationTask:
    """One per process; between rounds it keeps what the front end makes of the site's images."""

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
        networks, fields = build(plan), GenerationPlan.of(plan)
        generator, head = networks.generator_parameters, networks.head_parameters
        generator.load(start[: generator.layout.size])
        if fields.shared == "both":
            head.load(start[generator.layout.size :])
        else:
            head.load(local_L if local_L.size else initial_values_of(plan, head.layout))
        batches = PatientBatches(
            plan.recipe, data=data, streams=streams, front_end=front_end, cache=self._cache
        )
        return train(
            plan,
            networks=networks,
            batches=batches,
            streams=streams,
            divisor=plan.expected_batch(site),
            flags=flags,
        )


TASK = GenerationTask()
