"""From the file's pixel spacing to the plan's: one physical scale and one field of view at all sites.

The tensor is a square of ``size_px`` pixels of ``spacing_mm``, centred on the image. What lies outside is cut
off, what the image does not cover is 0 (the low end of the window: air, or unexposed). Channels of
a colour image are resampled one by one. Resampling averages
over the area of a target pixel, so detail that is too fine does not alias.

Not here: orientation. Rows stay rows and columns stay columns, as stored.

Privacy: the result is the patient's image.

References: DICOM PS3.3 10.7.1.3 (PixelSpacing: first between rows, then between columns).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

Image = npt.NDArray[np.float32]


class _Axis(NamedTuple):
    """Which pixels of the tensor an image covers, and from which stretch of the image they come."""

    start: int
    stop: int
    source_start: float
    source_stop: float


def resample(image_HW: Image, *, spacing_mm: tuple[float, float], target_mm: float, size_px: int) -> Image:
    """Bring an image to a common scale and size.

    Args:
        image_HW: Values 0 to 1.
        spacing_mm: Distance between its rows, and between its columns.
        target_mm: Edge of a pixel of the result.
        size_px: Height and width of the result.

    Returns:
        ``x_HW`` of ``size_px`` squared, values 0 to 1. The border between image and padding is exact to half
        a pixel.
    """
    rows, columns = image_HW.shape
    down = _axis(rows, spacing_mm[0], target_mm, size_px)
    across = _axis(columns, spacing_mm[1], target_mm, size_px)
    part = Pillow.fromarray(np.ascontiguousarray(image_HW)).resize(
        (across.stop - across.start, down.stop - down.start),
        Pillow.Resampling.BILINEAR,
        box=(across.source_start, down.source_start, across.source_stop, down.source_stop),
    )
    result_HW = np.zeros((size_px, size_px), np.float32)
    result_HW[down.start : down.stop, across.start : across.stop] = np.asarray(part)
    return np.clip(result_HW, 0, 1, out=result_HW)


def filling_mm(rows: int, columns: int, spacing_mm: tuple[float, float], *, size_px: int) -> float:
    """The pixel with which the shorter side of an image fills the tensor; the longer one is cut at both ends.

    For photographs, whose files rarely have a spacing: any pair with the ratio of a pixel's sides will do.
    """
    return min(rows * spacing_mm[0], columns * spacing_mm[1]) / size_px


def _axis(length: int, source_mm: float, target_mm: float, size_px: int) -> _Axis:
    """One axis of an image of ``length`` pixels, centred in ``size_px`` pixels."""
    scale = target_mm / source_mm
    first = (length - size_px * scale) / 2
    half = length / scale / 2
    start = min(max(round(size_px / 2 - half), 0), (size_px - 1) // 2)
    stop = max(min(round(size_px / 2 + half), size_px), start + 1)
    return _Axis(start, stop, max(first + start * scale, 0.0), min(first + stop * scale, float(length)))
