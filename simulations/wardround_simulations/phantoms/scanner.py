"""From a painted chest to the numbers that a scanner stores.

Noise of the hospital's grain, rescaling to stored values, padding outside the reconstruction circle.

Rules:

* Hounsfield units are ``slope * stored + intercept`` at every hospital, MONOCHROME1 included: there the
  slope is negative, so that the smallest stored value is the densest tissue and is meant to be shown white
  (PS3.3 C.7.6.3.1.2), while rescaling alone gives back right units. Photometric interpretation is about
  showing; whoever works in Hounsfield units must not invert a second time.
* Noise is rounded to 1/16 HU, and its grain is a binomial kernel summed in a fixed order: the same values on
  every machine.

Privacy: nothing here comes from a person.
References: DICOM PS3.3 2024e C.7.6.3.1.2, C.7.5.1.1.2, C.8.2.1, C.11.1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wardround_simulations.phantoms.findings import Floats
from wardround_simulations.phantoms.hospitals import Scanner

NOISE_STEPS_PER_HU = 16.0
LOWEST_HU = -1024.0


def acquire(hu_HW: Floats, scanner: Scanner, rng: np.random.Generator) -> NDArray[np.int32]:
    """Scan a painted chest.

    Args:
        hu_HW: Hounsfield units on the scanner's own grid.
        scanner: Noise, rescaling, bits.
        rng: Noise of this image.

    Returns:
        ``stored_HW``: values within ``scanner.bits``, signed as the scanner says.
    """
    noise_HW = rng.standard_normal(hu_HW.shape) * scanner.noise_hu
    noise_HW = np.rint(blurred(noise_HW, scanner.noise_blur) * NOISE_STEPS_PER_HU) / NOISE_STEPS_PER_HU
    seen_HW = np.maximum(hu_HW + noise_HW, LOWEST_HU)
    low, high = stored_range(scanner)
    stored_HW = np.clip(np.rint((seen_HW - scanner.intercept) / scanner.slope), low, high)
    if scanner.padding is not None:
        stored_HW[_outside(scanner.matrix_px)] = scanner.padding
    return stored_HW.astype(np.int32)


def stored_range(scanner: Scanner) -> tuple[int, int]:
    """Smallest and largest value that ``scanner.bits`` hold."""
    if scanner.signed:
        return -(1 << (scanner.bits - 1)), (1 << (scanner.bits - 1)) - 1
    return 0, (1 << scanner.bits) - 1


def blurred(image_HW: Floats, passes: int) -> Floats:
    """``passes`` times the kernel [1, 2, 1] / 4 along both axes; the edge repeats its last value."""
    for _ in range(passes):
        padded_HW = np.pad(image_HW, 1, mode="edge")
        rows_HW = padded_HW[:-2] + 2.0 * padded_HW[1:-1] + padded_HW[2:]
        image_HW = (rows_HW[:, :-2] + 2.0 * rows_HW[:, 1:-1] + rows_HW[:, 2:]) / 16.0
    return image_HW


def _outside(matrix_px: int) -> NDArray[np.bool_]:
    """Pixels outside the circle that the matrix encloses."""
    axis = 2 * np.arange(matrix_px) - (matrix_px - 1)
    outside: NDArray[np.bool_] = axis[:, None] ** 2 + axis[None, :] ** 2 > matrix_px**2
    return outside
