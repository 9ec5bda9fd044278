"""What a compressed image says about itself, read before a decoder allocates memory for it.

The size in a JPEG, JPEG-LS or JPEG 2000 header is independent of Rows and Columns, and decoders believe it.
So it is compared first, and so is the colour model of an Adobe marker, which some decoders believe and others
do not. What remains, such as RLE runs that become too long, meets the memory limit of the decoder process.

Not here: decoding (``pixels``).

Privacy: sizes and colour models only.

References: ITU-T T.81 B.1 and B.2 (JPEG markers, frame header), T.872 6.5.3 (Adobe marker), T.87 C.2.2
(JPEG-LS), T.800 A.5.1 (JPEG 2000 SIZ); DICOM PS3.5 section 8.2 (compressed pixels).
"""

from __future__ import annotations

import struct

from pydicom import uid

from wardround_client.ingest import limits
from wardround_client.ingest.acceptance import PixelFormat
from wardround_client.ingest.reasons import Refusal

_START_J2K, _START_JPEG, _END = b"\xff\x4f\xff\x51", b"\xff\xd8", b"\xff\xd9"
_TAIL_BYTES = 16  # the end marker, and padding of any value
_ADOBE_MARKER, _ADOBE_RGB = 0xEE, 0
_FRAME_HEADERS = frozenset((*range(0xC0, 0xD0), 0xF7)) - {0xC4, 0xC8, 0xCC}


def check_frame(frame: bytes, syntax: str, form: PixelFormat) -> None:
    """Refuse a compressed frame that does not hold the image that the attributes describe.

    Args:
        frame: The frame, fragments joined.
        syntax: Transfer syntax UID, an encapsulated one.
        form: What the attributes say.

    Raises:
        Refusal: Another size, another number or kind of components, too long, cut off, or no such codestream.
    """
    if len(frame) > limits.MAX_ENCODED_SHARE * form.decoded_bytes + limits.ENCODED_SLACK_BYTES:
        raise Refusal("limit.decoded_bytes", "PixelData")
    if syntax == uid.RLELossless:  # has no header with a size
        return
    j2k = frame.startswith(_START_J2K)
    if form.samples > 1 and j2k != (syntax in uid.JPEG2000TransferSyntaxes):
        raise Refusal("pixels.size_mismatch", "PixelData")  # what its colours are depends on the syntax
    try:
        found = _j2k_size(frame) if j2k else _jpeg_size(frame, form)
    except (struct.error, IndexError):
        raise Refusal("file.truncated", "PixelData") from None
    if found != (form.rows, form.columns, form.samples):
        raise Refusal("pixels.size_mismatch", "PixelData")
    if _END not in frame[-_TAIL_BYTES:]:
        raise Refusal("file.truncated", "PixelData")


def _j2k_size(frame: bytes) -> tuple[int, int, int]:
    """Rows, columns and components of a JPEG 2000 codestream."""
    right, bottom, left, top = struct.unpack_from(">4L", frame, 8)
    components = struct.unpack_from(">H", frame, 40)[0]
    return bottom - top, right - left, components


def _jpeg_size(frame: bytes, form: PixelFormat) -> tuple[int, int, int]:
    """Rows, columns and components of a JPEG or JPEG-LS codestream, of the colour model in ``form``."""
    if not frame.startswith(_START_JPEG):
        raise Refusal("pixels.undecodable", "PixelData")
    position = 2
    while True:
        if frame[position] != 0xFF:
            raise Refusal("pixels.undecodable", "PixelData")
        while frame[position] == 0xFF:
            position += 1
        marker = frame[position]
        if marker in _FRAME_HEADERS:
            rows, columns, components = struct.unpack_from(">HHB", frame, position + 4)
            return rows, columns, components
        if marker == _ADOBE_MARKER and form.samples == 3:
            _check_adobe(frame[position + 3 : position + 15], form)
        position += 1 + struct.unpack_from(">H", frame, position + 1)[0]


def _check_adobe(segment: bytes, form: PixelFormat) -> None:
    """Refuse an Adobe marker that says otherwise than the file whether samples are red, green and blue."""
    if segment.startswith(b"Adobe") and (segment[11] == _ADOBE_RGB) != (form.photometric == "RGB"):
        raise Refusal("pixels.size_mismatch", "PhotometricInterpretation")
