"""Sealing: what a site keeps at rest is encrypted under one key, and bound to its place.

One scheme for values of a database and for files of gigabytes alike:

* The **site key** is 32 bytes from the operating system. HKDF-SHA256 derives from it one key per purpose, and
  eight bytes by which the key is known.
* A sealed value is a **header** and **chunks**. Header: version (1 byte), id of the site key (8), salt (32).
  HKDF-SHA256 derives from the purpose's key and the salt a key for this value alone.
* A chunk is a mebibyte, the last one less, under AES-256-GCM. Nonce: number of the chunk (11 bytes), then 1
  if it is the last and 0 otherwise. Associated data: header and place.

Why AES-256-GCM and not AES-256-GCM-SIV: GCM breaks where a key meets a nonce twice, and with random nonces a
key is good for 2**32 messages. Here no key outlives its value and nonces count from zero, so there is neither
a limit nor a chance: two values share a key only if the system's generator repeats 32 bytes. SIV would soften
that case, but it is thirty times slower in OpenSSL 4.0, and absent before OpenSSL 3.2.

Guarantees:

* Without the key a value shows its length, and which values lie under the same site key; nothing else.
* A value that was altered, cut, reordered, lengthened, or moved to another place or purpose is refused; so is
  every value under another key. Of a file no chunk is given out before it is authenticated.
* Memory: two chunks, whatever the length.
* Not guaranteed: that a value is the newest of its place. Heads and lengths outside backups notice that.

Not here: where the key lies (``home``), what is sealed (``scratch``, ``catalogue``, ``secagg.vault``).

Privacy: keys and plaintexts are in memory only; no error has a byte of either.

References:
    NIST SP 800-38D (GCM); RFC 5869 (HKDF); Hoang, Reyhanitabar, Rogaway, Vizar, CRYPTO 2015 (STREAM).
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import BinaryIO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from wardround_common.canonical import encode
from wardround_common.errors import StorageError
from wardround_common.streams import KEY_BYTES, derive

CHUNK_BYTES: Final = 1 << 20
SALT_BYTES: Final = 32
TAG_BYTES: Final = 16
ID_BYTES: Final = 8
HEADER_BYTES: Final = 1 + ID_BYTES + SALT_BYTES
_VERSION: Final = b"\x01"
_COUNTER_BYTES: Final = 11

Place = str | int | bytes


@dataclass(frozen=True, slots=True, repr=False)
class SiteKey:
    """The key of everything that a site keeps at rest.

    Attributes:
        secret: 32 bytes from the operating system; in a simulation from its seed.
    """

    secret: bytes

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise ValueError(f"a site key has {KEY_BYTES} bytes, got {len(self.secret)}")

    @classmethod
    def new(cls) -> SiteKey:
        """A fresh key."""
        return cls(os.urandom(KEY_BYTES))

    def scratch(self) -> Sealer:
        """Seals the scratch database."""
        return self._sealer("scratch")

    def data(self, plan: bytes) -> Sealer:
        """Seals what was read from patients for one plan.

        Args:
            plan: Digest of the plan.
        """
        return self._sealer("data", plan)

    def _sealer(self, *purpose: str | bytes) -> Sealer:
        return Sealer(derive(self.secret, "seal", *purpose), derive(self.secret, "id")[:ID_BYTES])


@dataclass(frozen=True, slots=True, repr=False)
class Sealer:
    """Seals for one purpose. Can be given to another process: it opens nothing of other purposes.

    Attributes:
        key: The purpose's key, 32 bytes.
        site: What the site key is known by, 8 bytes.
    """

    key: bytes
    site: bytes

    def seal(self, data: bytes | memoryview, *place: Place) -> bytes:
        """The sealed ``data``, to be opened in the same place only."""
        return b"".join(self.sealed((data,), *place))

    def open(self, sealed: bytes, *place: Place) -> bytes:
        """What was sealed.

        Raises:
            StorageError: ``storage.other_key``, ``storage.altered``.
        """
        return b"".join(self.opened(io.BytesIO(sealed), *place))

    def sealed(self, parts: Iterable[bytes | memoryview], *place: Place) -> Iterator[bytes]:
        """Header and chunks, to be written one behind the other.

        Args:
            parts: What to seal, cut as it suits the caller.
            place: Where it will lie.
        """
        header = _VERSION + self.site + os.urandom(SALT_BYTES)
        cipher, bound = self._cipher(header), header + encode(place)
        yield header
        for number, (piece, last) in enumerate(_pieces(parts)):
            yield cipher.encrypt(_nonce(number, last=last), piece, bound)

    def opened(self, file: BinaryIO, *place: Place) -> Iterator[bytes]:
        """The chunks of a sealed file, each authenticated; it was whole once the iterator has ended.

        Raises:
            StorageError: ``storage.other_key``, ``storage.altered``.
        """
        header = file.read(HEADER_BYTES)
        self._check(header)
        cipher, bound = self._cipher(header), header + encode(place)
        ahead = file.read(CHUNK_BYTES + TAG_BYTES)
        for number in count():
            chunk, ahead = ahead, file.read(CHUNK_BYTES + TAG_BYTES)
            try:
                piece = cipher.decrypt(_nonce(number, last=not ahead), chunk, bound)
            except InvalidTag:
                raise altered() from None
            yield piece
            if not ahead:
                return

    def _check(self, header: bytes) -> None:
        if len(header) != HEADER_BYTES or header[:1] != _VERSION:
            raise altered()
        if header[1 : 1 + ID_BYTES] != self.site:
            raise StorageError(
                "the site key is not the one that this site's data were sealed under",
                remedy="Give this site the key that its folder was made with. If it is lost, so is what it "
                "sealed: end the studies at this site, and read the images again.",
                code="storage.other_key",
            )

    def _cipher(self, header: bytes) -> AESGCM:
        return AESGCM(derive(self.key, "value", header[-SALT_BYTES:]))


class Opened:
    """Reads the chunks of a sealed file in pieces of other lengths."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def fill(self, out: memoryview) -> None:
        """Fill ``out``, a view of single bytes, with what comes next.

        Raises:
            StorageError: As ``Sealer.opened``; ``storage.altered`` where less is left.
        """
        while len(out):
            if not len(self._rest) and not len(self._next()):
                raise altered()
            taken = min(len(out), len(self._rest))
            out[:taken] = self._rest[:taken]
            out, self._rest = out[taken:], self._rest[taken:]

    def end(self) -> None:
        """Return only if nothing is left, and the file was whole.

        Raises:
            StorageError: As ``Sealer.opened``; ``storage.altered`` where more is left.
        """
        if len(self._rest) or len(self._next()):
            raise altered()

    def _next(self) -> memoryview:
        self._rest = memoryview(next(self._chunks, b""))
        return self._rest


def altered() -> StorageError:
    """A sealed value is not as it was sealed, or lies in another place."""
    return StorageError(
        "something that this site had sealed was altered, or moved to another place",
        remedy="Check the disk, and who can write to the site's data folder. Restore nothing in scratch/: "
        "if it was damaged there, let the site sit out the rest of the study.",
        code="storage.altered",
    )


def _pieces(parts: Iterable[bytes | memoryview]) -> Iterator[tuple[bytearray, bool]]:
    """``parts`` in chunks, and whether it is the last; one empty chunk where there is nothing."""
    piece = bytearray()
    for part in parts:
        view = memoryview(part).cast("B")
        while len(view):
            if len(piece) == CHUNK_BYTES:
                yield piece, False
                piece = bytearray()
            taken = CHUNK_BYTES - len(piece)
            piece += view[:taken]
            view = view[taken:]
    yield piece, True


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(_COUNTER_BYTES, "big") + bytes([last])
