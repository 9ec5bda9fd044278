"""The cost of events by another library: Opacus' PRV accountant, against the PLD of ``accounting``.

The two bound the same quantity by different discretisations and share no code. A site asks both before it
approves a plan; where they differ, one of them (or the way it is called) is wrong and nothing is approved.

Not here: limits. They are set in, and calibrated with, the PLD epsilon. PRV returns the upper end of an error
interval of 0.01, so its number is about 0.01 larger than the truth and a plan calibrated exactly to its
target would always fail by it; ``Opinion.larger`` is what a report states.

Privacy: a function of the plan and the ledger's events; no patient's data enters.

References:
    Gopi, Lee, Wutschitz, NeurIPS 2021 (PRV).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from wardround_common.accounting import Event, epsilon, merge, usable_delta
from wardround_common.errors import PrivacyError

TOLERANCE: Final = 0.02
"""Largest difference that two correct answers may have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Opinion:
    """Epsilon of the same events by two libraries."""

    pld: float
    prv: float

    @property
    def larger(self) -> float:
        """The epsilon to state."""
        return max(self.pld, self.prv)


def second_opinion(events: Iterable[Event], *, delta: float) -> Opinion:
    """Compute the cost of ``events`` with both libraries.

    Args:
        events: In any order; none cost 0.
        delta: In (0, 1).

    Returns:
        Both epsilons, within ``TOLERANCE`` of each other.

    Raises:
        PrivacyError: ``privacy.opinions_differ``.
    """
    events = tuple(events)
    opinion = Opinion(pld=epsilon(events, delta=delta), prv=_prv_epsilon(events, delta))
    if not abs(opinion.pld - opinion.prv) <= TOLERANCE:
        raise PrivacyError(
            f"dp_accounting computes epsilon {opinion.pld:.4f}, Opacus {opinion.prv:.4f}: expected them "
            f"within {TOLERANCE}",
            remedy="Do not approve this plan; report its sample rate, noise multiplier, steps and delta.",
            code="privacy.opinions_differ",
        )
    return opinion


def _prv_epsilon(events: Iterable[Event], delta: float) -> float:
    """Ask Opacus, without its complaints about rate 1 (log 0) and about the orders of a rough first guess."""
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [(noise, rate, steps) for rate, noise, steps in merge(events)]
    if not accountant.history:
        return 0.0
    with np.errstate(divide="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Optimal order is the", category=UserWarning)
        return float(accountant.get_epsilon(usable_delta(delta)))
