"""The models built into the package, as layouts: names, shapes and initial values, no arithmetic.

===========  ==========  ==================================================================================
model        parameters  what it is (the site's ``tasks.classification.networks`` computes it)
===========  ==========  ==================================================================================
``scatter``  4,353       fixed Morlet scattering (13 maps), one 3x3 convolution of 32, linear head
``small``    24,801      three convolutions of 16, 32 and 64, linear head
===========  ==========  ==================================================================================

Both end in a 4 x 4 grid, so that their size does not depend on ``size_px``; parameters are counted for two
classes. The first class is the reference: K classes have K - 1 logits, the first one being fixed at zero.

Not here: torch (the coordinator has none).

Privacy: public; no patient data is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from wardround_common.canonical import digest, encode
from wardround_common.errors import ConfigError
from wardround_common.layout import Layout, TensorSpec, initial_vector
from wardround_common.plan import StudyPlan

SCATTER_MAPS = 13
"""One low-pass map and three scales times four angles."""
GRID = 4
"""Height and width of the last feature map."""


def _convolution(name: str, inputs: int, outputs: int, kernel: int) -> Iterator[TensorSpec]:
    """A weight-standardised convolution with bias, followed by group normalisation."""
    shape, fan_in = (outputs, inputs, kernel, kernel), inputs * kernel**2
    yield TensorSpec(name=f"{name}.weight", shape=shape, init="uniform", fan_in=fan_in)
    yield TensorSpec(name=f"{name}.bias", shape=(outputs,), init="zeros")
    yield TensorSpec(name=f"{name}_norm.weight", shape=(outputs,), init="ones")
    yield TensorSpec(name=f"{name}_norm.bias", shape=(outputs,), init="zeros")


def _head(plan: StudyPlan, channels: int) -> Iterator[TensorSpec]:
    """A linear layer from the last grid to K - 1 logits."""
    inputs, logits = channels * GRID**2, len(plan.labels) - 1
    yield TensorSpec(name="head.weight", shape=(logits, inputs), init="uniform", fan_in=inputs)
    yield TensorSpec(name="head.bias", shape=(logits,), init="zeros")


def _scatter(plan: StudyPlan) -> Layout:
    return Layout((*_convolution("conv1", SCATTER_MAPS, 32, 3), *_head(plan, 32)))


def _small(plan: StudyPlan) -> Layout:
    convolutions = (
        *_convolution("conv1", 1, 16, 5),
        *_convolution("conv2", 16, 32, 3),
        *_convolution("conv3", 32, 64, 3),
    )
    return Layout((*convolutions, *_head(plan, 64)))


MODELS: dict[str, Callable[[StudyPlan], Layout]] = {"scatter": _scatter, "small": _small}


def layout_of(plan: StudyPlan) -> Layout:
    """The layout of the plan's model.

    Raises:
        ConfigError: The package has no model of that name.
    """
    try:
        return MODELS[plan.model.name](plan)
    except KeyError:
        raise ConfigError(
            f"unknown model {plan.model.name!r}",
            remedy=f"Set model.name to one of: {', '.join(sorted(MODELS))}.",
            code="plan.unknown_model",
        ) from None


def initial_vector_of(plan: StudyPlan) -> NDArray[np.float32]:
    """The global vector before the first round, from the plan's model name and seed alone.

    Raises:
        ConfigError: The package has no model of that name.
    """
    return initial_vector(layout_of(plan), digest("initial vector", encode(plan.model)))
