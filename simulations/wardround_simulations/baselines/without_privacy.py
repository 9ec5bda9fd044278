"""What the same model reaches without noise: federated, with all data in one place, or at one site.

All three are federated averaging with Adam over groups of images: the sites, one group of everything, or one
site. A group keeps its optimiser between exchanges, so that one group is ordinary training.

Privacy: none, on purpose.

References:
    McMahan et al., AISTATS 2017, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wardround_client.catalogue import Catalogue
from wardround_client.tasks.classification.networks import build
from wardround_client.tasks.classification.training import class_weights, weighted_loss_sum
from wardround_common.plan import StudyPlan
from wardround_common.state import advance, initial_state
from wardround_common.streams import Stream, derive
from wardround_simulations.baselines.recipes import NonPrivateRecipe

Vector = NDArray[np.float32]
Images = tuple[NDArray[np.float32], NDArray[np.int64]]


def federated_without_privacy(
    plan: StudyPlan, *, train: Mapping[str, Catalogue], recipe: NonPrivateRecipe, secret: bytes
) -> Vector:
    """Train over all sites with the plan's site weights; ``train`` holds the train side of each.

    Returns:
        The moving average over exchanges, ``float32[P]``.
    """
    groups = [_images([view]) for view in train.values()]
    weights = [plan.weight(site) for site in train]
    return _average(plan, groups, weights=weights, recipe=recipe, secret=derive(secret, "federated"))


def pooled_without_privacy(
    plan: StudyPlan, *, train: Mapping[str, Catalogue], recipe: NonPrivateRecipe, secret: bytes
) -> Vector:
    """Train on the images of all sites as if they were one hospital's."""
    groups = [_images(list(train.values()))]
    return _average(plan, groups, weights=[1.0], recipe=recipe, secret=derive(secret, "pooled"))


def alone_without_privacy(
    plan: StudyPlan, *, site: str, train: Catalogue, recipe: NonPrivateRecipe, secret: bytes
) -> Vector:
    """Train on the images of one site."""
    key = derive(secret, "alone", site)
    return _average(plan, [_images([train])], weights=[1.0], recipe=recipe, secret=key)


def _images(views: Sequence[Catalogue]) -> Images:
    return np.concatenate([v.images_NCHW for v in views]), np.concatenate([v.label_N for v in views])


def _average(
    plan: StudyPlan,
    groups: Sequence[Images],
    *,
    weights: Sequence[float],
    recipe: NonPrivateRecipe,
    secret: bytes,
) -> Vector:
    state = initial_state(plan)
    learners = [
        _Learner(plan, images, recipe=recipe, stream=Stream(derive(secret, number)))
        for number, images in enumerate(groups)
    ]
    for begin in range(0, recipe.steps, recipe.steps_per_exchange):
        steps = range(begin, min(begin + recipe.steps_per_exchange, recipe.steps))
        updates = [
            weight * learner.train(state.vector, steps)
            for weight, learner in zip(weights, learners, strict=True)
        ]
        state = advance(state, np.sum(updates, axis=0), plan)
    return state.average


class _Learner:
    """One group of images, its network and its optimiser."""

    def __init__(self, plan: StudyPlan, images: Images, *, recipe: NonPrivateRecipe, stream: Stream) -> None:
        self._network: Final = build(plan)
        self._recipe: Final = recipe
        self._stream: Final = stream
        self._optimizer: Final = torch.optim.Adam(self._network.head.parameters(), lr=recipe.learning_rate)
        self._weights_K: Final = class_weights(plan)
        x_N = torch.tensor(images[0])
        self._x_N: Final = x_N if self._network.front_end is None else self._network.front_end(x_N)
        self._label_N: Final = torch.tensor(images[1])

    def train(self, start: Vector, steps: range) -> NDArray[np.float64]:
        """Parameters after these steps from ``start``, minus ``start``."""
        self._network.load(start)
        for step in steps:
            late = step >= 0.75 * self._recipe.steps
            for group in self._optimizer.param_groups:
                group["lr"] = self._recipe.learning_rate * (self._recipe.last_quarter if late else 1.0)
            rows_B = torch.from_numpy(self._stream.below(self._recipe.batch, len(self._label_N)))
            self._optimizer.zero_grad()
            self._loss(rows_B).backward()
            self._optimizer.step()
        return self._network.vector().astype(np.float64) - start

    def _loss(self, rows_B: Tensor) -> Tensor:
        logits_BL = self._network.head(self._x_N[rows_B])
        return weighted_loss_sum(logits_BL, self._label_N[rows_B], weights_K=self._weights_K) / len(rows_B)
