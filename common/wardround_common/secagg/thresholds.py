"""How many sites must be there, and how many may collude: the arithmetic that every site checks itself.

For a cohort of n sites (those whose HELLO is in COHORT), t = floor(2n/3) + 1 shares recover a secret, t
signatures confirm a set of survivors, and t sites must survive.

Why 2t > n + c: two confirmed sets of survivors need t signatures each, so at least 2t - n sites sign both;
with 2t - n > c one of them is honest, and an honest site signs one set. Hence no site is opened as a survivor
in one set and as a dropout in the other, which would give the coordinator both of its shares.

Not here: how many have arrived (the state machines).

Privacy: numbers of sites only.

References: Bonawitz et al. 2017, section 6 (active adversaries); ARCHITECTURE.md, "Who is trusted with what".
"""

from __future__ import annotations

from dataclasses import dataclass

from wardround_common.secagg.refusals import refuse


def threshold(cohort: int) -> int:
    """T for a cohort of ``cohort`` sites."""
    return 2 * cohort // 3 + 1


@dataclass(frozen=True, kw_only=True, slots=True)
class SecAggPolicy:
    """A site's own limits, whatever the plan and the coordinator say.

    Attributes:
        minimum_cohort: The smallest cohort, and the smallest set of survivors, that this site sends to.
        max_colluders: How many other sites may work for a dishonest coordinator.
    """

    minimum_cohort: int = 3
    max_colluders: int = 1


def check_cohort(cohort: int, *, minimum: int, max_colluders: int) -> int:
    """Return t if a cohort of ``cohort`` sites is large enough.

    Args:
        cohort: n, the number of HELLOs, one's own included.
        minimum: The larger of the site's and the plan's smallest cohort.
        max_colluders: c.

    Raises:
        SecAggError: ``secagg.cohort_too_small``, ``secagg.too_many_colluders`` or ``secagg.too_few_honest``.
    """
    t = threshold(cohort)
    if cohort < minimum:
        raise refuse("cohort_too_small", f"expected at least {minimum} sites, got {cohort}", retryable=True)
    if cohort - max_colluders < 2:
        raise refuse(
            "too_few_honest",
            f"of {cohort} sites {max_colluders} may collude: fewer than two would be left to hide behind",
            retryable=True,
        )
    if 2 * t <= cohort + max_colluders:
        raise refuse(
            "too_many_colluders",
            f"{cohort} sites with threshold {t} cannot withstand {max_colluders} colluding sites",
            retryable=True,
        )
    return t
