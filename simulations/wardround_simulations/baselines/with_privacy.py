"""What a hospital reaches alone under the same promise: a federation of one, through the production engine.

One step per exchange, server momentum and the moving average are the optimiser; the noise is calibrated to
the plan's epsilon for this recipe's steps.

Privacy: the model costs the site's patients what the federation would.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from wardround_client.catalogue import Catalogue
from wardround_client.tasks.classification.task import TASK
from wardround_client.tasks.interface import NOTHING, RuntimeFlags
from wardround_common.accounting import calibrate_training
from wardround_common.plan import AlgorithmPlan, SitePlan, StudyPlan
from wardround_common.state import advance, initial_state
from wardround_common.streams import Stream, derive
from wardround_common.tasks.classification import ClassificationPlan
from wardround_simulations.baselines.recipes import LonePrivateRecipe, lone_recipe


def alone_with_privacy(
    plan: StudyPlan,
    *,
    site: SitePlan,
    train: Catalogue,
    table: Sequence[LonePrivateRecipe] = (),
    secret: bytes,
) -> NDArray[np.float32]:
    """Train at one site with the plan's epsilon and delta, federating with nobody.

    Args:
        plan: The federation's plan: model, input, epsilon, delta, clip.
        site: The site; its stated patients choose the recipe.
        train: Its train side.
        table: Recipes by size; empty: the built-in ones.
        secret: 32 bytes; all randomness follows from it.

    Returns:
        The moving average, ``float32[P]``.

    Raises:
        ConfigError: No recipe fits the site.
        PrivacyError: No noise meets the epsilon.
    """
    recipe = lone_recipe(table, target_epsilon=plan.privacy.target_epsilon, patients=site.patients)
    lone = plan_of_one(plan, site, recipe)
    state = initial_state(lone)
    for number in range(lone.rounds):
        key = derive(secret, "alone with privacy", site.name, number)
        output = TASK.train_round(
            lone,
            site=site.name,
            start=state.vector,
            local_L=NOTHING,
            data=train,
            streams=partial(_stream, key),
            flags=RuntimeFlags(),
        )
        state = advance(state, output.update_P.astype(np.float64), lone)
    return state.average


def plan_of_one(plan: StudyPlan, site: SitePlan, recipe: LonePrivateRecipe) -> StudyPlan:
    """The plan of a study of one site: the federation's promise, the recipe's steps, noise for both."""
    noise_multiplier = _calibrated(
        plan.privacy.target_epsilon, plan.privacy.target_delta, recipe.sample_rate, recipe.steps
    )
    return replace(
        plan,
        sites=(site,),
        rounds=recipe.steps,
        recipe=replace(
            plan.recipe,
            learning_rate=recipe.learning_rate,
            momentum=0.0,
            local_steps=1,
            sample_rate=recipe.sample_rate,
        ),
        task=replace(ClassificationPlan.of(plan), ema_decay=recipe.ema_decay),
        algorithm=AlgorithmPlan(server_momentum=recipe.momentum),
        privacy=replace(plan.privacy, noise_multiplier=noise_multiplier),
    )


def _stream(key: bytes, purpose: str, step: int) -> Stream:
    return Stream(derive(key, purpose, step))


@cache
def _calibrated(target_epsilon: float, target_delta: float, sample_rate: float, steps: int) -> float:
    return calibrate_training(
        target_epsilon=target_epsilon, target_delta=target_delta, sample_rate=sample_rate, steps=steps
    )
