"""Which clips follow from an aggregate: one power of two per tensor.

A tensor's updates are cut to [-2^k, 2^k] before they are quantised. A tight clip makes fine levels, one
that is too tight cuts off what the next update has to say. The only thing that all parties know about
updates is their last mean, so k comes from it.

The rule: let M be the largest size of a coordinate in the tensor's part of the mean update, and n the
number of sites of the plan. Then 2^k is the power of two above 1.5 M s, s = the power of two from sqrt(n)
on.

* sqrt(n): where updates differ at random from site to site, as noised ones do, a mean of n is sqrt(n) times
  smaller than what went into it. Without that factor, clips would cut, hence shrink the mean, hence cut more.
* 1.5: updates may grow from one round to the next.
* From round to round k falls by at most 2, since one mean that happens to be near zero says little; after the
  first round it falls freely from the plan's start.
* k is never more than 8 below that of the tensor with the largest: finer levels than that gain nothing in the
  whole, and a tensor whose mean was zero keeps room to move. Where all were zero, the clips stay.
* k stays within [-40, 20].

Rules: ``max``, ``abs``, ``frexp`` and comparisons only, all exact: the clips are equal on every machine.

Not here: clipping itself (``secagg.quantiser``), the clips of the first round (``state.initial_clips``).

Privacy: a function of the aggregate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

SMALLEST: Final = -40
LARGEST: Final = 20
"""Bounds of every k."""

_GROWTH: Final = 1.5
_FALL: Final = 2
_SPREAD: Final = 8


def following_clips(
    last: Sequence[int],
    mean_update: npt.NDArray[np.float64],
    *,
    sizes: Sequence[int],
    sites: int,
    first: bool,
) -> tuple[int, ...]:
    """The clips of the next round, as k of 2^k.

    Args:
        last: The clips of the round that led to ``mean_update``, one per tensor.
        mean_update: The aggregate, float64, [P], finite.
        sizes: Number of values of each tensor, in order.
        sites: n, the number of sites of the plan.
        first: Whether it was the study's first aggregate.
    """
    if not np.any(mean_update):
        return tuple(last)
    apart = ((sites - 1).bit_length() + 1) // 2
    wanted = [_above(part) + apart for part in np.split(mean_update, np.cumsum(sizes)[:-1])]
    if not first:
        wanted = [max(new, old - _FALL) for new, old in zip(wanted, last, strict=True)]
    floor = max(wanted) - _SPREAD
    return tuple(min(max(new, floor, SMALLEST), LARGEST) for new in wanted)


def _above(part: npt.NDArray[np.float64]) -> int:
    """The smallest k for which 2^k exceeds 1.5 times the largest size in ``part``."""
    largest = max(float(part.max(initial=0.0)), -float(part.min(initial=0.0)))
    return math.frexp(_GROWTH * largest)[1] if largest else SMALLEST
