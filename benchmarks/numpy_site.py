"""A task without torch: a step that only numpy computes. For timing everything else."""

from __future__ import annotations

import sys

import numpy as np

import benchmarks.models
from wardround_client.tasks.interface import TrainOutput
from wardround_common.streams import rounded_normal
from wardround_simulations.sites import make_site
from wardround_simulations.workers import Answer

assert benchmarks.models.SIZES


class NumpyTask:
    """Noise for an update; no model."""

    def train_round(self, plan, *, site, start, local_L, data, streams, flags) -> TrainOutput:  # noqa: ANN001
        """As many noisy steps as the plan wants, on nothing."""
        update = np.zeros(start.size)
        for step in range(plan.recipe.local_steps):
            update += 1e-3 * rounded_normal(streams("noise", step), start.size, sd=10.0)
        return TrainOutput(update_P=update.astype(np.float32), noisy_steps=plan.recipe.local_steps)

    def evaluate(self, plan, *, vector, validation, test) -> np.ndarray:  # noqa: ANN001
        """No counts."""
        return np.zeros(plan.task.cells, np.int64)


def make_numpy_site(spec: bytes) -> Answer:
    """A site of the simulation whose task needs no torch."""
    answer = make_site(spec, task=lambda name: NumpyTask())
    assert "torch" not in sys.modules, "the benchmark must not import torch"
    return answer
