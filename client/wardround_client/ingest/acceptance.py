"""Which objects are images that a study can use: checks on attributes, before a pixel is touched.

Rules:

* One image, one frame, one grey value per pixel; no picture of a screen, no text burned in.
* DERIVED and SECONDARY in Image Type say nothing: archives write them when they re-encode an original.
* Sizes are refused here, before anything is decoded.

Not here: the identity of patient and scan (``identity``), what the pixels hold (``pixels``).

Privacy: a refusal carries a code and an attribute's number, not its value.

References: DICOM PS3.3 A.2 (CR), A.3 (CT), A.4 (MR), A.26 (DX), A.27 (MG), C.7.6.1.1.2 (Image Type),
C.7.6.3 (Image Pixel), C.8.11.7 (For Presentation and For Processing), 10.7.1.3 (spacing).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pydicom import uid
from pydicom.dataset import Dataset

from wardround_client.ingest import limits
from wardround_client.ingest.dataset import reals, text, texts, whole
from wardround_client.ingest.reasons import Refusal

_IMAGES: dict[str, str] = {
    uid.ComputedRadiographyImageStorage: "CR",
    uid.CTImageStorage: "CT",
    uid.DigitalMammographyXRayImageStorageForPresentation: "MG",
    uid.DigitalXRayImageStorageForPresentation: "DX",
    uid.MRImageStorage: "MR",
}
_SECONDARY_CAPTURES: frozenset[str] = frozenset(
    (
        uid.SecondaryCaptureImageStorage,
        uid.MultiFrameSingleBitSecondaryCaptureImageStorage,
        uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
        uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
        uid.MultiFrameTrueColorSecondaryCaptureImageStorage,
    )
)


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelFormat:
    """How the pixels of an accepted image are stored."""

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    inverted: bool
    """MONOCHROME1: low values are displayed bright."""
    spacing_mm: tuple[float, float]
    """Distance between rows, then between columns."""

    @property
    def stored_range(self) -> tuple[int, int]:
        """Smallest and largest value that ``bits_stored`` can hold."""
        if self.signed:
            return -(1 << self.bits_stored - 1), (1 << self.bits_stored - 1) - 1
        return 0, (1 << self.bits_stored) - 1

    @property
    def decoded_bytes(self) -> int:
        """Bytes of the image as an array."""
        return self.rows * self.columns * self.bits_allocated // 8


def check_object(dataset: Dataset, *, modality: str) -> None:
    """Refuse objects that are no original image of ``modality``.

    Raises:
        Refusal: With the first rule that the object breaks.
    """
    sop_class = text(dataset, "SOPClassUID")
    if sop_class in _SECONDARY_CAPTURES:
        raise Refusal("object.secondary_capture", "SOPClassUID")
    if sop_class not in _IMAGES:
        raise Refusal("object.unsupported", "SOPClassUID")
    if not (modality == _IMAGES[sop_class] == text(dataset, "Modality")):
        raise Refusal("modality.other", "Modality")
    image_type = tuple(value.upper() for value in texts(dataset, "ImageType"))
    if "SCREEN SAVE" in image_type[2:]:
        raise Refusal("object.secondary_capture", "ImageType")
    if "LOCALIZER" in image_type[2:]:
        raise Refusal("object.localizer", "ImageType")
    if text(dataset, "BurnedInAnnotation").upper() == "YES":
        raise Refusal("annotation.burned_in", "BurnedInAnnotation")


def check_pixels(dataset: Dataset) -> PixelFormat:
    """Refuse images whose form cannot be used; return the form of the others.

    Raises:
        Refusal: With the first rule that the image breaks.
    """
    if "PixelData" not in dataset:
        raise Refusal("pixels.missing", "PixelData")
    if whole(dataset, "NumberOfFrames", default=1) != 1:
        raise Refusal("pixels.multiframe", "NumberOfFrames")
    photometric = text(dataset, "PhotometricInterpretation")
    if whole(dataset, "SamplesPerPixel", default=1) != 1:
        raise Refusal("pixels.colour", "SamplesPerPixel")
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise Refusal("pixels.colour", "PhotometricInterpretation")
    form = PixelFormat(
        rows=_side(dataset, "Rows"),
        columns=_side(dataset, "Columns"),
        bits_allocated=whole(dataset, "BitsAllocated"),
        bits_stored=whole(dataset, "BitsStored"),
        signed=whole(dataset, "PixelRepresentation") == 1,
        inverted=photometric == "MONOCHROME1",
        spacing_mm=_spacing(dataset),
    )
    if form.decoded_bytes > limits.MAX_DECODED_BYTES:
        raise Refusal("limit.decoded_bytes", "Rows")
    _check_bits(dataset, form)
    return form


def _side(dataset: Dataset, keyword: str) -> int:
    side = whole(dataset, keyword)
    if not 1 <= side <= limits.MAX_SIDE_PX:
        raise Refusal("limit.size_px", keyword)
    return side


def _check_bits(dataset: Dataset, form: PixelFormat) -> None:
    if form.bits_allocated not in (8, 16, 32):
        raise Refusal("pixels.format", "BitsAllocated")
    if not 1 <= form.bits_stored <= form.bits_allocated:
        raise Refusal("pixels.format", "BitsStored")
    if whole(dataset, "HighBit", default=form.bits_stored - 1) != form.bits_stored - 1:
        raise Refusal("pixels.format", "HighBit")
    if whole(dataset, "PixelRepresentation") not in (0, 1):
        raise Refusal("pixels.format", "PixelRepresentation")


def _spacing(dataset: Dataset) -> tuple[float, float]:
    """PixelSpacing (in the patient, or calibrated), else ImagerPixelSpacing (at the detector)."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        spacing = reals(dataset, keyword)
        if not spacing:
            continue
        if len(spacing) != 2 or not all(
            math.isfinite(mm) and limits.MIN_SPACING_MM <= mm <= limits.MAX_SPACING_MM for mm in spacing
        ):
            raise Refusal("spacing.invalid", keyword)
        return spacing[0], spacing[1]
    raise Refusal("spacing.missing", "PixelSpacing")
