"""The classifiers built into the package, as layouts: names, shapes and initial values, no arithmetic.

===========  ==========  ==================================================================================
model        parameters  what it is (the site's ``tasks.classification.networks`` computes it)
===========  ==========  ==================================================================================
``scatter``  4,353       fixed Morlet scattering (13 maps), one 3x3 convolution of 32, linear head
``small``    24,801      three convolutions of 16, 32 and 64, linear head
===========  ==========  ==================================================================================

Both end in a 4 x 4 grid, so that their size does not depend on ``size_px``; parameters are counted for two
classes and one channel. The first class is the reference: K classes have K - 1 logits, the first one being
fixed at zero.

Not here: torch (the coordinator has none).

Privacy: public; no patient data is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from wardround_common.layout import Layout, TensorSpec
from wardround_common.tasks.interface import Planned

SCATTER_MAPS = 13
"""Of each channel: one low-pass map and three scales times four angles."""
GRID = 4
"""Height and width of the last feature map."""


def _convolution(name: str, inputs: int, outputs: int, kernel: int) -> Iterator[TensorSpec]:
    """A weight-standardised convolution with bias, followed by group normalisation."""
    shape, fan_in = (outputs, inputs, kernel, kernel), inputs * kernel**2
    yield TensorSpec(name=f"{name}.weight", shape=shape, init="uniform", fan_in=fan_in)
    yield TensorSpec(name=f"{name}.bias", shape=(outputs,), init="zeros")
    yield TensorSpec(name=f"{name}_norm.weight", shape=(outputs,), init="ones")
    yield TensorSpec(name=f"{name}_norm.bias", shape=(outputs,), init="zeros")


def _head(plan: Planned, channels: int) -> Iterator[TensorSpec]:
    """A linear layer from the last grid to K - 1 logits."""
    inputs, logits = channels * GRID**2, len(plan.labels) - 1
    yield TensorSpec(name="head.weight", shape=(logits, inputs), init="uniform", fan_in=inputs)
    yield TensorSpec(name="head.bias", shape=(logits,), init="zeros")


def _scatter(plan: Planned) -> Layout:
    maps = SCATTER_MAPS * plan.input.channels
    return Layout((*_convolution("conv1", maps, 32, 3), *_head(plan, 32)))


def _small(plan: Planned) -> Layout:
    convolutions = (
        *_convolution("conv1", plan.input.channels, 16, 5),
        *_convolution("conv2", 16, 32, 3),
        *_convolution("conv3", 32, 64, 3),
    )
    return Layout((*convolutions, *_head(plan, 64)))


MODELS: dict[str, Callable[[Planned], Layout]] = {"scatter": _scatter, "small": _small}
