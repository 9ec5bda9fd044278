"""Which objects are images that a study can use: checks on attributes, before a pixel is touched.

Rules:

* One image, one frame; no picture of a screen, no text burned in.
* One grey value per pixel, or three colours of 8 bits, as the plan says; never one turned into the other.
* A plan without a scale (``spacing_mm`` 0) reads photographs, most of which have none. Only the ratio of
  their pixels' sides counts then, for all files alike: to use the spacing of those that have one would give
  two fields of view in one study.
* DERIVED and SECONDARY in Image Type say nothing: archives write them when they re-encode an original.
* Sizes are refused here, before anything is decoded.

Endoscopic images are not read: most have the patient's name in a corner and do not say so.

Not here: the identity of patient and scan (``identity``), what the pixels hold (``pixels``).

Privacy: a refusal carries a code and an attribute's number, not its value.

References: DICOM PS3.3 A.2 (CR), A.3 (CT), A.4 (MR), A.26 (DX), A.27 (MG), A.32 (visible light),
C.7.6.1.1.2 (Image Type), C.7.6.3 (Image Pixel), C.8.11.7 (For Presentation and For Processing), 10.7.1.3
(spacing); PS3.5 section 8.2 (which photometric interpretation each encoding may have).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pydicom import uid
from pydicom.dataset import Dataset

from wardround_client.ingest import limits
from wardround_client.ingest.dataset import reals, text, texts, whole
from wardround_client.ingest.reasons import Refusal
from wardround_common.plan import InputPlan

_IMAGES: dict[str, str] = {
    uid.ComputedRadiographyImageStorage: "CR",
    uid.CTImageStorage: "CT",
    uid.DigitalMammographyXRayImageStorageForPresentation: "MG",
    uid.DigitalXRayImageStorageForPresentation: "DX",
    uid.MRImageStorage: "MR",
    uid.VLMicroscopicImageStorage: "GM",
    uid.VLPhotographicImageStorage: "XC",
    uid.DermoscopicPhotographyImageStorage: "XC",
}
_SAME_MODALITY = {"DMS": "XC"}  # dermoscopy has a term of its own, which older files do not use
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422")
_COLOURS_J2K = ("RGB", "YBR_ICT", "YBR_RCT")
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
    """Distance between rows, then between columns. Where the plan has no scale only their ratio counts."""
    photometric: str = "MONOCHROME2"
    """PhotometricInterpretation: an attribute of the file, on which the decoding of colours depends."""
    samples: int = 1
    """Values per pixel: 1 (grey) or 3 (colour)."""

    @property
    def stored_range(self) -> tuple[int, int]:
        """Smallest and largest value that ``bits_stored`` can hold."""
        if self.signed:
            return -(1 << self.bits_stored - 1), (1 << self.bits_stored - 1) - 1
        return 0, (1 << self.bits_stored) - 1

    @property
    def decoded_bytes(self) -> int:
        """Bytes of the image as an array."""
        return self.rows * self.columns * self.samples * self.bits_allocated // 8

    @property
    def native_bytes(self) -> int:
        """Bytes of the image in a file that is not compressed (two pixels may share their chroma)."""
        return self.decoded_bytes * 2 // 3 if self.photometric == "YBR_FULL_422" else self.decoded_bytes


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
    stated = text(dataset, "Modality")
    if not (modality == _IMAGES[sop_class] == _SAME_MODALITY.get(stated, stated)):
        raise Refusal("modality.other", "Modality")
    image_type = tuple(value.upper() for value in texts(dataset, "ImageType"))
    if "SCREEN SAVE" in image_type[2:]:
        raise Refusal("object.secondary_capture", "ImageType")
    if "LOCALIZER" in image_type[2:]:
        raise Refusal("object.localizer", "ImageType")
    if text(dataset, "BurnedInAnnotation").upper() == "YES":
        raise Refusal("annotation.burned_in", "BurnedInAnnotation")


def check_pixels(dataset: Dataset, *, plan: InputPlan) -> PixelFormat:
    """Refuse images whose form ``plan`` cannot use; return the form of the others.

    Raises:
        Refusal: With the first rule that the image breaks.
    """
    if "PixelData" not in dataset:
        raise Refusal("pixels.missing", "PixelData")
    if whole(dataset, "NumberOfFrames", default=1) != 1:
        raise Refusal("pixels.multiframe", "NumberOfFrames")
    photometric = _grey(dataset) if plan.channels == 1 else _colour(dataset)
    form = PixelFormat(
        rows=_side(dataset, "Rows"),
        columns=_side(dataset, "Columns"),
        bits_allocated=whole(dataset, "BitsAllocated"),
        bits_stored=whole(dataset, "BitsStored"),
        signed=whole(dataset, "PixelRepresentation") == 1,
        inverted=photometric == "MONOCHROME1",
        spacing_mm=_spacing(dataset) if plan.spacing_mm else _ratio(dataset),
        photometric=photometric,
        samples=plan.channels,
    )
    if form.decoded_bytes > limits.MAX_DECODED_BYTES:
        raise Refusal("limit.decoded_bytes", "Rows")
    _check_bits(dataset, form)
    return form


def _grey(dataset: Dataset) -> str:
    """The photometric interpretation of an image of one grey value per pixel."""
    photometric = text(dataset, "PhotometricInterpretation")
    if whole(dataset, "SamplesPerPixel", default=1) != 1:
        raise Refusal("pixels.colour", "SamplesPerPixel")
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise Refusal("pixels.colour", "PhotometricInterpretation")
    return photometric


def _colour(dataset: Dataset) -> str:
    """The photometric interpretation of an image of three colours, one that its encoding may have."""
    photometric, samples = text(dataset, "PhotometricInterpretation"), whole(dataset, "SamplesPerPixel")
    if samples == 1 and photometric in ("MONOCHROME1", "MONOCHROME2"):
        raise Refusal("pixels.grey", "SamplesPerPixel")
    syntax = dataset.file_meta.TransferSyntaxUID
    known = _COLOURS_J2K if syntax in uid.JPEG2000TransferSyntaxes else _COLOURS
    if samples != 3 or photometric not in known:
        raise Refusal("pixels.colour_model", "PhotometricInterpretation")
    if not syntax.is_encapsulated:  # a codestream knows how its samples are ordered
        planar = whole(dataset, "PlanarConfiguration")
        if planar not in ((0,) if photometric == "YBR_FULL_422" else (0, 1)):
            raise Refusal("pixels.format", "PlanarConfiguration")
        if photometric == "YBR_FULL_422" and whole(dataset, "Columns") % 2:
            raise Refusal("pixels.format", "Columns")
    return photometric


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
    if form.samples > 1 and (form.bits_allocated, form.bits_stored, form.signed) != (8, 8, False):
        raise Refusal("pixels.format", "BitsStored")


def _spacing(dataset: Dataset) -> tuple[float, float]:
    """PixelSpacing (in the patient, or calibrated), else ImagerPixelSpacing (at the detector)."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        spacing = reals(dataset, keyword)
        if spacing:
            return _pair(spacing, keyword)
    raise Refusal("spacing.missing", "PixelSpacing")


def _ratio(dataset: Dataset) -> tuple[float, float]:
    """Height and width of a pixel by PixelSpacing, else by PixelAspectRatio in no unit, else 1 and 1."""
    spacing = reals(dataset, "PixelSpacing")
    if spacing:
        return _pair(spacing, "PixelSpacing")
    ratio = reals(dataset, "PixelAspectRatio") or (1.0, 1.0)
    if len(ratio) == 2 and ratio[1] > 0:  # else refused
        ratio = (ratio[0] / ratio[1], 1.0)
    return _pair(ratio, "PixelAspectRatio")


def _pair(sides: tuple[float, ...], keyword: str) -> tuple[float, float]:
    """Height and width of a pixel, checked."""
    if len(sides) != 2 or not all(
        math.isfinite(mm) and limits.MIN_SPACING_MM <= mm <= limits.MAX_SPACING_MM for mm in sides
    ):
        raise Refusal("spacing.invalid", keyword)
    return sides[0], sides[1]
