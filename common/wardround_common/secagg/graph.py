"""Who shares a mask with whom.

Up to ``COMPLETE`` members every two of a cohort share a mask. Above that, each shares masks with the k
members nearest to it on the ring of sorted names, k/2 on either side (the Harary graph H(k, n)); where k is
n - 1 or more, that is everybody again.

What is certain: H(k, n) is k-connected (Harary 1962), so as long as fewer than k of the cohort have dropped
or collude, the masks of all others still hang together, and the coordinator learns the sum over all of them
or nothing. No chance is involved that somebody could bias. A random graph that fails with probability 2^-40
needs more edges at every size that a consortium of hospitals has.

Rules: every site computes the graph itself, from the names of the cohort; it is never chosen by the
coordinator, and the degree is the plan's.

Not here: that a cohort with too many dropped and colluding members is refused (the state machines); shares,
which go to all members whatever the graph.

Privacy: names only.

References: Harary, PNAS 48 (1962), "The maximum connectivity of a graph"; Bell et al., CCS 2020, section 3
(masks along a sparse graph).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

COMPLETE: Final = 12
"""Up to so many members, every two share a mask."""


def neighbours(members: Sequence[str], degree: int) -> Mapping[str, tuple[str, ...]]:
    """Each member's partners in masking.

    Guarantees: symmetric; nobody is its own neighbour; k-connected for the degree k returned by
    ``connectivity``.

    Args:
        members: Names of the cohort, in ascending order.
        degree: The plan's ``mask_degree``, even and at least 2.

    Returns:
        For every member its neighbours, in ascending order.

    Raises:
        ValueError: The names are not in strictly ascending order, or the degree is odd or below 2.
    """
    if any(a >= b for a, b in pairwise(members)):
        raise ValueError("expected distinct names in ascending order")
    n, k = len(members), connectivity(len(members), degree)
    if k == n - 1:
        return {name: tuple(other for other in members if other != name) for name in members}
    steps = [*range(-k // 2, 0), *range(1, k // 2 + 1)]
    return {
        name: tuple(sorted(members[(place + step) % n] for step in steps))
        for place, name in enumerate(members)
    }


def connectivity(n: int, degree: int) -> int:
    """How many members of a cohort of ``n`` must go before the masks of the rest may fall apart.

    Args:
        n: Size of the cohort.
        degree: The plan's ``mask_degree``, even and at least 2.

    Returns:
        ``n - 1`` where everybody shares a mask with everybody, ``degree`` elsewhere; also the number of
        neighbours that each member has.

    Raises:
        ValueError: The degree is odd or below 2.
    """
    if degree < 2 or degree % 2:
        raise ValueError(f"a degree is even and at least 2, got {degree}")
    return n - 1 if n <= COMPLETE else min(degree, n - 1)
