"""Integer noise: what turns a clipped sum, or counts of patients, into something that may be shown.

A private number is first brought onto a grid that the plan fixes, then an integer Gaussian is added *in
units of the grid*. Integers have no low-order bits that could tell what lies under the noise (see
``streams``).

Not here: clipping (the caller guarantees it), masking, quantisation to the ring, accounting.

Privacy: the results of ``grid_sum`` and ``noisy_counts`` are the released numbers; each call is one Gaussian
mechanism with the noise multiplier it was given and is paid for before it happens (``ledger``). Everything
computed from them without patients is free.

References:
    Mironov, CCS 2012; Kairouz, Liu, Steinke, ICML 2021 section 3 (rounding and sensitivity).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from wardround_common.errors import PrivacyError
from wardround_common.streams import Stream, rounded_normal

CLIP_SLACK: Final = 1 + 2.0**-13
"""One patient's contribution may exceed the clip by this factor: it pays for float32 rounding in the clip
factor and for float64 rounding in the sum, and costs 0.012 % of noise."""

_LARGEST_LEVEL: Final = 2.0**52


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """The integer grid of a sum of ``size`` coordinates.

    Attributes:
        step: Distance of two levels, ``max_grad_norm / (grid_levels * sqrt(size))``.
        sensitivity: Largest L2 distance, in levels, of the rounded sums of two neighbours (one patient
            added or removed): ``grid_levels * sqrt(size)`` for the patient, ``sqrt(size)`` for the
            rounding, which moves each coordinate of either sum by at most half a level.
    """

    step: float
    sensitivity: float

    @classmethod
    def of(cls, size: int, *, max_grad_norm: float, grid_levels: int) -> Grid:
        """Return the grid that the plan's clip and ``grid_levels`` define for ``size`` parameters."""
        if size < 1 or grid_levels < 1 or not 0 < max_grad_norm < math.inf:
            raise ValueError("a grid needs at least one coordinate, one level and a positive clip")
        levels_per_clip = grid_levels * math.sqrt(size)
        sensitivity = levels_per_clip * CLIP_SLACK + math.sqrt(size)
        return cls(step=max_grad_norm / levels_per_clip, sensitivity=sensitivity)


def grid_sum(
    stream: Stream,
    clipped_sum_P: npt.NDArray[np.float64],
    *,
    max_grad_norm: float,
    grid_levels: int,
    noise_multiplier: float,
) -> npt.NDArray[np.float64]:
    """Round a clipped sum to the plan's grid and add integer Gaussian noise.

    Formal guarantees: if every patient's term in the sum has an L2 norm of at most ``max_grad_norm *
    CLIP_SLACK``, the result is a Gaussian mechanism of the given noise multiplier, for adding or removing one
    patient, followed by post-processing. (``rint(sum / step)`` has the sensitivity of ``Grid``; adding a
    rounded Gaussian to integers is rounding their sum with a continuous one.) The result is a multiple of
    ``Grid.step`` and has no other low-order bits.

    ======================  ===========================================================
    edge case               result
    ======================  ===========================================================
    empty batch             pass the zero vector: it is noised like any other
    one coordinate          right: sensitivity is ``grid_levels + 1`` levels
    NaN or infinity         refused: a row without a finite gradient must count as zero
    more than 2**52 levels  refused: integers would not be exact
    float32 sum             refused: physical batches are summed in float64
    ======================  ===========================================================

    Args:
        stream: The noise stream of this step; used for nothing else.
        clipped_sum_P: Float64 sum of the clipped gradients, flattened; not changed.
        max_grad_norm: The plan's clip C.
        grid_levels: The plan's levels per clip and square root of the dimension.
        noise_multiplier: Standard deviation over sensitivity, above 0.

    Returns:
        Float64 vector of the same length.

    Raises:
        PrivacyError: ``privacy.not_finite`` or ``privacy.off_grid`` for a sum that cannot be put on the grid.
        ValueError: Wrong type or shape, or an argument out of range.
    """
    if clipped_sum_P.dtype != np.float64 or clipped_sum_P.ndim != 1:
        raise ValueError("a clipped sum is one float64 vector")
    grid = Grid.of(clipped_sum_P.size, max_grad_norm=max_grad_norm, grid_levels=grid_levels)
    levels_P = _round_to_levels(clipped_sum_P, step=grid.step)
    levels_P += rounded_normal(stream, levels_P.size, sd=noise_multiplier * grid.sensitivity)
    return levels_P * np.float64(grid.step)


def noisy_counts(
    stream: Stream,
    counts: npt.NDArray[np.int64],
    *,
    noise_multiplier: float,
    levels_per_patient: int,
) -> npt.NDArray[np.int64]:
    """Add integer Gaussian noise to counts of patients, in levels of ``1 / levels_per_patient`` patient.

    Formal guarantees: if one patient changes the counts by at most 1 in L2 norm (it is counted in one
    cell), the result is a Gaussian mechanism of the given noise multiplier followed by rounding, for adding
    or removing one patient. Counts are integers already: no rounding enters the sensitivity.

    ==============  ==========================================
    edge case       result
    ==============  ==========================================
    no patients     pass zeros: they are noised like any other
    no cells        empty array
    negative noise  results may be negative; never clipped here
    ==============  ==========================================

    Args:
        stream: The noise stream of this histogram; used for nothing else.
        counts: Int64 counts of any shape; not changed.
        noise_multiplier: Standard deviation in patients, above 0.
        levels_per_patient: Ring levels that stand for one patient, at least 1.

    Returns:
        Int64 levels, shaped as ``counts``; divide by ``levels_per_patient`` for patients.

    Raises:
        ValueError: Wrong type, or an argument out of range.
    """
    if counts.dtype != np.int64:
        raise ValueError("counts are int64")
    if levels_per_patient < 1:
        raise ValueError(f"a patient has at least one level, got {levels_per_patient}")
    noise = rounded_normal(stream, counts.size, sd=noise_multiplier * levels_per_patient)
    return counts * levels_per_patient + noise.reshape(counts.shape)


def _round_to_levels(clipped_sum_P: npt.NDArray[np.float64], *, step: float) -> npt.NDArray[np.int64]:
    scaled_P = clipped_sum_P / step
    if not np.isfinite(scaled_P).all():
        raise PrivacyError(
            "expected a finite clipped sum, got NaN or infinity",
            remedy="Stop the study at this site and report its model and recipe: clipping drops such rows.",
            code="privacy.not_finite",
        )
    if np.abs(scaled_P).max() >= _LARGEST_LEVEL:
        raise PrivacyError(
            "expected a clipped sum within 2**52 grid levels, got a larger one",
            remedy="Lower privacy.grid_levels in the plan: sums of this size do not fit its grid.",
            code="privacy.off_grid",
        )
    return np.rint(scaled_P, out=scaled_P).astype(np.int64)
