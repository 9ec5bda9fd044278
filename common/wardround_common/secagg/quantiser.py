"""An update as ring words, and the sum of such words as the survivors' weighted mean.

Every tensor t of the layout has a clip 2^k_t. Site i's update is clipped, multiplied by its weight p_i (all
weights of the plan add up to 1) and by the tensor's scale Q / 2^k_t, and rounded to an integer, a *level*,
in one of three ways:

=========== ==== ========================= =============================================== ===== ======
method      bits Q                         rounding                                        a     r
=========== ==== ========================= =============================================== ===== ======
exact       32   2^31 - n                  float64, to the nearest                         1/2   2^-51
fast        32   min(2^22 / max p, 2^30)   float32, to the nearest                         1/2   2^-22
dithered    16   2^15 - 2n                 float32, up or down at random, without bias     1     2^-22
=========== ==== ========================= =============================================== ===== ======

A level differs from the exact product, of size at most p_i Q, by at most a + r p_i Q + 2^-8: a for rounding,
r for the arithmetic before it (two roundings of 2^-53 or 2^-24 each), 2^-8 where random rounding works on
multiples of 2^-16.

*No overflow.* Over any set of m <= n sites, |sum| <= Q + m a + r Q + m 2^-8 =: B, and B < 2^(bits - 1):
exact 2^31 - n + n/2 + n/256 + 2^-20; fast 2^30 + n/2 + 2^8 + n/256; dithered 2^15 - 2n + n + n/256 + 2^-7.
So a sum is read back exactly, and an honest one never exceeds B (``sum_bound``). Values outside the clip
saturate and never wrap. A single fast level is at most 2^22 in size, which is what float32 can round by
adding 1.5 * 2^23: every float32 from 2^23 to 2^24 is an integer, and its bits are the integer plus a
constant.

*Precision.* Against the weighted mean of the clipped updates in exact arithmetic, over m survivors of
weight W together, with k the tensor's clip: |decoded - exact| <= 2^k (m (a + 2^-8) / (Q W) + r) + 2^k 2^-50
(``mean_error``).

*Random rounding* adds a uniform multiple of 2^-16 in [0, 1) and rounds down, so a level's expectation is
the product itself, within 2^-16 levels and the float32 roundings above. The randomness is the caller's
``Stream``: the same stream gives the same words.

Not here: masks (``masks``), noise (added by the site before this, on a grid of its own), which clips there
are (``state``).

Rules: NaN and infinity are refused; pieces of 32 Ki numbers, so that all work on one stays in the cache; in
place where the caller gives the room.

Privacy: an encoded vector is the update; it never leaves without masks.

References: Bonawitz et al., CCS 2017, section 4 (sums modulo R).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from wardround_common.secagg.refusals import refuse
from wardround_common.secagg.ring import WORDS, Ring, Word, largest, signed
from wardround_common.streams import Stream

Method: TypeAlias = Literal["exact", "fast", "dithered"]
Float32: TypeAlias = npt.NDArray[np.float32]

_PIECE: Final = 1 << 15
_MAGIC: Final = np.float32(1.5 * 2**23)
_MAGIC_WORD: Final = _MAGIC.view(np.uint32)
_FAST_LEVELS: Final = 2**22
_DITHER_BITS: Final = 16
_ROUNDING: Final = {"exact": 0.5 + 2.0**-8, "fast": 0.5 + 2.0**-8, "dithered": 1.0 + 2.0**-8}
_ARITHMETIC: Final = {"exact": 2.0**-51, "fast": 2.0**-22, "dithered": 2.0**-22}


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantiser:
    """Between float32 updates and ring levels.

    Attributes:
        sites: n, the number of sites of the *plan*, whoever is in the cohort.
        sizes: Number of values of each tensor of the vector, in order.
        clips: k of each tensor; its coordinates are clipped to [-2^k, 2^k].
        method: How numbers are rounded, and with that the ring.
        largest_weight: The largest p_i; ``fast`` gives every site as many levels as float32 can round.
    """

    sites: int
    sizes: tuple[int, ...]
    clips: tuple[int, ...]
    method: Method = "exact"
    largest_weight: float = 1.0

    def __post_init__(self) -> None:
        most = 2**20 if self.word.itemsize == 4 else 2**12
        if not 2 <= self.sites <= most:
            raise ValueError(f"a sum has 2 to {most} sites, got {self.sites}")
        if len(self.sizes) != len(self.clips):
            raise ValueError(f"expected {len(self.sizes)} clips, got {len(self.clips)}")
        if not 0 < self.largest_weight <= 1:
            raise ValueError(f"a weight is above 0 and at most 1, got {self.largest_weight}")

    @property
    def word(self) -> Word:
        """The type of a ring word."""
        return WORDS[16 if self.method == "dithered" else 32]

    @property
    def levels(self) -> int:
        """Q."""
        if self.method == "fast":
            return min(int(_FAST_LEVELS / self.largest_weight), 2**30)
        return largest(self.word) + 1 - (2 if self.method == "dithered" else 1) * self.sites

    def encode(
        self, update_P: Float32, *, weight: float, dither: Stream | None = None, out: Ring | None = None
    ) -> Ring:
        """The levels of ``weight * clip(update)``, as two's complement.

        Args:
            update_P: float32, shape [P].
            weight: p_i, from 0 to ``largest_weight``; the weights of all sites of the plan add up to 1.
            dither: What ``dithered`` rounds with, read forward by 2 bytes per number.
            out: Where to write, ring words, shape [P]; with 32 bits it may be ``update_P.view(np.uint32)``.

        Raises:
            SecAggError: ``secagg.not_finite``; ``out`` then holds a mixture.
        """
        if not 0 <= weight <= self.largest_weight:
            raise ValueError(f"a weight is from 0 to {self.largest_weight}, got {weight}")
        self._check_size(update_P)
        out = np.empty(update_P.size, dtype=self.word) if out is None else out
        work, saturated = self._rounder(dither), weight * self.levels
        for start, end, clip in self._pieces():
            piece = update_P[start:end]
            if not np.isfinite(piece).all():
                raise refuse("not_finite", "expected finite numbers, got NaN or infinity in an update")
            work(piece, saturated / 2.0**clip, saturated, out[start:end])
        return out

    def decode(self, total: Ring, *, weight: float) -> npt.NDArray[np.float64]:
        """The survivors' weighted mean, float64, shape [P].

        Args:
            total: Sum of the survivors' encoded updates.
            weight: W, the sum of their weights.
        """
        self._check_size(total)
        mean = np.empty(total.size, dtype=np.float64)
        for start, end, clip in self._pieces():
            np.divide(signed(total[start:end]), self.levels / 2.0**clip * weight, out=mean[start:end])
        return mean

    def sum_bound(self, *, survivors: int, weight: float) -> int:
        """The largest size that a coordinate of an honest sum can have, in levels."""
        arithmetic = 1 + _ARITHMETIC[self.method]
        bound = self.levels * weight * arithmetic + survivors * _ROUNDING[self.method]
        return min(int(bound) + 1, largest(self.word))

    def mean_error(self, *, survivors: int, weight: float) -> float:
        """Bound on the error of ``decode`` against the exact mean of clipped updates, in any coordinate."""
        rounding = survivors * _ROUNDING[self.method] / (self.levels * weight)
        return 2.0 ** max(self.clips) * (rounding + _ARITHMETIC[self.method] + 2.0**-50)

    def _check_size(self, vector: npt.NDArray[np.generic]) -> None:
        if vector.shape != (sum(self.sizes),):
            raise ValueError(f"expected a vector of {sum(self.sizes)} numbers, got shape {vector.shape}")

    def _pieces(self) -> Iterator[tuple[int, int, int]]:
        """Start, end and clip of pieces that lie in tensors of one clip and fit into the cache."""
        start = 0
        for clip, run in groupby(zip(self.sizes, self.clips, strict=True), key=lambda tensor: tensor[1]):
            end = start + sum(size for size, _ in run)
            for first in range(start, end, _PIECE):
                yield first, min(first + _PIECE, end), clip
            start = end

    def _rounder(self, dither: Stream | None) -> _Rounder:
        if self.method != "dithered":
            return _Exact() if self.method == "exact" else _Fast()
        if dither is None:
            raise ValueError("random rounding needs a stream")
        return _Dithered(dither)


_Rounder: TypeAlias = "Callable[[Float32, float, float, Ring], None]"
"""Writes the levels of one piece: the update, levels per unit, the largest level, where to."""


class _Exact:
    """Multiply, saturate and round to the nearest even in float64."""

    def __init__(self) -> None:
        self._levels = np.empty(_PIECE, dtype=np.float64)

    def __call__(self, piece: Float32, scale: float, saturated: float, out: Ring) -> None:
        levels = self._levels[: piece.size]
        np.multiply(piece, scale, out=levels, dtype=np.float64)
        np.clip(levels, -saturated, saturated, out=levels)
        np.rint(levels, out=levels)
        np.copyto(signed(out), levels, casting="unsafe")


class _Fast:
    """Multiply and saturate in float32, round to the nearest even by adding 1.5 * 2^23."""

    def __init__(self) -> None:
        self._levels = np.empty(_PIECE, dtype=np.float32)

    def __call__(self, piece: Float32, scale: float, saturated: float, out: Ring) -> None:
        levels = self._levels[: piece.size]
        _saturated_product(piece, scale, saturated, levels)
        np.add(levels, _MAGIC, out=levels)
        np.subtract(levels.view(np.uint32), _MAGIC_WORD, out=out)


class _Dithered:
    """Multiply and saturate in float32, add a random fraction, round down.

    The product is taken in units of 2^-16 levels as a 32-bit integer; a random 16-bit number is added; the
    upper 16 bits are the level. Half of a piece uses the lower halves of 32-bit random words, half the upper.
    """

    def __init__(self, dither: Stream) -> None:
        self._dither = dither
        self._product = np.empty(_PIECE, dtype=np.float32)
        self._fixed = np.empty(_PIECE, dtype=np.int32)
        self._random = np.empty(_PIECE // 2, dtype="<u4")
        self._lower = np.empty(_PIECE // 2, dtype=np.uint32)

    def __call__(self, piece: Float32, scale: float, saturated: float, out: Ring) -> None:
        units = 2.0**_DITHER_BITS
        product, fixed = self._product[: piece.size], self._fixed[: piece.size]
        _saturated_product(piece, scale * units, saturated * units, product)
        np.copyto(fixed, product, casting="unsafe")
        half = (piece.size + 1) // 2
        random, lower, numbers = self._random[:half], self._lower[:half], fixed.view(np.uint32)
        self._dither.fill(random.view(np.uint8))
        np.bitwise_and(random, np.uint32(0xFFFF), out=lower)
        np.add(numbers[:half], lower, out=numbers[:half])
        np.right_shift(random, np.uint32(_DITHER_BITS), out=lower)
        np.add(numbers[half:], lower[: piece.size - half], out=numbers[half:])
        np.right_shift(numbers, np.uint32(_DITHER_BITS), out=numbers)
        np.copyto(out, numbers, casting="unsafe")


def _saturated_product(piece: Float32, scale: float, saturated: float, out: Float32) -> None:
    """``clip(piece * scale)`` in float32; a product beyond float32 is infinite and saturates."""
    limit = np.float32(saturated)
    with np.errstate(over="ignore"):
        np.multiply(piece, np.float32(scale), out=out)
    np.clip(out, -limit, limit, out=out)
