"""The same federation without privacy: the plan's recipe, its clip and rounds, and next to no noise.

Privacy: none, on purpose. Simulation only.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from wardround_client.catalogue import Catalogue
from wardround_client.tasks.generation.task import TASK
from wardround_client.tasks.interface import NOTHING, RuntimeFlags
from wardround_common.plan import StudyPlan
from wardround_common.state import advance, initial_state
from wardround_common.streams import Stream, derive

NEXT_TO_NO_NOISE: Final = 1e-6


def train_without_privacy(
    plan: StudyPlan, *, train: Mapping[str, Catalogue], secret: bytes
) -> NDArray[np.float32]:
    """Train over all sites without noise.

    Args:
        plan: The federation's plan.
        train: The train side of each site.
        secret: 32 bytes; all randomness follows from it.

    Returns:
        The moving average, ``float32[P]``.
    """
    plan = replace(plan, privacy=replace(plan.privacy, noise_multiplier=NEXT_TO_NO_NOISE))
    state, local = initial_state(plan), dict.fromkeys(train, NOTHING)
    for number in range(plan.rounds):
        total = np.zeros(state.vector.size)
        for site, data in train.items():
            output = TASK.train_round(
                plan,
                site=site,
                start=state.vector,
                local_L=local[site],
                data=data,
                streams=partial(_stream, derive(secret, site, number)),
                flags=RuntimeFlags(),
            )
            local[site] = output.local_L
            total += plan.weight(site) * output.update_P
        state = advance(state, total, plan)
    return state.average


def _stream(key: bytes, purpose: str, step: int) -> Stream:
    return Stream(derive(key, purpose, step))
