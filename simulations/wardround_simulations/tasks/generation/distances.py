"""How far images lie apart: whether samples differ from each other, and whether they copy patients.

The distance of two images is the root of the mean squared difference over pixels and channels: 0 for equal
images, 1 for black against white.

Distances come from blocks of matrix products in float64 that hold a bounded number of values, whatever the
number and size of the images. Equal images come out below 1e-6.

Privacy: exact distances to patients' images; simulation only.

References: Kish (1965), Survey Sampling, section 11.7 (effective sample size).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wardround_common.evaluation import Estimate, proportion
from wardround_common.streams import Stream
from wardround_simulations.tasks.generation.labelled import Labelled, some

MOST_PER_CLASS = 500
"""Images of a class between which all distances are averaged."""

_BLOCK_VALUES = 1 << 23
_QUARTILES = (0.25, 0.5, 0.75)

Images = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Triple = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Diversity:
    """Mean distance of two images of one class, of as many generated as real ones; 0 where all are equal."""

    samples: float
    real: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Nearest:
    """Distance of each sample to its nearest real image.

    Attributes:
        to_train: Quartiles over the samples, to training images.
        to_held_out: The same, to as many held-out images.
        nearer_to_train: Share of samples that lie nearer to a training image; 0.5 without copying.
    """

    to_train: Triple
    to_held_out: Triple
    nearer_to_train: Estimate


def diversity(
    samples: Labelled, real: Labelled, *, labels: Sequence[str], stream: Stream
) -> dict[str, Diversity]:
    """The mean distance within each class.

    Args:
        samples: Generated images.
        real: Images of patients.
        labels: Names of the classes; those of which either side has fewer than two images are left out.
        stream: Chooses images where one side has more than the other, or more than ``MOST_PER_CLASS``.
    """
    table = {}
    for label, name in enumerate(labels):
        sides = [side.of_class(label) for side in (samples, real)]
        n = min(len(sides[0]), len(sides[1]), MOST_PER_CLASS)
        if n >= 2:
            means = [_mean_distance(side[some(len(side), n, stream)]) for side in sides]
            table[name] = Diversity(samples=means[0], real=means[1])
    return table


def nearest(samples: Labelled, *, train: Labelled, held_out: Labelled, stream: Stream) -> Nearest | None:
    """Whether samples lie nearer to the images that the generator was trained on than to others.

    Both sides are subsampled to the same number of images of every class, because more images lie nearer.
    The search then goes over all classes: a copy under another label is a copy. Equal distances count one
    half. A copy is seen only where its original was drawn: with a quarter of the training images, a generator
    that does nothing but copy has a share of about 0.6. Many held-out images make this sharp.

    The interval is Wilson's for the effective number of samples: those whose nearest image is the same one
    stand or fall together, so that a generator with a single image counts as one sample, not as many.

    Args:
        samples: Generated images, at least one.
        train: Images that the generator was trained on, best one of each patient.
        held_out: Images of other patients from the same places.
        stream: Chooses the images of the larger side.

    Returns:
        None where no class has images on both sides.
    """
    train, held_out = _same_counts(train, held_out, stream)
    if not len(train) or not len(samples):
        return None
    train_N, train_index_N = _nearest(samples.images_NCHW, train.images_NCHW)
    held_out_N, held_out_index_N = _nearest(samples.images_NCHW, held_out.images_NCHW)
    nearer_N = (train_N < held_out_N) + 0.5 * (train_N == held_out_N)
    index_N = np.where(train_N <= held_out_N, train_index_N, len(train) + held_out_index_N)
    share, effective = float(nearer_N.mean()), _effective(index_N)
    return Nearest(
        to_train=_quartiles(train_N),
        to_held_out=_quartiles(held_out_N),
        nearer_to_train=proportion(share * effective, (1 - share) * effective),
    )


def _same_counts(a: Labelled, b: Labelled, stream: Stream) -> tuple[Labelled, Labelled]:
    """Both with the smaller number of images of every class."""
    classes = int(max(a.label_N.max(initial=0), b.label_N.max(initial=0))) + 1
    n_K = np.minimum(a.counts(classes), b.counts(classes))
    return _reduced(a, n_K, stream), _reduced(b, n_K, stream)


def _reduced(data: Labelled, n_K: npt.NDArray[np.int64], stream: Stream) -> Labelled:
    rows = [np.flatnonzero(data.label_N == label) for label in range(len(n_K))]
    return data.at(
        np.concatenate([row[some(len(row), n, stream)] for row, n in zip(rows, n_K.tolist(), strict=True)])
    )


def _effective(index_N: npt.NDArray[np.int64]) -> float:
    """Kish's effective number of samples, those with one index being one cluster."""
    counts = np.bincount(index_N).astype(np.float64)
    return float(counts.sum() ** 2 / np.square(counts).sum())


def _mean_distance(images_NCHW: Images) -> float:
    """The mean over all pairs of different images."""
    n = len(images_NCHW)
    total = sum(float(distance_AB.sum()) for _, _, distance_AB in _blocks(images_NCHW, images_NCHW))
    return total / (n * (n - 1))  # an image adds nothing for itself


def _nearest(samples: Images, real: Images) -> tuple[Floats, npt.NDArray[np.int64]]:
    """The distance of each sample to its nearest real image, and the index of that."""
    least_N, index_N = np.full(len(samples), np.inf), np.zeros(len(samples), np.int64)
    for rows, columns, distance_AB in _blocks(samples, real):
        found_A = distance_AB.argmin(axis=1)
        value_A = distance_AB.min(axis=1)
        closer_A = value_A < least_N[rows]
        least_N[rows] = np.where(closer_A, value_A, least_N[rows])
        index_N[rows] = np.where(closer_A, columns.start + found_A, index_N[rows])
    return least_N, index_N


def _blocks(a: Images, b: Images) -> Iterator[tuple[slice, slice, Floats]]:
    """Distances of all images of ``a`` to all of ``b``, block by block, with the rows and columns of each."""
    values = a[0].size
    size = min(max(1, _BLOCK_VALUES // values), 1024)
    for rows in _slices(len(a), size):
        a_AP = a[rows].reshape(-1, values).astype(np.float64)
        for columns in _slices(len(b), size):
            b_BP = b[columns].reshape(-1, values).astype(np.float64)
            squares_AB = np.square(a_AP).sum(axis=1)[:, None] + np.square(b_BP).sum(axis=1)
            squares_AB -= 2 * (a_AP @ b_BP.T)
            yield rows, columns, np.sqrt(np.maximum(squares_AB, 0) / values)


def _slices(n: int, size: int) -> Iterator[slice]:
    return (slice(begin, min(begin + size, n)) for begin in range(0, n, size))


def _quartiles(distance_N: Floats) -> Triple:
    low, middle, high = np.quantile(distance_N, _QUARTILES).tolist()
    return low, middle, high
