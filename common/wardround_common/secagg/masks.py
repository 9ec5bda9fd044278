"""Masks: AES-256-CTR key streams that are added to a vector in the ring of 32-bit integers.

Each pair of dealers shares a stream that the first by name adds and the second subtracts, so it cancels in
the sum; each site adds one more of its own, whose seed the survivors open.

Rules:

* A stream's key is HKDF over (pair secret or seed, plan digest, round, kind, attempt, label of the vector,
  names of its owners), so no two vectors ever share a mask, and nobody can make two pairs of an honest site
  share one by copying another site's public key: the names differ.
* Key streams are read as little-endian 32-bit words from counter 0.
* Pieces of 256 KiB, all streams over one piece before the next: the piece and the buffer stay in the cache.

Not here: the quantised vector (``ring``), who knows which secret (the state machines).

Privacy: to whoever lacks one of the keys, vector plus stream is uniform.

References: Bonawitz et al. 2017, section 4; NIST SP 800-38A section 6.5 (CTR).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from wardround_common.messages import RoundContext
from wardround_common.streams import derive

VECTOR: Final = "vector"
"""Label of the one vector that a round sums."""

_PIECE_WORDS: Final = 1 << 16
_ZEROS: Final = memoryview(bytes(4 * _PIECE_WORDS))


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


def apply_masks(vector: npt.NDArray[np.uint32], masks: Sequence[Mask]) -> None:
    """Add or subtract every mask, modulo 2^32, in place.

    Args:
        vector: uint32, shape [P], contiguous and writable.
        masks: In any order.
    """
    streams = [(_encryptor(mask.key), np.subtract if mask.subtract else np.add) for mask in masks]
    words = np.empty(min(vector.size, _PIECE_WORDS), dtype="<u4")
    for start in range(0, vector.size, _PIECE_WORDS):
        piece = vector[start : start + _PIECE_WORDS]
        stream_words = words[: piece.size]
        stream_bytes = stream_words.view(np.uint8).data
        for encryptor, combine in streams:
            encryptor.update_into(_ZEROS[: 4 * piece.size], stream_bytes)
            combine(piece, stream_words, out=piece)


def _encryptor(key: bytes) -> CipherContext:
    return Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()


def _labels(context: RoundContext) -> tuple[bytes, int, str, int, str]:
    return context.plan_digest, context.round, context.kind, context.attempt, VECTOR
