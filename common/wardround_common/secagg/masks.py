"""Masks: key streams of a cipher that are added to a vector in its ring.

Each pair of dealers shares a stream that the first by name adds and the second subtracts, so it cancels in
the sum; each site adds one more of its own, whose seed the survivors open.

Rules:

* A stream's key is HKDF over (pair secret or seed, plan digest, round, kind, attempt, label of the vector,
  names of its owners), so no two vectors ever share a mask, and nobody can make two pairs of an honest site
  share one by copying another site's public key: the names differ.
* Key streams are AES-256-CTR or ChaCha20 from counter 0, as the plan says, read as little-endian words of the
  vector's type.
* Pieces of 128 KiB, all streams over one piece before the next: the piece and the buffer stay in the cache.
* Threads split the vector into ranges of pieces, each starting its streams where it begins: the result is the
  same whatever their number.

Not here: the quantised vector (``quantiser``), who shares a mask with whom (``graph``), who knows which
secret (the state machines).

Privacy: to whoever lacks one of the keys, vector plus stream is uniform.

References: Bonawitz et al. 2017, section 4; NIST SP 800-38A section 6.5 (CTR); RFC 8439 section 2.3
(ChaCha20).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from wardround_common.messages import RoundContext
from wardround_common.plan_parts import CipherName
from wardround_common.secagg.ring import Ring
from wardround_common.streams import derive

VECTOR: Final = "vector"
"""Label of the one vector that a round sums."""


_PIECE_BYTES: Final = 1 << 17
_ZEROS: Final = memoryview(bytes(_PIECE_BYTES))
_BLOCK_BYTES: Final[Mapping[CipherName, int]] = MappingProxyType({"aes-256-ctr": 16, "chacha20": 64})


@dataclass(frozen=True, kw_only=True, slots=True)
class Mask:
    """A key stream, and whether it is added or subtracted."""

    key: bytes
    subtract: bool

    @property
    def removed(self) -> Mask:
        """The mask that takes this one off again."""
        return replace(self, subtract=not self.subtract)

    def __repr__(self) -> str:
        return f"Mask(subtract={self.subtract})"


def pair_mask(secret: bytes, context: RoundContext, *, site: str, peer: str) -> Mask:
    """The mask that ``site`` puts on for its pair with ``peer``.

    Args:
        secret: What the pair's mask keys agree on.
        context: The attempt.
        site: Whose vector it goes on.
        peer: The other one.
    """
    first, second = sorted((site, peer))
    key = derive(secret, "secagg pair mask", *_labels(context), first, second)
    return Mask(key=key, subtract=site == second)


def self_mask(seed: bytes, context: RoundContext, *, site: str) -> Mask:
    """The mask of ``site`` alone."""
    return Mask(key=derive(seed, "secagg self mask", *_labels(context), site), subtract=False)


def apply_masks(
    vector: Ring, masks: Sequence[Mask], *, cipher: CipherName = "aes-256-ctr", threads: int = 1
) -> None:
    """Add or subtract every mask, modulo 2^16 or 2^32, in place.

    Args:
        vector: Ring words, shape [P], contiguous and writable.
        masks: In any order.
        cipher: The plan's.
        threads: How many work at it; changes the time and nothing else.
    """
    pieces = -(-vector.nbytes // _PIECE_BYTES)
    share = -(-pieces // threads) * (_PIECE_BYTES // vector.dtype.itemsize)
    starts = range(0, vector.size, max(share, 1))
    if len(starts) < 2:
        _apply(vector, masks, cipher, 0)
        return
    with ThreadPoolExecutor(len(starts)) as pool:
        for done in [pool.submit(_apply, vector[i : i + share], masks, cipher, i) for i in starts]:
            done.result()


def _apply(part: Ring, masks: Sequence[Mask], cipher: CipherName, first: int) -> None:
    """Apply the masks to the part of a vector that begins at word ``first``, where a piece begins."""
    block = first * part.dtype.itemsize // _BLOCK_BYTES[cipher]
    streams = [(_stream(cipher, mask.key, block), np.subtract if mask.subtract else np.add) for mask in masks]
    piece_words = _PIECE_BYTES // part.dtype.itemsize
    buffer = np.empty(min(part.size, piece_words), dtype=part.dtype.newbyteorder("<"))
    for start in range(0, part.size, piece_words):
        piece = part[start : start + piece_words]
        words = buffer[: piece.size]
        zeros, data = _ZEROS[: piece.nbytes], words.view(np.uint8).data
        for stream, combine in streams:
            stream.update_into(zeros, data)
            combine(piece, words, out=piece)


def _stream(cipher: CipherName, key: bytes, block: int) -> CipherContext:
    """The key stream from ``block`` on."""
    if cipher == "chacha20":
        return Cipher(algorithms.ChaCha20(key, block.to_bytes(8, "little") + bytes(8)), None).encryptor()
    return Cipher(algorithms.AES(key), modes.CTR(block.to_bytes(16, "big"))).encryptor()


def _labels(context: RoundContext) -> tuple[bytes, int, str, int, str]:
    return context.plan_digest, context.round, context.kind, context.attempt, VECTOR
