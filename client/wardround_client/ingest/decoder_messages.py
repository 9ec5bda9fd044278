"""What passes between ingest and the decoder process: a request and its reply.

A message is its length in eight bytes, then MessagePack.

Not here: who starts whom (``isolation``), decoding (``decoder_process``).

Privacy: pixels and their format, no attribute of the patient, no path and no secret.
"""

from __future__ import annotations

from typing import IO

import msgspec

READY = b"ready\n"
"""What the process says when it can be asked."""
_LENGTH_BYTES = 8


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """An encapsulated frame and what the file says about it."""

    syntax: str
    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    samples: int
    photometric: str
    pixels: bytes


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """Stored values, or red, green and blue of each pixel, row by row; no bytes where decoding failed."""

    dtype: str = ""
    pixels: bytes = b""


def send(stream: IO[bytes], message: Request | Reply) -> None:
    """Write one message."""
    data = msgspec.msgpack.encode(message)
    stream.write(len(data).to_bytes(_LENGTH_BYTES, "big"))
    stream.write(data)
    stream.flush()


def receive(stream: IO[bytes], *, limit_bytes: int) -> bytes:
    """Read one message; nothing where the stream ends.

    Raises:
        ValueError: Longer than ``limit_bytes``.
    """
    length = int.from_bytes(stream.read(_LENGTH_BYTES), "big")
    if length > limit_bytes:
        raise ValueError(f"expected at most {limit_bytes} bytes, got {length}")
    data = stream.read(length)
    return data if len(data) == length else b""
