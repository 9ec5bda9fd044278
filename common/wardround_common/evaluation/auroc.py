"""Area under the ROC curve, its interval, and the curve itself: from scores, or from released counts.

The AUROC is the chance that a random patient of class 1 scores above a random one of class 0, ties
counting one half.

From scores: DeLong's variance on the logit scale; where that variance is 0 (perfect separation, a class
of one) Newcombe's interval, which does not collapse.

From counts: the ratio ``sum_b y_b (x_<b + x_b / 2) / (X Y)`` of the noised counts x (class 0) and y
(class 1), X and Y their totals. Neither projected nor smoothed: the noise has mean 0, so large classes are
estimated without bias, which a projection onto non-negative counts would add. Three things are uncertain,
and the interval holds all of them:

* *sampling*: Newcombe's variance (method 5), as above;
* *noise*: first order in the noise of ``N - A X Y``, N the numerator. The totals are noisy too, so they
  enter one standard deviation below what was counted: conservative for classes of some dozen patients,
  without effect on large ones;
* *bins*: inside a bin the order is unknown, which moves the AUROC by at most
  ``w = sum_b (x_b / X)(y_b / Y) / 2``. It enters as uniform on [-w, w], variance ``w^2 / 3``: alone it
  gives an interval of 1.13 w.

Privacy: functions named ``released`` read only noised counts (post-processing). The others read single
scores; their results are not private.

References:
    E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson (1988), Biometrics 44:837-845.
    X. Sun, W. Xu (2014), IEEE Signal Processing Letters 21:1389-1393 (midranks).
    R. G. Newcombe (2006), Statistics in Medicine 25:559-573, method 5.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

from wardround_common.evaluation.cells import checked
from wardround_common.evaluation.estimate import Z_95, Estimate, score_interval, unknown


class RocCurve(Struct, frozen=True, kw_only=True):
    """Points of a ROC curve from (0, 0) to (1, 1), both rates rising."""

    false_positive_rate: tuple[float, ...]
    true_positive_rate: tuple[float, ...]


def auroc_exact(scores_N: ArrayLike, labels_N: ArrayLike) -> Estimate:
    """AUROC of single scores with DeLong's 95 % interval.

    Args:
        scores_N: One score per patient.
        labels_N: One label per patient, 0 or 1.

    Returns:
        The estimate; `unknown` where a class is empty.

    Raises:
        WardroundError: Scores and labels do not fit (``evaluation.bad_scores``).
    """
    scores, labels = checked(scores_N, labels_N)
    positives, negatives = int(labels.sum()), int((1 - labels).sum())
    if positives == 0 or negatives == 0:
        return unknown()
    value, variance = delong(scores, labels)
    if 0.0 < value < 1.0 and variance > 0.0:
        logit, scale = math.log(value / (1.0 - value)), 1.0 / (value * (1.0 - value))
        half = Z_95 * math.sqrt(variance) * scale
        return Estimate(value, _expit(logit - half), _expit(logit + half))
    return Estimate(value, *score_interval(value, _newcombe(positives, negatives)))


def auroc_difference(scores_a_N: ArrayLike, scores_b_N: ArrayLike, labels_N: ArrayLike) -> Estimate:
    """AUROC of model a minus that of model b on the same patients (paired DeLong).

    Args:
        scores_a_N: Scores of model a, one per patient.
        scores_b_N: Scores of model b, same patients, same order.
        labels_N: One label per patient, 0 or 1.

    Returns:
        Difference in [-1, 1] with its 95 % interval; (0, -1, 1) where a class has fewer than two patients.

    Raises:
        WardroundError: Scores and labels do not fit (``evaluation.bad_scores``).
    """
    scores_a, labels = checked(scores_a_N, labels_N)
    scores_b, _ = checked(scores_b_N, labels_N)
    if min(labels.sum(), (1 - labels).sum()) < 2:
        return Estimate(0.0, -1.0, 1.0)
    value_a, of_positive_a, of_negative_a = _placements(scores_a, labels)
    value_b, of_positive_b, of_negative_b = _placements(scores_b, labels)
    difference = value_a - value_b
    half = Z_95 * math.sqrt(_variance(of_positive_a - of_positive_b, of_negative_a - of_negative_b))
    return Estimate(difference, max(difference - half, -1.0), min(difference + half, 1.0))


def auroc_released(counts_KB: NDArray[np.float64], noise_sd_cell: float) -> Estimate:
    """AUROC of a released histogram; the interval covers sampling, noise and the unknown order in a bin.

    Args:
        counts_KB: Noised counts, patients, shape (2, B); may be negative.
        noise_sd_cell: Standard deviation of the noise on each cell, patients: ``sqrt(sites) *
            noise_multiplier``.

    Returns:
        The estimate with ``noise_sd``; `unknown` where the total of a class is not above one standard
        deviation of its noise.
    """
    x_B, y_B = np.asarray(counts_KB, dtype=np.float64)
    X, Y = float(x_B.sum()), float(y_B.sum())
    total_sd = noise_sd_cell * math.sqrt(x_B.size)
    if min(X, Y) <= total_sd:
        return unknown(noise_sd_cell)
    below_B, above_B = np.cumsum(x_B) - x_B / 2, Y - np.cumsum(y_B) + y_B / 2
    ratio = float(y_B @ below_B) / (X * Y)
    slope = math.hypot(np.linalg.norm(below_B - ratio * X), np.linalg.norm(above_B - ratio * Y))
    noise_sd = min(noise_sd_cell * slope / ((X - total_sd) * (Y - total_sd)), 0.5)
    bins_half = float(_shares(x_B) @ _shares(y_B)) / 2
    extra = noise_sd**2 + bins_half**2 / 3
    sampling = _newcombe(X, Y)
    value = min(max(ratio, 0.0), 1.0)
    return Estimate(value, *score_interval(value, lambda theta: sampling(theta) + extra), noise_sd)


def roc_exact(scores_N: ArrayLike, labels_N: ArrayLike, *, points: int = 160) -> RocCurve:
    """The empirical ROC curve, thinned to about ``points`` vertices.

    Raises:
        WardroundError: Scores and labels do not fit (``evaluation.bad_scores``).
    """
    scores, labels = checked(scores_N, labels_N)
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.diff(scores[order]) != 0, True)
    hits, misses = np.cumsum(labels[order])[last_of_tie], np.cumsum(1 - labels[order])[last_of_tie]
    rates = np.stack([misses / max(misses[-1], 1), hits / max(hits[-1], 1)]) if hits.size else np.ones((2, 1))
    rates = np.concatenate([np.zeros((2, 1)), rates, np.ones((2, 1))], axis=1)
    arc = np.cumsum(np.abs(np.diff(rates, axis=1)).sum(axis=0))
    kept = np.append(0, np.searchsorted(arc, np.linspace(0, arc[-1], points), side="left") + 1)
    return _curve(rates[:, np.unique(np.clip(kept, 0, rates.shape[1] - 1))])


def roc_released(counts_KB: NDArray[np.float64]) -> RocCurve:
    """The ROC points at the bin edges, from noised counts made non-negative so that the curve rises."""
    above_KB = np.cumsum(np.stack([_shares(row) for row in counts_KB])[:, ::-1], axis=1)
    return _curve(np.concatenate([np.zeros((2, 1)), np.minimum(above_KB, 1.0)], axis=1))


def delong(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> tuple[float, float]:
    """AUROC and DeLong's variance of it; both classes must be present. A class of one: variance 0."""
    value, of_positive, of_negative = _placements(scores, labels)
    return value, _variance(of_positive, of_negative)


def _placements(
    scores: NDArray[np.float64], labels: NDArray[np.int64]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """AUROC; for each positive the share of negatives below it; for each negative of positives above."""
    positive, negative = scores[labels == 1], scores[labels == 0]
    midrank = _midranks(np.concatenate([positive, negative]))
    of_positive = (midrank[: positive.size] - _midranks(positive)) / negative.size
    of_negative = 1.0 - (midrank[positive.size :] - _midranks(negative)) / positive.size
    return float(of_positive.mean()), of_positive, of_negative


def _midranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1; equal values share the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


def _variance(of_positive: NDArray[np.float64], of_negative: NDArray[np.float64]) -> float:
    if min(of_positive.size, of_negative.size) < 2:
        return 0.0
    return float(of_positive.var(ddof=1) / of_positive.size + of_negative.var(ddof=1) / of_negative.size)


def _newcombe(positives: float, negatives: float) -> Callable[[float], float]:
    """Variance of an empirical AUROC as a function of the true one."""
    pairs, spread = max(positives * negatives, 1.0), max((positives + negatives) / 2.0 - 1.0, 0.0)

    def variance(a: float) -> float:
        return a * (1.0 - a) * (1.0 + spread * ((1.0 - a) / (2.0 - a) + a / (1.0 + a))) / pairs

    return variance


def _shares(counts_B: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest non-negative shares that add up to 1 (Euclidean projection of the noised counts)."""
    total = max(float(counts_B.sum()), 1.0)
    falling = np.sort(counts_B)[::-1]
    shift = (np.cumsum(falling) - total) / np.arange(1, falling.size + 1)
    shares: NDArray[np.float64] = np.maximum(counts_B - shift[falling > shift][-1], 0.0) / total
    return shares


def _curve(rates: NDArray[np.float64]) -> RocCurve:
    fpr, tpr = np.round(rates, 5).tolist()
    return RocCurve(false_positive_rate=tuple(fpr), true_positive_rate=tuple(tpr))


def _expit(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value)) if value > -700.0 else 0.0
