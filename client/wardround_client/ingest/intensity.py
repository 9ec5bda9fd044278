"""From stored values to the range 0 to 1 that a model sees: modality units, window, polarity, padding.

Stored values become modality units (rescale, or the modality look-up table), then one of:

* window ``fixed`` (a plan constant, in modality units; for CT Hounsfield units): the grey value is the place
  in the window. MONOCHROME1 changes **nothing** here. PS3.3 C.7.6.3.1.2 makes the photometric interpretation
  a matter of display after the VOI transformation, while C.11.1 makes rescaled values physical: -1000 HU is
  air in either. A site whose files invert stored values must carry the inversion in a negative rescale
  slope; then its units are right, and it agrees with all other sites.
* window ``file`` (projection radiographs, whose units are arbitrary): the file's own window, else its VOI
  look-up table, else the range of BitsStored. The result is a display value, so MONOCHROME1 is inverted
  afterwards, and bone is bright at every site.

Pixels that the file marks as padding become 0 (black) in the end.

Colours are display values already: 0 to 255 become 0 to 1. Windows, look-up tables and padding are defined
for grey values only. An ICC profile is not applied.

Not here: decoding, geometry.

Rules:

* Nothing is derived from the values of an image: no minimum, maximum, mean or percentile. The same value in
  two files of one site gives the same grey.
* Of several windows the first counts; a window goes before a VOI look-up table, as only it is comparable
  between vendors.

Privacy: the result is the patient's image.

References: DICOM PS3.3 C.7.6.3.1.2 (Photometric Interpretation), C.7.5.1.1.2 (Pixel Padding Value), C.11.1
(Modality LUT), C.11.2.1.1 (LUT descriptor), C.11.2.1.2 and C.11.2.1.3 (LINEAR, LINEAR_EXACT, SIGMOID).
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from scipy.special import expit

from wardround_client.ingest import limits
from wardround_client.ingest.acceptance import PixelFormat
from wardround_client.ingest.dataset import reals, text, whole
from wardround_client.ingest.reasons import Refusal
from wardround_common.plan import InputPlan

Image = npt.NDArray[np.float32]
Stored = npt.NDArray[np.integer]


def grey(stored_HW: Stored, dataset: Dataset, form: PixelFormat, *, plan: InputPlan) -> Image:
    """Grey values of an image.

    Args:
        stored_HW: Stored values, sign and unused bits already settled.
        dataset: The attributes of the file.
        form: How its pixels are stored.
        plan: ``window`` "fixed" with centre and width in modality units, or "file".

    Returns:
        ``x_HW``, 0 to 1. For one file it increases with the modality units (window ``fixed``), or with the
        brightness that the file asks for (window ``file``).

    Raises:
        Refusal: Rescale, window or a look-up table is invalid or missing.
    """
    units_HW, span = _modality_units(stored_HW, dataset, form)
    if plan.window == "fixed":
        if plan.modality == "CT":
            _check_hounsfield(dataset)
        image_HW = linear(units_HW, plan.window_center, plan.window_width)
    else:
        image_HW = _displayed(units_HW, dataset, span)
        if form.inverted:
            image_HW = np.float32(1) - image_HW
    if not np.isfinite(image_HW).all():
        raise Refusal("window.invalid", "WindowWidth")
    padding_HW = _padding(stored_HW, dataset)
    if padding_HW is not None:
        image_HW[padding_HW] = 0
    return image_HW


def colour(stored_HW: Stored) -> Image:
    """One of the three channels of a colour image, 8 bits, as 0 to 1."""
    return cast(Image, stored_HW.astype(np.float32) / np.float32(255))


def linear(units: Image, center: float, width: float) -> Image:
    """Place in a window: 0 up to ``center - width / 2``, 1 from ``center + width / 2`` on (LINEAR_EXACT)."""
    return cast(Image, np.clip((units - np.float32(center)) / np.float32(width) + np.float32(0.5), 0, 1))


def _modality_units(
    stored_HW: Stored, dataset: Dataset, form: PixelFormat
) -> tuple[Image, tuple[float, float]]:
    """Values in modality units, and the smallest and largest that the format of the file could hold."""
    table = _table(dataset, "ModalityLUTSequence")
    if table is not None:
        values, first, top = table
        return _looked_up(stored_HW.astype(np.int64), values, first), (0, top)
    slope = _number(dataset, "RescaleSlope", 1, code="rescale.invalid")
    intercept = _number(dataset, "RescaleIntercept", 0, code="rescale.invalid")
    if abs(slope) < limits.MIN_NUMBER:
        raise Refusal("rescale.invalid", "RescaleSlope")
    units_HW = stored_HW.astype(np.float32)
    units_HW *= np.float32(slope)
    units_HW += np.float32(intercept)
    low, high = sorted(value * slope + intercept for value in form.stored_range)
    return units_HW, (low, high)


def _check_hounsfield(dataset: Dataset) -> None:
    """Refuse a CT image whose units are unknown or others than Hounsfield units."""
    if dataset.get("ModalityLUTSequence"):
        raise Refusal("rescale.units", "ModalityLUTSequence")
    for keyword in ("RescaleSlope", "RescaleIntercept"):
        if not reals(dataset, keyword):
            raise Refusal("rescale.missing", keyword)
    if text(dataset, "RescaleType").upper() not in ("", "HU"):
        raise Refusal("rescale.units", "RescaleType")


def _displayed(units_HW: Image, dataset: Dataset, span: tuple[float, float]) -> Image:
    """Display values by the file's window, else its VOI look-up table, else ``span``."""
    if reals(dataset, "WindowCenter") or reals(dataset, "WindowWidth"):
        return _windowed(units_HW, dataset)
    table = _table(dataset, "VOILUTSequence")
    if table is not None:
        values, first, top = table
        return _looked_up(np.rint(units_HW).astype(np.int64), values, first) / np.float32(top)
    low, high = span
    return linear(units_HW, (low + high) / 2, high - low)


def _windowed(units_HW: Image, dataset: Dataset) -> Image:
    center = _number(dataset, "WindowCenter", math.nan, code="window.invalid")
    width = _number(dataset, "WindowWidth", math.nan, code="window.invalid")
    function = text(dataset, "VOILUTFunction").upper() or "LINEAR"
    if function == "LINEAR" and width >= 1:
        center, width = center - 0.5, width - 1
        return linear(units_HW, center, width) if width else (units_HW > center).astype(np.float32)
    if function == "LINEAR_EXACT" and width >= limits.MIN_NUMBER:
        return linear(units_HW, center, width)
    if function == "SIGMOID" and width >= limits.MIN_NUMBER:
        return cast(Image, expit((units_HW - np.float32(center)) * np.float32(4 / width)))
    known = function in ("LINEAR", "LINEAR_EXACT", "SIGMOID")
    raise Refusal("window.invalid", "WindowWidth" if known else "VOILUTFunction")


def _number(dataset: Dataset, keyword: str, default: float, *, code: str) -> float:
    """The first value of an attribute; refused where it is not finite or too large."""
    value = (*reals(dataset, keyword), default)[0]
    if not math.isfinite(value) or abs(value) > limits.MAX_NUMBER:
        raise Refusal(code, keyword)
    return value


def _table(dataset: Dataset, keyword: str) -> tuple[Image, int, int] | None:
    """The first look-up table of a sequence: entries, first value mapped, largest value of an entry."""
    try:
        sequence = dataset.get(keyword)
        if not sequence:
            return None
        entries, first, bits = (int(number) for number in sequence[0].LUTDescriptor)
        entries = entries or 1 << 16
        data = sequence[0].LUTData
        if isinstance(data, bytes):
            order = "<" if dataset.file_meta.TransferSyntaxUID.is_little_endian else ">"
            packed = bits <= 8 and len(data) < 2 * entries
            data = np.frombuffer(data, "u1" if packed else order + "u2")
        values = np.asarray(data, np.float32)[:entries]
    except Exception:  # noqa: BLE001 - pydicom documents no set of exceptions
        raise Refusal("lut.invalid", keyword) from None
    top = (1 << bits) - 1 if 8 <= bits <= 16 else 0
    if values.shape != (entries,) or not 0 <= values.min() <= values.max() <= top:
        raise Refusal("lut.invalid", keyword)
    return values, first, top


def _looked_up(values_HW: npt.NDArray[np.int64], table: Image, first: int) -> Image:
    return table[np.clip(values_HW - first, 0, len(table) - 1)]


def _padding(stored_HW: Stored, dataset: Dataset) -> npt.NDArray[np.bool_] | None:
    """Where the file says that there is no image."""
    if not text(dataset, "PixelPaddingValue"):
        return None
    value = whole(dataset, "PixelPaddingValue")
    other = whole(dataset, "PixelPaddingRangeLimit", default=value)
    return (stored_HW >= min(value, other)) & (stored_HW <= max(value, other))
