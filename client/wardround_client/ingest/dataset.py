"""From the bytes of a file to a data set that holds the allow-listed attributes and nothing else.

Rules:

* Only attributes in ``ALLOWED`` reach pydicom; all others are skipped as bytes, unread.
* A deflated data set is inflated here, up to a limit (pydicom inflates without one).
* pydicom raises whatever its parsers raise and quotes values of the file in it: every such exception ends in
  ``Refusal`` here, and its loggers and warnings are switched off.

Not here: whether the values are acceptable (``acceptance``), the pixels (``pixels``).

Privacy: what comes out still identifies the patient (PatientID, birth date, sex); it lives only while its
file is read. ``identity`` turns it into keyed hashes.

References: DICOM PS3.5 section 7 and annex A, PS3.10 section 7; PS3.15 annex E (this list is far shorter than
what its profiles retain).
"""

from __future__ import annotations

import io
import logging
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from pydicom import config
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, AllTransferSyntaxes, DeflatedExplicitVRLittleEndian

from wardround_client.ingest import limits
from wardround_client.ingest.reasons import Refusal
from wardround_client.ingest.structure import PIXEL_DATA, Element, Encoding, elements

_OBJECT = ("SpecificCharacterSet", "ImageType", "SOPClassUID", "SOPInstanceUID", "Modality")
_PERSON = ("PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex")
_FORM = ("SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns")
_PLANES = ("PlanarConfiguration", "PixelAspectRatio")
_BITS = ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
_PLACE = ("PixelSpacing", "ImagerPixelSpacing", "BurnedInAnnotation")
_PADDING = ("PixelPaddingValue", "PixelPaddingRangeLimit")
_UNITS = ("RescaleIntercept", "RescaleSlope", "RescaleType")
_WINDOW = ("WindowCenter", "WindowWidth", "VOILUTFunction")
_SHORT = (*_OBJECT, *_PERSON, *_FORM, *_PLANES, *_BITS, *_PLACE, *_PADDING, *_UNITS, *_WINDOW)
_TABLES = ("ModalityLUTSequence", "VOILUTSequence")
ALLOWED = frozenset((*_SHORT, *_TABLES, "PixelData"))
"""Keywords of all attributes that are ever read."""


def _limit(keyword: str) -> int:
    return limits.MAX_TABLE_BYTES if keyword in _TABLES else limits.MAX_VALUE_BYTES


_LIMITS = {tag_for_keyword(keyword): _limit(keyword) for keyword in (*_SHORT, *_TABLES)} | {
    PIXEL_DATA: limits.MAX_INFLATED_BYTES
}
_META = Encoding(implicit=False, little=True)
_TRANSFER_SYNTAX = 0x00020010

for _name in ("pydicom", "pylibjpeg", "openjpeg", "rle", "jpeg_ls", "PIL"):
    # They quote values of the file, and the site's log must not. A filter stays when logging is configured
    # anew; ``disabled`` does not.
    logging.getLogger(_name).addFilter(lambda record: False)


@contextmanager
def quietly() -> Iterator[None]:
    """No warning and no check by pydicom of single values: both quote the value."""
    with warnings.catch_warnings(), config.disable_value_validation():
        warnings.simplefilter("ignore")
        yield


def open_dataset(data: bytes) -> Dataset:
    """The allow-listed attributes of a DICOM file.

    Args:
        data: The whole file.

    Returns:
        A data set with ``file_meta.TransferSyntaxUID``, pixels included, not decoded.

    Raises:
        Refusal: Not DICOM, truncated, damaged, beyond a limit, or encoded in an unknown way.
    """
    if data[128:132] != b"DICM":
        raise Refusal("file.not_dicom")
    syntax, start = _transfer_syntax(data)
    if syntax == DeflatedExplicitVRLittleEndian:
        data, start = _inflate(data[start:]), 0
    encoding = Encoding(implicit=syntax.is_implicit_VR, little=syntax.is_little_endian)
    kept = _allowed(data, elements(data, start, encoding))
    try:
        dataset = read_dataset(io.BytesIO(kept), encoding.implicit, encoding.little)
    except Exception:  # noqa: BLE001 - pydicom documents no set of exceptions
        raise Refusal("file.damaged") from None
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def _transfer_syntax(data: bytes) -> tuple[UID, int]:
    """How the data set is encoded, and where it starts."""
    syntax = ""
    start = 132
    for element in elements(data, start, _META, only_group=0x0002):
        start = element.end
        if element.tag == _TRANSFER_SYNTAX:
            syntax = data[element.value : element.end].rstrip(b"\0 ").decode("ascii", "replace")
    if not syntax:
        raise Refusal("syntax.missing", "TransferSyntaxUID")
    if not decodes(UID(syntax)):
        raise Refusal("syntax.unsupported", "TransferSyntaxUID")
    return UID(syntax), start


def decodes(syntax: UID) -> bool:
    """True where pydicom and the installed plugins have a decoder for ``syntax``."""
    try:
        return get_decoder(syntax).is_available
    except NotImplementedError:
        return False


def decoders() -> dict[str, bool]:
    """For each transfer syntax of the standard, by name: whether a decoder for it is installed."""
    return {syntax.name: decodes(syntax) for syntax in AllTransferSyntaxes}


def _inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(data, limits.MAX_INFLATED_BYTES + 1)
    except zlib.error:
        raise Refusal("file.damaged") from None
    if len(inflated) > limits.MAX_INFLATED_BYTES:
        raise Refusal("limit.inflated_bytes")
    if not inflater.eof:
        raise Refusal("file.truncated")
    return inflated


def _allowed(data: bytes, found: Iterator[Element]) -> bytes:
    """The bytes of the allow-listed elements, headers included."""
    view = memoryview(data)
    kept: list[memoryview] = []
    seen: set[int] = set()
    for element in found:
        limit_bytes = _LIMITS.get(element.tag)
        if limit_bytes is None:
            continue
        if element.end - element.value > limit_bytes:
            raise Refusal("limit.value_bytes")
        if element.tag in seen:  # two values for one attribute: readers would disagree which one counts
            raise Refusal("file.damaged")
        seen.add(element.tag)
        kept.append(view[element.start : element.end])
    return b"".join(kept)


def texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """The values of an attribute as text without padding; empty where it is absent.

    Raises:
        Refusal: The attribute is malformed.
    """
    try:
        value = dataset.get(keyword)
        values = value if isinstance(value, MultiValue | list) else [] if value is None else [value]
        if all(isinstance(one, str | int | float) for one in values):
            return tuple(str(one).strip(" \0") for one in values)
    except Exception:  # noqa: BLE001 - pydicom documents no set of exceptions
        pass
    raise Refusal("value.malformed", keyword)


def text(dataset: Dataset, keyword: str) -> str:
    """The only value of an attribute as text; empty where it is absent.

    Raises:
        Refusal: The attribute is malformed or has several values.
    """
    values = texts(dataset, keyword)
    if len(values) > 1:
        raise Refusal("value.malformed", keyword)
    return values[0] if values else ""


def reals(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """The values of an attribute as numbers (NaN and infinity included); empty where it is absent.

    Raises:
        Refusal: The attribute is malformed.
    """
    try:
        return tuple(float(one) for one in texts(dataset, keyword) if one)
    except ValueError:
        raise Refusal("value.malformed", keyword) from None


def whole(dataset: Dataset, keyword: str, *, default: int | None = None) -> int:
    """The only value of an attribute as an integer; ``default`` where it is absent.

    Raises:
        Refusal: The attribute is malformed, or absent without a default.
    """
    value = text(dataset, keyword)
    if not value and default is not None:
        return default
    try:
        return int(value)
    except ValueError:
        raise Refusal("value.malformed", keyword) from None
