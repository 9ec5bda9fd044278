"""A number with its 95 % interval, and the interval arithmetic that the metrics share.

All intervals are *score* intervals: a value theta belongs to the interval when the estimate lies within
1.96 standard deviations of theta, the standard deviation being taken *at theta*. For a proportion without
noise that is Wilson's interval. It stays inside [0, 1], is not symmetric and does not collapse to a point
when the estimate is 0 or 1; noise of known variance enters by addition.

Privacy: arithmetic only; as private as its arguments.

References:
    E. B. Wilson (1927), J. Am. Stat. Assoc. 22:209-212.
    L. D. Brown, T. T. Cai, A. DasGupta (2001), Statistical Science 16:101-133, section 3.1.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from msgspec import Struct

Z_95 = 1.959963984540054
"""Half width of a 95 % interval in standard deviations."""


class Estimate(Struct, frozen=True):
    """A number between 0 and 1 with its 95 % interval."""

    value: float
    low: float
    high: float
    noise_sd: float = 0.0
    """Standard deviation of ``value`` that the privacy noise alone causes; 0 for exact figures."""

    @property
    def known(self) -> bool:
        """False where the data say nothing: an empty class, or counts that drown in their noise."""
        return self.low > 0.0 or self.high < 1.0


def unknown(noise_sd: float = 0.0) -> Estimate:
    """What is returned where the data say nothing: anything from 0 to 1.

    Args:
        noise_sd: Noise on one cell, patients; where there is any, the noise is as wide as it can be.
    """
    return Estimate(0.5, 0.0, 1.0, 0.5 if noise_sd > 0.0 else 0.0)


def score_interval(value: float, variance: Callable[[float], float]) -> tuple[float, float]:
    """All theta in [0, 1] with ``|theta - value| <= 1.96 sqrt(variance(theta))``.

    Args:
        value: The estimate, in [0, 1].
        variance: Variance of the estimate if theta were true; finite on [0, 1], and such that the set is
            an interval (true where the variance is concave in theta).

    Returns:
        Lower and upper end; ``low <= value <= high``.
    """

    def holds(theta: float) -> bool:
        return abs(theta - value) <= Z_95 * math.sqrt(variance(theta))

    return _outermost(holds, value, 0.0), _outermost(holds, value, 1.0)


def proportion(
    hits: float, misses: float, *, noise_sd: float = 0.0, hit_cells: int = 0, miss_cells: int = 0
) -> Estimate:
    """``hits / (hits + misses)`` with its interval: Wilson's, widened by the noise of the counts.

    Args:
        hits: Count, patients; may be fractional or negative when it carries noise.
        misses: Likewise.
        noise_sd: Standard deviation of the noise on one cell, patients.
        hit_cells: How many cells were added up to ``hits``.
        miss_cells: How many cells were added up to ``misses``.

    Returns:
        The estimate; `unknown` where the total is not above one standard deviation of its noise.
    """
    total = hits + misses
    sure_total = total - noise_sd * math.sqrt(hit_cells + miss_cells)
    if sure_total <= 0.0:
        return unknown(noise_sd)

    def noise_variance(p: float) -> float:
        return noise_sd**2 * ((1.0 - p) ** 2 * hit_cells + p**2 * miss_cells) / sure_total**2

    value = min(max(hits / total, 0.0), 1.0)
    low, high = score_interval(value, lambda p: p * (1.0 - p) / total + noise_variance(p))
    return Estimate(value, low, high, min(math.sqrt(noise_variance(value)), 0.5))


def _outermost(holds: Callable[[float], bool], inside: float, end: float) -> float:
    """The last theta on the way from ``inside`` to ``end`` for which ``holds`` is true (bisection)."""
    if holds(end):
        return end
    for _ in range(50):
        middle = (inside + end) / 2
        inside, end = (middle, end) if holds(middle) else (inside, middle)
    return inside
