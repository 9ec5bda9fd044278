"""Which clips follow from an aggregate: one power of two per tensor.

A tensor's updates are cut to [-2^k, 2^k] before they are quantised. A tight clip makes fine levels, one
that is too tight cuts off what the next update has to say. The only thing that all parties know about
updates is their last mean, so k comes from it.

The rule: let M be the largest size of a coordinate in the tensor's part of the mean update, r the root mean
square of that part, and n the number of sites of the plan. Then 2^k is the power of two above both 1.25 M and
4 sqrt(n) r.

* 4 sqrt(n) r: where updates differ at random from site to site, as noised ones do, a mean of n is sqrt(n)
  times smaller than what went into it, and four standard deviations hold all but 0.006 % of it. Without
  sqrt(n) clips would cut, hence shrink the mean, hence cut more.
* 1.25 M: where sites agree, few coordinates may be much larger than the rest, and updates may grow a little.
* From round to round k falls by at most 2, since one mean that happens to be near zero says little; after the
  first round it falls freely from the plan's start.
* k is never more than 8 below that of the tensor with the largest: finer levels than that gain nothing in the
  whole, and a tensor whose mean was zero keeps room to move. Where all were zero, the clips stay.
* k stays within [-40, 20].

Rules: element-wise float64 arithmetic, maxima, and sums of integers, none of which depends on the order of
summation: the clips are equal on every machine.

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

_GROWTH: Final = 1.25
_SPREAD_SQUARED: Final = 16
_FALL: Final = 2
_DEPTH: Final = 8
_UNITS: Final = 2**15
_PIECE: Final = 1 << 16


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
    wanted = [_above(part, sites) for part in np.split(mean_update, np.cumsum(sizes)[:-1])]
    if not first:
        wanted = [max(new, old - _FALL) for new, old in zip(wanted, last, strict=True)]
    floor = max(wanted) - _DEPTH
    return tuple(min(max(new, floor, SMALLEST), LARGEST) for new in wanted)


def _above(part: npt.NDArray[np.float64], sites: int) -> int:
    """The smallest k for which 2^k exceeds both 1.25 M and 4 sqrt(n) r of ``part``."""
    largest = max(float(part.max(initial=0.0)), -float(part.min(initial=0.0)))
    if not largest:
        return SMALLEST
    mantissa, exponent = math.frexp(largest)
    squares = sum(_squares(part[i : i + _PIECE], largest) for i in range(0, part.size, _PIECE))
    spread = _SPREAD_SQUARED * sites * squares / part.size / _UNITS**2  # (4 sqrt(n) r / M)^2
    doubled = math.frexp(spread * mantissa**2)[1] + 2 * exponent  # 2^doubled > (4 sqrt(n) r)^2
    return max(math.frexp(_GROWTH * largest)[1], -(-doubled // 2))


def _squares(piece: npt.NDArray[np.float64], largest: float) -> int:
    """The sum of squares of ``piece`` in units of ``(largest / 2^15)^2``, each number rounded first."""
    units = np.rint(piece / largest * _UNITS).astype(np.int64)
    return int(np.dot(units, units))
