"""Decode the pixels of an accepted image and turn them into the tensor of the plan.

Not here: which images are accepted (``acceptance``), what the steps do (``intensity``, ``geometry``).

Rules:

* A compressed frame is checked before a decoder sees it (``codestream``), and decoded in another process
  (``isolation``).
* Whatever pydicom raises becomes ``pixels.undecodable``; its text is dropped, as it may quote the file.

Privacy: the result is the patient's image.

References: DICOM PS3.5 section 8 (encoding of pixels), annex A.4 (fragments).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.utils import pixel_array

from wardround_client.ingest.acceptance import PixelFormat
from wardround_client.ingest.codestream import check_frame
from wardround_client.ingest.geometry import filling_mm, resample
from wardround_client.ingest.intensity import Image, Stored, colour, grey
from wardround_client.ingest.isolation import Decoder
from wardround_client.ingest.reasons import Refusal
from wardround_common.plan import InputPlan

T = TypeVar("T")


def tensor(dataset: Dataset, form: PixelFormat, *, plan: InputPlan, decoder: Decoder) -> Image:
    """The image of a file as the plan wants it.

    Args:
        dataset: The attributes and the encoded pixels.
        form: How the pixels are stored.
        plan: Size, spacing and window.
        decoder: Decodes compressed pixels.

    Returns:
        ``x_CHW``, values 0 to 1: one channel of grey, or red, green and blue.

    Raises:
        Refusal: The pixels cannot be decoded, or rescale, window or a table is unusable.
        IngestError: The decoder process does not start.
    """
    stored = _decode(dataset, form, decoder)
    target_mm = plan.spacing_mm or filling_mm(form.rows, form.columns, form.spacing_mm, size_px=plan.size_px)
    if form.samples == 1:
        channels = iter([grey(stored, dataset, form, plan=plan)])
    else:  # one after the other: floats need four times the memory
        channels = (colour(stored[:, :, c]) for c in range(form.samples))
    return np.stack(
        [
            resample(image_HW, spacing_mm=form.spacing_mm, target_mm=target_mm, size_px=plan.size_px)
            for image_HW in channels
        ]
    )


def _decode(dataset: Dataset, form: PixelFormat, decoder: Decoder) -> Stored:
    """Stored values, rows by columns; of a colour image, by red, green, blue."""
    encoded = _guarded(lambda: dataset.PixelData)
    if not isinstance(encoded, bytes):
        raise Refusal("value.malformed", "PixelData")
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        check_frame(_guarded(lambda: get_frame(encoded, 0, number_of_frames=1)), syntax, form)
        return decoder.decode(encoded, syntax, form)
    if len(encoded) < form.native_bytes:
        raise Refusal("file.truncated", "PixelData")
    return _guarded(lambda: pixel_array(dataset, index=0))  # converts YBR to RGB


def _guarded(work: Callable[[], T]) -> T:
    """The result of ``work`` by pydicom; a refusal where it fails."""
    try:
        return work()
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - pydicom documents no set of exceptions
        raise Refusal("pixels.undecodable", "PixelData") from None
