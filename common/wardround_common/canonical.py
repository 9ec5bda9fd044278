"""One encoding of everything that is signed, hashed or sent, and one digest.

An object is a tree of frozen ``msgspec.Struct``s. Its encoding is MessagePack with fields in the order of
their declaration and mapping keys sorted, so equal objects have equal bytes. Decoding accepts only what
encoding would have produced: a second spelling of the same object is refused.

Not here: signatures (``identity``), which fields a message has (``messages``).

Rules:

* Every decoder is given a size limit, and looks at it before it looks at the data.
* A digest names its purpose (``label``) and the length of every part, so no two inputs collide by
  concatenation.

References: MessagePack specification; FIPS 180-4 (SHA-256).
"""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from wardround_common.errors import ConfigError, ProtocolError

T = TypeVar("T")

DIGEST_BYTES = 32
_ENCODER = msgspec.msgpack.Encoder(order="deterministic")


def encode(value: object) -> bytes:
    """The canonical bytes of ``value``."""
    return _ENCODER.encode(value)


def decode(data: bytes, kind: type[T], *, limit_bytes: int) -> T:
    """The object that ``data`` is the canonical encoding of.

    Args:
        data: Bytes from anywhere.
        kind: The expected type; its declared fields and no others are accepted.
        limit_bytes: Longer input is refused unread.

    Raises:
        ProtocolError: Too long, malformed, of another shape, or not canonical.
    """
    if len(data) > limit_bytes:
        raise ProtocolError(
            f"expected at most {limit_bytes} bytes of {kind.__name__}, got {len(data)}",
            remedy="Check that both ends run the same version of Wardround.",
            code="message.too_long",
        )
    try:
        value = msgspec.msgpack.decode(data, type=kind)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ProtocolError(
            f"expected a {kind.__name__}, could not decode it: {error}",
            remedy="Check that both ends run the same version of Wardround.",
            code="message.malformed",
        ) from error
    if encode(value) != data:
        raise ProtocolError(
            f"the encoding of this {kind.__name__} is not the canonical one",
            remedy="Check that both ends run the same version of Wardround.",
            code="message.not_canonical",
        )
    return value


def digest(label: str, *parts: bytes | memoryview) -> bytes:
    """SHA-256 over a label and length-prefixed parts (of bytes): 32 bytes."""
    state = hashlib.sha256()
    for part in (b"wardround " + label.encode(), *parts):
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return state.digest()


def read_toml(path: Path, *, limit_bytes: int = 1 << 20) -> dict[str, Any]:
    """The tables of a TOML file that a person wrote.

    Raises:
        ConfigError: The file is missing, unreadable, too long or no TOML.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit_bytes + 1)
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}",
            remedy="Check the path and the permissions of the file.",
            code="config.unreadable",
        ) from error
    if len(data) > limit_bytes:
        raise ConfigError(
            f"{path} is longer than {limit_bytes} bytes",
            remedy="Give a configuration file, not data.",
            code="config.too_long",
        )
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, endless digits, endless nesting
        raise ConfigError(
            f"{path} is not TOML: {error}", remedy="Mend the line that the message names.", code="config.toml"
        ) from error


def convert(tables: object, kind: type[T], *, where: str) -> T:
    """Tables of a configuration file as ``kind``; unknown, missing and wrong fields are refused by path.

    Args:
        tables: What ``read_toml`` returned, or a part of it.
        kind: A frozen ``msgspec.Struct`` that forbids unknown fields.
        where: What the reader calls it, for the message ("plan").

    Raises:
        ConfigError: With the path of the first field that does not fit.
    """
    try:
        return msgspec.convert(tables, kind)
    except (msgspec.ValidationError, ValueError, OverflowError) as error:  # also endless hexadecimal digits
        text = str(error).replace("$.", f"{where}.").replace("`$`", f"`{where}`")
        raise ConfigError(
            f"{where}: {text}",
            remedy=f"Correct this field of the {where}; README.md shows a complete example.",
            code="config.field",
        ) from error
