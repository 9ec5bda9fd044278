"""One threshold and what the model does at it: sensitivity, specificity, accuracy, precision, recall, F1.

The threshold is chosen on *validation* patients: the lowest one at which the wanted specificity is
reached. What it does is counted on *test* patients, who had no part in the choice. From released counts
the threshold is a bin edge; where no edge reaches the specificity the highest is taken and `reached` is
False.

Intervals: every metric is a proportion with Wilson's interval, widened by the noise of the counts. F1 is
``2 J / (1 + J)`` with the proportion ``J = TP / (TP + FP + FN)``; its interval is J's, transformed.

Privacy: `operating_point` reads only noised counts (post-processing). `operating_point_exact` reads single
scores; its result is not private.

References:
    K. Takahashi, K. Yamamoto, A. Kuchiba, T. Koyama (2022), Applied Intelligence 52:4961-4972 (F1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

from wardround_common.evaluation.cells import checked
from wardround_common.evaluation.estimate import Estimate, proportion


class OperatingPoint(Struct, frozen=True, kw_only=True):
    """A threshold, and the metrics of "score >= threshold" on the test patients."""

    threshold: float
    wanted_specificity: float
    reached: bool
    """True where the validation patients' specificity at the threshold is the wanted one or more."""
    sensitivity: Estimate
    specificity: Estimate
    accuracy: Estimate
    precision: Estimate
    recall: Estimate
    """The same number as ``sensitivity``, under the name that machine learning uses."""
    f1: Estimate
    positives: float
    """Test patients of class 1 (noised where the counts are)."""
    negatives: float
    """Test patients of class 0 (noised where the counts are)."""


class _Confusion(Struct, frozen=True, kw_only=True):
    """Counts of a 2x2 table, and how they were made."""

    true_positive: float
    false_positive: float
    true_negative: float
    false_negative: float
    noise_sd: float = 0.0
    cells_above: int = 0
    """Bins above the threshold in each class."""
    cells_below: int = 0


def operating_point(
    validation_KB: NDArray[np.float64],
    test_KB: NDArray[np.float64],
    *,
    edges: Sequence[float],
    specificity: float,
    noise_sd_cell: float,
) -> OperatingPoint:
    """Threshold from released validation counts, metrics from released test counts.

    Args:
        validation_KB: Noised counts of validation patients, shape (2, B).
        test_KB: Noised counts of test patients, shape (2, B).
        edges: The B - 1 inner bin edges; one of them becomes the threshold.
        specificity: The wanted specificity, in (0, 1].
        noise_sd_cell: Standard deviation of the noise on each cell, patients.

    Returns:
        The operating point; metrics that drown in the noise are (0.5, 0, 1).
    """
    below = np.cumsum(validation_KB[0])[:-1] / max(float(validation_KB[0].sum()), 1.0)
    enough = np.flatnonzero(below >= specificity)
    index = int(enough[0]) if enough.size else len(edges) - 1
    bins_below, bins = index + 1, len(edges) + 1
    confusion = _Confusion(
        true_positive=float(test_KB[1, bins_below:].sum()),
        false_positive=float(test_KB[0, bins_below:].sum()),
        true_negative=float(test_KB[0, :bins_below].sum()),
        false_negative=float(test_KB[1, :bins_below].sum()),
        noise_sd=noise_sd_cell,
        cells_above=bins - bins_below,
        cells_below=bins_below,
    )
    return _point(float(edges[index]), specificity, bool(enough.size), confusion)


def operating_point_exact(
    validation_scores: ArrayLike,
    validation_labels: ArrayLike,
    test_scores: ArrayLike,
    test_labels: ArrayLike,
    *,
    specificity: float,
) -> OperatingPoint:
    """Threshold from single validation scores, metrics from single test scores.

    The threshold lies halfway between the highest validation score that must stay below it and the next
    one. Without a validation patient of class 0 it is 1, and `reached` is False.

    Raises:
        WardroundError: Scores and labels do not fit (``evaluation.bad_scores``).
    """
    scores, labels = checked(validation_scores, validation_labels)
    negative = np.sort(scores[labels == 0])
    threshold = 1.0
    if negative.size:
        must_stay_below = float(negative[max(math.ceil(specificity * negative.size), 1) - 1])
        higher = scores[scores > must_stay_below]
        next_one = float(higher.min()) if higher.size else 1.0
        threshold = max((must_stay_below + next_one) / 2, math.nextafter(must_stay_below, math.inf))
    scores, labels = checked(test_scores, test_labels)
    above = scores >= threshold
    confusion = _Confusion(
        true_positive=float((above & (labels == 1)).sum()),
        false_positive=float((above & (labels == 0)).sum()),
        true_negative=float((~above & (labels == 0)).sum()),
        false_negative=float((~above & (labels == 1)).sum()),
    )
    return _point(threshold, specificity, bool(negative.size), confusion)


def _point(threshold: float, wanted: float, reached: bool, c: _Confusion) -> OperatingPoint:
    up, down, noise = c.cells_above, c.cells_below, c.noise_sd
    sensitivity = proportion(c.true_positive, c.false_negative, noise_sd=noise, hit_cells=up, miss_cells=down)
    return OperatingPoint(
        threshold=threshold,
        wanted_specificity=wanted,
        reached=reached,
        sensitivity=sensitivity,
        specificity=proportion(
            c.true_negative, c.false_positive, noise_sd=noise, hit_cells=down, miss_cells=up
        ),
        accuracy=proportion(
            c.true_positive + c.true_negative,
            c.false_positive + c.false_negative,
            noise_sd=noise,
            hit_cells=up + down,
            miss_cells=up + down,
        ),
        precision=proportion(c.true_positive, c.false_positive, noise_sd=noise, hit_cells=up, miss_cells=up),
        recall=sensitivity,
        f1=_f1(c),
        positives=c.true_positive + c.false_negative,
        negatives=c.true_negative + c.false_positive,
    )


def _f1(c: _Confusion) -> Estimate:
    overlap = proportion(
        c.true_positive,
        c.false_positive + c.false_negative,
        noise_sd=c.noise_sd,
        hit_cells=c.cells_above,
        miss_cells=c.cells_above + c.cells_below,
    )
    if not overlap.known:
        return overlap
    slope = 2.0 / (1.0 + overlap.value) ** 2
    value, low, high = (2.0 * j / (1.0 + j) for j in (overlap.value, overlap.low, overlap.high))
    return Estimate(value, low, high, min(overlap.noise_sd * slope, 0.5))
