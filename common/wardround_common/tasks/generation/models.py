"""The conditional GANs built into the package, as layouts: names, shapes and initial values, no arithmetic.

===========  ==================================================================================
model        what it is (the site's ``tasks.generation.networks`` computes it)
===========  ==================================================================================
``wavelet``  generator: nearest-neighbour upsampling and 3x3 convolutions from 4 x 4, group norm
             whose scale and shift belong to the class. Discriminator: fixed wavelet moduli and
             coarse pixels on an 8 x 8 grid, one 3x3 convolution of 32, one score per class
===========  ==================================================================================

About 134,000 and 9,200 parameters for two classes of grey images; exact sizes are in
``tests/common/test_generation_plan.py``.

Not here: torch (the coordinator has none).

Privacy: public; no patient data is read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

from wardround_common.layout import TensorSpec
from wardround_common.tasks.interface import Planned

SIZES_PX = (32, 64)
START = 4
"""Height and width of the generator's first grid."""
WIDTHS = (64, 48, 32, 24, 8)
"""The generator's channels at 4, 8, 16, 32 and 64 pixels."""
EMBEDDING = 16
"""Numbers that stand for a class beside the latent vector."""
SCALES, ANGLES = 3, 4
COARSE = 4
"""The front end keeps the image at COARSE * GRID pixels, as COARSE**2 maps."""
GRID = 8
"""Height and width of the front end's maps."""
HEAD_WIDTH = 32
HEAD_GRID = 4

Specs = Iterator[TensorSpec]


def generator_widths(size_px: int) -> tuple[int, ...]:
    """Channels of the generator from its first grid up to ``size_px``."""
    return WIDTHS[: int(math.log2(size_px // START)) + 1]


def front_end_maps(channels: int) -> int:
    """Maps of the discriminator's front end."""
    return channels * (SCALES * ANGLES + COARSE**2)


def _weight(name: str, shape: tuple[int, ...], *, gain: float = 1.0) -> Specs:
    yield TensorSpec(
        name=f"{name}.weight", shape=shape, init="uniform", fan_in=math.prod(shape[1:]), gain=gain
    )
    yield TensorSpec(name=f"{name}.bias", shape=shape[:1], init="zeros")


def _norm(name: str, shape: tuple[int, ...]) -> Specs:
    yield TensorSpec(name=f"{name}.weight", shape=shape, init="ones")
    yield TensorSpec(name=f"{name}.bias", shape=shape, init="zeros")


def _wavelet_generator(plan: Planned, latent: int) -> Specs:
    classes, widths = len(plan.labels), generator_widths(plan.input.size_px)
    yield TensorSpec(name="embedding", shape=(classes, EMBEDDING), init="uniform")
    yield from _weight("start", (widths[0] * START**2, latent + EMBEDDING))
    yield from _norm("start_norm", (classes, widths[0]))
    for number, (inputs, outputs) in enumerate(pairwise(widths), start=1):
        yield from _weight(f"conv{number}", (outputs, inputs, 3, 3))
        yield from _norm(f"conv{number}_norm", (classes, outputs))
    yield from _weight("out", (plan.input.channels, widths[-1], 3, 3))


def _wavelet_discriminator(plan: Planned) -> Specs:
    yield from _weight("conv1", (HEAD_WIDTH, front_end_maps(plan.input.channels), 3, 3))
    yield from _norm("conv1_norm", (HEAD_WIDTH,))
    yield from _weight("head", (len(plan.labels), HEAD_WIDTH * HEAD_GRID**2))


GENERATORS: dict[str, Callable[[Planned, int], Specs]] = {"wavelet": _wavelet_generator}
DISCRIMINATORS: dict[str, Callable[[Planned], Specs]] = {"wavelet": _wavelet_discriminator}
