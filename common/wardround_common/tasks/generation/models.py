"""The conditional GANs built into the package, as layouts: names, shapes and initial values, no arithmetic.

===========  ==================================================================================
model        what it is (the site's ``tasks.generation`` computes it)
===========  ==================================================================================
``wavelet``  generator: nearest-neighbour upsampling and 3x3 convolutions from 4 x 4, group norm
             whose scale and shift belong to the class. For classes that differ as a whole
``patches``  generator: the same upsampling without the class draws a smooth body; a small
             network of each class draws patches, which lie anywhere on it. For classes that
             differ in local findings
===========  ==================================================================================

Both have one discriminator: fixed wavelet moduli and coarse pixels on an 8 x 8 grid, one 3x3 convolution of
32, one score per class. Parameters for two classes of grey images of 64 pixels: about 134,000 or 89,000,
and 9,200; exact sizes are in ``tests/common/test_generation_plan.py``.

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
PATCHES = 5
"""Patches on a body, whatever the class: their number tells nothing."""
PATCH_LATENT = 8
"""Numbers of the latent vector that say what one patch looks like."""
PATCH_PLACE = 2
"""Numbers of the latent vector that say where it lies: down and across."""
PATCH_WIDTHS = (24, 24, 12)
"""Channels of a class's patches at a quarter, a half and all of their size."""
PATCH_SHARE = 4
"""A patch is this part of the image's height and width."""
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


def body_latent(latent: int) -> int:
    """Numbers that are left for the body of ``patches``; below 1 where the latent vector is too short."""
    return latent - PATCHES * (PATCH_LATENT + PATCH_PLACE)


def patch_start(size_px: int) -> int:
    """Height and width of the first grid of a patch."""
    return size_px // PATCH_SHARE >> (len(PATCH_WIDTHS) - 1)


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


def _patches_generator(plan: Planned, latent: int) -> Specs:
    """Every body begins at one grid, on which the latent vector is a small change: bodies agree early."""
    widths, body = generator_widths(plan.input.size_px), body_latent(latent)
    first = widths[0] * START**2
    yield TensorSpec(name="start.weight", shape=(first, body), init="uniform", fan_in=body, gain=0.25)
    yield TensorSpec(name="start.bias", shape=(first,), init="uniform")
    yield from _norm("start_norm", widths[:1])
    for number, (inputs, outputs) in enumerate(pairwise(widths), start=1):
        yield from _weight(f"conv{number}", (outputs, inputs, 3, 3))
        yield from _norm(f"conv{number}_norm", (outputs,))
    yield from _weight("out", (plan.input.channels, widths[-1], 3, 3))
    yield from _patches(plan)


def _patches(plan: Planned) -> Specs:
    """The classes' networks lie side by side, in groups of channels."""
    classes, first = len(plan.labels), PATCH_WIDTHS[0]
    cells = patch_start(plan.input.size_px) ** 2
    yield from _weight("patch_start", (classes * first * cells, PATCH_LATENT))
    yield from _norm("patch_start_norm", (classes * first,))
    for number, (inputs, outputs) in enumerate(pairwise(PATCH_WIDTHS), start=1):
        yield from _weight(f"patch{number}", (classes * outputs, inputs, 3, 3))
        yield from _norm(f"patch{number}_norm", (classes * outputs,))
    yield from _weight("patch_out", (classes * plan.input.channels, PATCH_WIDTHS[-1], 3, 3), gain=0.3)


def _wavelet_discriminator(plan: Planned) -> Specs:
    yield from _weight("conv1", (HEAD_WIDTH, front_end_maps(plan.input.channels), 3, 3))
    yield from _norm("conv1_norm", (HEAD_WIDTH,))
    yield from _weight("head", (len(plan.labels), HEAD_WIDTH * HEAD_GRID**2))


GENERATORS: dict[str, Callable[[Planned, int], Specs]] = {
    "wavelet": _wavelet_generator,
    "patches": _patches_generator,
}
DISCRIMINATORS: dict[str, Callable[[Planned], Specs]] = dict.fromkeys(GENERATORS, _wavelet_discriminator)
LEAST_LATENT: dict[str, int] = {"wavelet": 2, "patches": 1 - body_latent(0)}
"""The shortest latent vector of each model."""
