"""What a site counts on its held-out patients: the cells, their order and their scale in the ring.

Each held-out patient gives one score and one label and is counted in exactly one cell, so that a patient
changes one cell by one: L2 sensitivity 1, whatever the number of bins. Validation and test patients fill
separate cells because they are different people.

Order: ``[validation, test][class][bin]``, bins by rising score. Bin b holds the scores in
``[edges[b - 1], edges[b])``, so that "score >= edge" is "the bins above that edge".

One patient is `CELL_LEVELS` levels of the ring: the noise is an integer Gaussian in levels, fine enough
that its standard deviation is what the plan says.

Not here: the noise, the masking.

Privacy: `histogram` and `pack` read patients and return exact counts: nothing of it leaves a site
before the site has added its noise. `unpack` reads the released sum.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wardround_common.errors import ProtocolError, WardroundError

CELL_LEVELS = 64
"""Ring levels per patient."""

_SIDES = 2
_CLASSES = 2


def cells(edges: Sequence[float]) -> int:
    """Number of cells for histograms with these inner edges: 2 sides, 2 classes, B bins each."""
    return _SIDES * _CLASSES * (len(edges) + 1)


def histogram(scores_N: ArrayLike, labels_N: ArrayLike, edges: Sequence[float]) -> NDArray[np.int64]:
    """Count patients by class and score.

    Args:
        scores_N: One score per patient, in [0, 1].
        labels_N: One label per patient, 0 or 1.
        edges: The B - 1 inner edges, increasing.

    Returns:
        Counts of shape (K = 2, B).

    Raises:
        WardroundError: Scores and labels do not fit (``evaluation.bad_scores``).
    """
    scores, labels = checked(scores_N, labels_N)
    bins = len(edges) + 1
    cell_N = labels * bins + np.searchsorted(np.asarray(edges, dtype=np.float64), scores, side="right")
    return np.bincount(cell_N, minlength=_CLASSES * bins).reshape(_CLASSES, bins).astype(np.int64)


def pack(validation_KB: NDArray[np.int64], test_KB: NDArray[np.int64]) -> NDArray[np.int64]:
    """The two histograms as one vector of ring levels, in the order that this module fixes."""
    return np.stack([validation_KB, test_KB]).reshape(-1) * CELL_LEVELS


def unpack(
    levels: NDArray[np.int64], edges: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The released sum as counts in patients.

    Args:
        levels: Sum over the sites, signed, of length ``cells(edges)``.
        edges: The B - 1 inner edges of the bins.

    Returns:
        Validation and test counts, each of shape (K, B); fractional, and negative where the noise says so.

    Raises:
        ProtocolError: The vector has another length (``evaluation.bad_length``).
    """
    if levels.shape != (cells(edges),):
        raise ProtocolError(
            f"expected {cells(edges)} cells, got an array of shape {levels.shape}",
            remedy="Check that coordinator and sites run the same version of Wardround.",
            code="evaluation.bad_length",
        )
    counts = levels.reshape(_SIDES, _CLASSES, len(edges) + 1) / float(CELL_LEVELS)
    return counts[0], counts[1]


def checked(scores_N: ArrayLike, labels_N: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Scores as float64 and labels as int64, after the checks that every metric needs.

    Raises:
        WardroundError: Different lengths, a score that is not finite, a label other than 0 and 1
            (``evaluation.bad_scores``). The message holds shapes only.
    """
    scores, labels = np.asarray(scores_N, dtype=np.float64), np.asarray(labels_N)
    fits = scores.ndim == 1 and scores.shape == labels.shape
    if not (fits and np.isfinite(scores).all() and np.isin(labels, (0, 1)).all()):
        raise WardroundError(
            f"expected one finite score and one label (0 or 1) per patient, got arrays of shape "
            f"{scores.shape} and {labels.shape}",
            remedy="Check that training did not diverge and that the labels are the plan's.",
            code="evaluation.bad_scores",
        )
    return scores, labels.astype(np.int64)
