"""A secret from the shares that sites opened, even where its dealer dealt shares that do not fit together.

Every share has passed its commitment before it comes here, so a share off the polynomial is the dealer's
fault, not the fault of the site that opened it.

Not here: which secrets are to be recovered (``session``).

Rules: subsets of t shares are tried until one gives a secret that fits the dealer's commitment; at most
``MAX_SUBSETS``, which covers every subset for cohorts up to 14 sites.

Privacy: works on one-attempt secrets that at least t sites agreed to open.

References: Shamir, CACM 22(11), 1979.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations, islice
from typing import Final

from wardround_common.secagg import shamir

MAX_SUBSETS: Final = 1001


def recover(shares: Mapping[int, bytes], *, threshold: int, fits: Callable[[bytes], bool]) -> bytes | None:
    """The secret of which ``threshold`` of ``shares`` are shares.

    Args:
        shares: At least ``threshold`` shares by their x.
        threshold: t.
        fits: Whether a secret is the one that was committed to.

    Returns:
        The secret, or None where no subset tried gives one that fits: the dealer is then to blame.
    """
    for points in islice(combinations(sorted(shares), threshold), MAX_SUBSETS):
        secret = shamir.combine({x: shares[x] for x in points})
        if secret is not None and fits(secret):
            return secret
    return None


def is_consistent(shares: Mapping[int, bytes], secret: bytes, *, threshold: int) -> bool:
    """Whether *all* shares lie on one polynomial of degree t - 1 with this secret.

    Two neighbouring windows of t shares have t - 1 of them in common; with the same secret they have t
    points in common, and so are the same polynomial.
    """
    points = sorted(shares)
    windows = (points[start : start + threshold] for start in range(len(points) - threshold + 1))
    return all(shamir.combine({x: shares[x] for x in window}) == secret for window in windows)
