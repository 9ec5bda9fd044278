"""Vectors of ring words: integers modulo 2^16 or 2^32, read as two's complement.

Everything that is masked, added, signed or sent is such a vector. Counts are integers already
(``encode_counts``, always 32 bits); updates become words in ``quantiser``.

Not here: updates (``quantiser``), masks (``masks``).

Rules: little-endian wherever words become bytes; a digest covers how long a word is and how many there are.

Privacy: an encoded vector is what a site computed; it never leaves without masks.

References: Bonawitz et al., CCS 2017, section 4 (sums modulo R).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt

from wardround_common.secagg.refusals import refuse

Ring: TypeAlias = npt.NDArray[np.uint16 | np.uint32]
Word: TypeAlias = np.dtype[np.uint16] | np.dtype[np.uint32]
Bits: TypeAlias = Literal[16, 32]

WORDS: Final[Mapping[Bits, Word]] = MappingProxyType({16: np.dtype(np.uint16), 32: np.dtype(np.uint32)})
"""The type of a word, by its bits."""

COUNT_WORD: Final[Word] = WORDS[32]
"""The type of a word of counts, whatever ring the updates have."""

_LABEL: Final = b"wardround secagg vector"


def largest(word: Word) -> int:
    """The largest number that a word holds in two's complement."""
    return (1 << 8 * word.itemsize - 1) - 1


def signed(vector: Ring) -> npt.NDArray[np.int16 | np.int32]:
    """The same memory, read as two's complement."""
    return vector.view(np.int16 if vector.dtype.itemsize == 2 else np.int32)


def largest_count(sites: int) -> int:
    """The largest size of one site's count for which no sum over ``sites`` sites can overflow."""
    return largest(COUNT_WORD) // sites


def encode_counts(counts: npt.NDArray[np.int64], *, sites: int) -> Ring:
    """Integers as two's complement.

    Args:
        counts: int64, shape [P]; may be negative where noise was added.
        sites: Number of sites of the plan.

    Raises:
        SecAggError: ``secagg.out_of_range`` where one exceeds ``largest_count``.
    """
    limit = largest_count(sites)
    if counts.size and (counts.max() > limit or counts.min() < -limit):
        raise refuse("out_of_range", f"expected counts of at most {limit} levels in size")
    return counts.astype(np.int32).view(np.uint32)


def decode_counts(total: Ring) -> npt.NDArray[np.int64]:
    """The sum of what the survivors encoded."""
    return signed(total).astype(np.int64)


def exceeds(total: Ring, bound: int) -> bool:
    """Whether a coordinate of ``total``, read as two's complement, is larger in size than ``bound``."""
    numbers = signed(total)
    return bool(numbers.size) and (int(numbers.max()) > bound or int(numbers.min()) < -bound)


def to_bytes(vector: Ring) -> memoryview:
    """The vector as it travels and is hashed: little-endian words, without a copy where it has that form."""
    return np.ascontiguousarray(vector, dtype=vector.dtype.newbyteorder("<")).view(np.uint8).data


def from_bytes(data: bytes, *, type_name: str) -> Ring | None:
    """The vector that ``to_bytes`` made ``data`` from, read-only; None where no ring has such words.

    Args:
        data: Bytes from anywhere.
        type_name: ``uint16`` or ``uint32``, likewise.
    """
    word = next((word for word in WORDS.values() if word.name == type_name), None)
    if word is None or len(data) % word.itemsize:
        return None
    vector: Ring = np.frombuffer(data, dtype=word.newbyteorder("<")).astype(word, copy=False)
    return vector


def vector_digest(vector: Ring) -> bytes:
    """SHA-256 of a vector, as a MASKED or RESULT signs it: 32 bytes, over type, length and words."""
    itemsize, size = vector.dtype.itemsize.to_bytes(1, "big"), vector.size.to_bytes(8, "big")
    state = hashlib.sha256(_LABEL + itemsize + size)
    state.update(to_bytes(vector))
    return state.digest()


def is_vector(array: object, size: int, word: np.dtype[Any]) -> TypeGuard[Ring]:
    """Whether ``array`` is a contiguous vector of ``size`` words of the type ``word``."""
    return (
        isinstance(array, np.ndarray)
        and array.dtype == word
        and array.shape == (size,)
        and array.flags.c_contiguous
    )
