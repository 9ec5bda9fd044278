"""Shamir's secret sharing of 32-byte secrets over the integers modulo a prime above 2^256.

A secret is the value at 0 of a random polynomial of degree t - 1; site number x = 1..n gets its value at x.
Any t shares give the secret, fewer give nothing.

Not here: whether a share is the one that was dealt (``commitments``), and what to do when shares do not fit
together (``wardround_common.secagg.recovery``).

Rules:

* Coefficients are 48 bytes of the caller's entropy reduced modulo p: within 2^-127 of uniform.
* A share is exactly 33 bytes, big-endian, below p.
* Python's integers are not constant-time. What this exposes is one split of a one-attempt secret, to somebody
  who can time the site's own process.

Privacy: t - 1 shares are uniform whatever the secret is.

References: Shamir, CACM 22(11), 1979. p = 2^256 + 297 is the smallest prime above 2^256.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from wardround_common.messages import SHARE_BYTES

PRIME: Final = 2**256 + 297
SECRET_BYTES: Final = 32
_COEFFICIENT_BYTES: Final = 48


def split(secret: bytes, *, threshold: int, count: int, entropy: Callable[[int], bytes]) -> tuple[bytes, ...]:
    """Shares of ``secret`` for x = 1..count, any ``threshold`` of which recover it.

    Args:
        secret: 32 bytes.
        threshold: t, from 2 to ``count``.
        count: n.
        entropy: Gives as many secret random bytes as it is asked for.

    Raises:
        ValueError: The secret or the numbers are out of range.
    """
    if len(secret) != SECRET_BYTES or not 2 <= threshold <= count:
        raise ValueError(f"expected 32 bytes and 2 <= t <= n, got {len(secret)} bytes, {threshold}, {count}")
    random = [int.from_bytes(entropy(_COEFFICIENT_BYTES), "big") % PRIME for _ in range(threshold - 1)]
    polynomial = [*random, int.from_bytes(secret, "big")]  # highest degree first
    return tuple(_evaluate(polynomial, x).to_bytes(SHARE_BYTES, "big") for x in range(1, count + 1))


def combine(shares: Mapping[int, bytes]) -> bytes | None:
    """The secret of which ``shares`` are exactly t shares, by x; None where they cannot be shares of one.

    What is returned is right only if all shares are: check it against a commitment.
    """
    points = tuple(sorted(shares))
    terms = zip(points, _weights_at_zero(points), strict=True)
    value = sum(int.from_bytes(shares[x], "big") * weight for x, weight in terms) % PRIME
    return value.to_bytes(SECRET_BYTES, "big") if value < 1 << (8 * SECRET_BYTES) else None


def is_share(data: bytes) -> bool:
    """Whether ``data`` has the form of a share: the one spelling of an integer below p."""
    return len(data) == SHARE_BYTES and int.from_bytes(data, "big") < PRIME


def _evaluate(polynomial: list[int], x: int) -> int:
    value = 0
    for coefficient in polynomial:
        value = (value * x + coefficient) % PRIME
    return value


@lru_cache(maxsize=256)
def _weights_at_zero(points: tuple[int, ...]) -> tuple[int, ...]:
    """Lagrange's weights at 0; the same points serve all secrets of a round."""
    weights = []
    for x in points:
        above = below = 1
        for other in points:
            if other != x:
                above = above * other % PRIME
                below = below * (other - x) % PRIME
        weights.append(above * pow(below, -1, PRIME) % PRIME)
    return tuple(weights)
