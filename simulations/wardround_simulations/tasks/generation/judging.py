"""What a classifier says about images: AUROC on real test patients, and agreement with the labels of samples.

Two classes: the AUROC of class 1 with DeLong's interval. More: the mean of the AUROCs of each class against
all others, whose parts depend on the same patients, so that its interval comes from a bootstrap over patients
(stratified by class, 1000 resamples, percentiles).

Privacy: exact figures of single patients; simulation only.

References: Hand and Till (2001), Machine Learning 45:171-186 (several classes); Efron and Tibshirani (1993),
An Introduction to the Bootstrap, chapter 13 (percentile interval).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wardround_common.evaluation import Estimate, auroc_exact, proportion, unknown
from wardround_common.streams import Stream
from wardround_simulations.tasks.generation.classifier import Classifier
from wardround_simulations.tasks.generation.labelled import Labelled

_RESAMPLES = 1000
_BLOCK = 100
_TAILS = (0.025, 0.975)

Floats = npt.NDArray[np.float64]
Probabilities = Callable[[npt.NDArray[np.float32]], Floats]
"""Images ``[N, C, H, W]`` to the probability of each class ``[N, classes]``: a ``Classifier``, for one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """A classifier tried on real test patients.

    Attributes:
        auroc: Two classes: of class 1. More: the mean over the classes of one against the rest.
        positives: Test patients of any class but the first.
        negatives: Test patients of the first class.
    """

    auroc: Estimate
    positives: float
    negatives: float


def judge(classifier: Probabilities, test: Labelled, *, stream: Stream) -> Judged:
    """Try a classifier on patients.

    Args:
        classifier: Gives the scores.
        test: One image of each patient.
        stream: For the bootstrap; not read for two classes.
    """
    score_NK = classifier(test.images_NCHW)
    if score_NK.shape[1] == 2:
        auroc = auroc_exact(score_NK[:, 1], test.label_N)
    else:
        auroc = macro_auroc(score_NK, test.label_N, stream=stream)
    negatives = int((test.label_N == 0).sum())
    return Judged(auroc=auroc, positives=float(len(test) - negatives), negatives=float(negatives))


def macro_auroc(score_NK: Floats, label_N: npt.NDArray[np.int64], *, stream: Stream) -> Estimate:
    """The mean AUROC of each class against the rest, over the classes that the patients show.

    Where all resamples agree, as under perfect separation, percentiles collapse to a point; the mean of the
    classes' own intervals, which is wider than the truth, stands in for them.

    Args:
        score_NK: A score for each patient and class.
        label_N: The patients' classes.
        stream: For the resamples.

    Returns:
        The estimate; ``unknown`` where fewer than two classes are there.
    """
    present = np.unique(label_N).tolist()
    if len(present) < 2:
        return unknown()
    single = [auroc_exact(score_NK[:, k], (label_N == k).astype(np.int64)) for k in present]
    value = float(np.mean([estimate.value for estimate in single]))
    resampled = np.concatenate(
        [
            np.mean([_aurocs(score_NK[:, k], label_N == k, weight_RN) for k in present], axis=0)
            for weight_RN in _resamples(label_N, stream)
        ]
    )
    low, high = np.quantile(resampled, _TAILS).tolist()
    if low == high:
        low, high = (float(np.mean([getattr(e, end) for e in single])) for end in ("low", "high"))
    return Estimate(value, min(low, value), max(high, value))


def agreement(samples: Labelled, classifier: Classifier, *, labels: Sequence[str]) -> dict[str, Estimate]:
    """By label, the share of samples to which the classifier gives their label, with Wilson's interval.

    Args:
        samples: Generated images.
        classifier: Trained on real ones.
        labels: Names of the classes; those without samples are left out.
    """
    agrees_N = classifier.decide(samples.images_NCHW) == samples.label_N
    shares = {}
    for label, name in enumerate(labels):
        of_class = agrees_N[samples.label_N == label]
        if of_class.size:
            shares[name] = proportion(int(of_class.sum()), int((~of_class).sum()))
    return shares


def _resamples(label_N: npt.NDArray[np.int64], stream: Stream) -> Iterator[Floats]:
    """How often each resample drew each patient, ``[R, N]`` in blocks; classes keep their sizes."""
    for _ in range(0, _RESAMPLES, _BLOCK):
        weight_RN = np.zeros((_BLOCK, len(label_N)))
        for label in np.unique(label_N).tolist():
            row_M = np.flatnonzero(label_N == label)
            drawn = row_M[stream.below(_BLOCK * len(row_M), len(row_M))].reshape(_BLOCK, -1)
            np.add.at(weight_RN, (np.arange(_BLOCK)[:, None], drawn), 1)
        yield weight_RN


def _aurocs(score_N: Floats, positive_N: npt.NDArray[np.bool_], weight_RN: Floats) -> Floats:
    """AUROC of one class against the rest in every resample, ties counting one half."""
    order = np.argsort(score_N, kind="stable")
    ties = np.flatnonzero(np.diff(score_N[order], prepend=-np.inf))
    weight_RN, positive_N = weight_RN[:, order], positive_N[order]
    positive_RT = np.add.reduceat(weight_RN * positive_N, ties, axis=1)
    negative_RT = np.add.reduceat(weight_RN * ~positive_N, ties, axis=1)
    below_RT = np.cumsum(negative_RT, axis=1) - negative_RT / 2
    pairs_R: Floats = positive_RT.sum(axis=1) * negative_RT.sum(axis=1)
    return np.asarray((positive_RT * below_RT).sum(axis=1) / pairs_R)
