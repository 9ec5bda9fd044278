"""The program that decodes compressed pixels, in a process of its own.

Decoders of JPEG, JPEG-LS and JPEG 2000 are native code that a damaged file can crash, hang or drive into
taking all memory (measured: one in a few hundred mutated files kills the process). So they run here, and a
crash costs one file. ``isolation`` starts and restarts this program and talks to it over its standard input
and output; each request is answered by one reply.

Not here: which images are decoded (``acceptance``, ``codestream``), what is done with them.

Privacy: this process sees pixels and their format, no attribute of the patient, no path and no secret. What
the decoders print goes nowhere.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

import msgspec
import numpy as np
from pydicom.pixels.decoders.base import get_decoder

from wardround_client.ingest import limits
from wardround_client.ingest.decoder_messages import READY, Reply, Request, receive, send


def decode(request: Request) -> Reply:
    """Decode one frame with whichever installed decoder can; colours become red, green and blue.

    Decoders of JPEG 2000 undo YBR_ICT and YBR_RCT themselves; pydicom converts YBR_FULL and YBR_FULL_422 (the
    same matrix, chroma already at full size), and says which interpretation the array has in the end. Its
    PlanarConfiguration is that of the decoder's output: by pixel, unless a decoder sets it otherwise. What
    the file says does not matter.
    """
    grey = request.samples == 1
    options: dict[str, Any] = {
        "rows": request.rows,
        "columns": request.columns,
        "number_of_frames": 1,
        "samples_per_pixel": request.samples,
        "photometric_interpretation": "MONOCHROME2" if grey else request.photometric,
        "planar_configuration": 0,
        "bits_allocated": request.bits_allocated,
        "bits_stored": request.bits_stored,
        "pixel_representation": int(request.signed),
        "pixel_keyword": "PixelData",
    }
    try:
        array, found = get_decoder(request.syntax).as_array(request.pixels, index=0, **options)
    except Exception:  # noqa: BLE001 - decoders document no set of exceptions
        return Reply()
    shape = (request.rows, request.columns) if grey else (request.rows, request.columns, request.samples)
    if array.shape != shape or array.dtype.kind not in "iu":
        return Reply()
    if not grey and found["photometric_interpretation"] != "RGB":
        return Reply()
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return Reply(dtype=little.dtype.str, pixels=little.tobytes())


def main() -> None:
    """Answer requests until the input ends."""
    _limit_memory()
    warnings.simplefilter("ignore")
    requests, replies = sys.stdin.buffer, sys.stdout.buffer
    replies.write(READY)
    replies.flush()
    while data := receive(requests, limit_bytes=limits.DECODER_MEMORY_BYTES):
        send(replies, decode(msgspec.msgpack.decode(data, type=Request)))


def _limit_memory() -> None:
    """Make a decoder that wants too much fail, where the system can."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (limits.DECODER_MEMORY_BYTES,) * 2)


if __name__ == "__main__":
    main()
