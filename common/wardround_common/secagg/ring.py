"""Numbers in the ring of integers modulo 2^32: an update in, a weighted mean out.

A vector is written in levels, as 32-bit two's complement. Updates are weighted, clipped and rounded
(``Quantiser``); counts are integers already (``encode_counts``).

No overflow: let n be the number of sites of the plan, p_k their weights with sum 1, and Q = 2^31 - n the
largest level. Site k's coordinate is at most p_k Q in size before rounding and p_k Q + 1/2 after, so a sum
over any set of sites is at most Q + n/2 = 2^31 - n/2 < 2^31 in size and is read back exactly. Float64 weights
add up to 1 within n 2^-52, which moves the bound by less than n 2^-21 levels: n/2 is far more.

Precision of the mean, against the weighted mean of the *clipped* updates in exact arithmetic: each of m
survivors rounds by at most 1/2 level and multiplies with a relative error of 2^-52, under 2^-20 levels;
the mean divides by scale times the survivors' weight W. So
    |decoded - exact| <= m (1/2 + 2^-20) 2^k / (Q W) + 2^k 2^-50   (``mean_error``),
about 2^k m 2^-32 / W: for clip 2^4 and 10 sites 4e-8.

Not here: masks (``masks``), noise (added by the site before this, on a coarser grid than these levels).

Rules: NaN and infinity are refused, too large values saturate and never wrap; pieces of 32 Ki numbers
in float64, in place where the caller gives the room.

Privacy: an encoded vector is the update; it never leaves without masks.

References: Bonawitz et al., CCS 2017, section 4 (sums modulo R).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt

from wardround_common.secagg.refusals import refuse

Ring: TypeAlias = npt.NDArray[np.uint32]

RING_BITS: Final = 32
_HALF: Final = 2 ** (RING_BITS - 1)
_PIECE: Final = 1 << 15
_LABEL: Final = b"wardround secagg vector"


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantiser:
    """Between float32 updates and ring levels.

    Attributes:
        clip_log2: k; coordinates are clipped to [-2^k, 2^k].
        sites: n, the number of sites of the *plan*, whoever is in the cohort.
    """

    clip_log2: int
    sites: int

    def __post_init__(self) -> None:
        if not 2 <= self.sites <= 2**20:
            raise ValueError(f"a sum has 2 to 2**20 sites, got {self.sites}")

    @property
    def levels(self) -> int:
        """Q."""
        return _HALF - self.sites

    @property
    def scale(self) -> float:
        """Levels per unit; exact in float64, since 2^k is a power of two."""
        return self.levels / 2.0**self.clip_log2

    def encode(self, update: npt.NDArray[np.float32], *, weight: float, out: Ring | None = None) -> Ring:
        """``rint(weight * scale * clip(update))`` as two's complement.

        Args:
            update: float32, shape [P].
            weight: p_k, from 0 to 1; the weights of all sites of the plan add up to 1.
            out: Where to write, uint32, shape [P]; may be ``update.view(np.uint32)``.

        Raises:
            SecAggError: ``secagg.not_finite``; ``out`` then holds a mixture.
        """
        if not 0 <= weight <= 1:
            raise ValueError(f"a weight is from 0 to 1, got {weight}")
        out = np.empty(update.size, dtype=np.uint32) if out is None else out
        factor, largest = weight * self.scale, weight * self.levels
        work = np.empty(min(update.size, _PIECE), dtype=np.float64)
        for start in range(0, update.size, _PIECE):
            piece = update[start : start + _PIECE]
            if not np.isfinite(piece).all():
                raise refuse("not_finite", "expected finite numbers, got NaN or infinity in an update")
            levels = work[: piece.size]
            np.multiply(piece, factor, out=levels, dtype=np.float64)
            np.clip(levels, -largest, largest, out=levels)
            np.rint(levels, out=levels)
            np.copyto(out[start : start + _PIECE].view(np.int32), levels, casting="unsafe")
        return out

    def decode(self, total: Ring, *, weight: float) -> npt.NDArray[np.float64]:
        """The survivors' weighted mean, float64, shape [P].

        Args:
            total: Sum of the survivors' encoded updates.
            weight: W, the sum of their weights.
        """
        return total.view(np.int32) / (self.scale * weight)

    def sum_bound(self, *, survivors: int, weight: float) -> int:
        """The largest size that a coordinate of an honest sum can have, in levels."""
        return min(int(self.levels * weight + survivors / 2) + 1, _HALF - 1)

    def mean_error(self, *, survivors: int, weight: float) -> float:
        """Bound on the error of ``decode`` against the exact mean of clipped updates."""
        rounding = survivors * (0.5 + 2.0**-20) / (self.scale * weight)
        return rounding + 2.0 ** (self.clip_log2 - 50)


def largest_count(sites: int) -> int:
    """The largest size of one site's count for which no sum over ``sites`` sites can overflow."""
    return (_HALF - 1) // sites


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
    return total.view(np.int32).astype(np.int64)


def exceeds(total: Ring, bound: int) -> bool:
    """Whether a coordinate of ``total``, read as two's complement, is larger in size than ``bound``."""
    signed = total.view(np.int32)
    return bool(signed.size) and (int(signed.max()) > bound or int(signed.min()) < -bound)


def vector_digest(vector: Ring) -> bytes:
    """SHA-256 of a vector, as a MASKED or RESULT signs it: 32 bytes."""
    state = hashlib.sha256(_LABEL + vector.size.to_bytes(8, "big"))
    state.update(np.ascontiguousarray(vector, dtype="<u4").data)
    return state.digest()


def is_vector(array: object, size: int) -> TypeGuard[Ring]:
    """Whether ``array`` is a contiguous uint32 vector of ``size`` numbers."""
    return (
        isinstance(array, np.ndarray)
        and array.dtype == np.uint32
        and array.shape == (size,)
        and array.flags.c_contiguous
    )
