"""What the ledger refuses before a patient is touched: three limits, each with its own sentence.

1. The plan's own promise: what is planned costs no more than the plan tells patients.
2. The site's limits on one study: epsilon and delta.
3. The site's limit on one patient's life, over all studies, by Renyi curves at the site's fixed delta.

Not here: which patients are charged with what (``history``, ``members``).

Privacy: looks at events and limits; a message states epsilons, never a patient or a number of patients.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from wardround_client.ledger.records import SIDE_NAMES, Reservation, kind_charged
from wardround_common.accounting import Curve, Event, epsilon, rdp_curve, rdp_epsilon
from wardround_common.errors import PrivacyError

_ROUNDING: Final = 1e-6
"""Two machines may compute the same epsilon differently in the last digits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What the site permits. Epsilons of one study are at the plan's delta, by PLD.

    Attributes:
        largest_epsilon: Of one study, for any one patient.
        lifetime_epsilon: Of one patient over all studies, by Renyi accounting at ``lifetime_delta``.
        lifetime_delta: Fixed by the site once; epsilons at different deltas cannot be compared.
        largest_delta: Of one study.
    """

    largest_epsilon: float
    lifetime_epsilon: float
    lifetime_delta: float
    largest_delta: float = 1e-3

    def __post_init__(self) -> None:
        if not (0 < self.largest_epsilon < math.inf and 0 < self.lifetime_epsilon < math.inf):
            raise ValueError("epsilon limits are above 0 and finite")
        if not (0 < self.lifetime_delta < 1 and 0 < self.largest_delta < 1):
            raise ValueError("delta limits are in (0, 1)")


@dataclass(frozen=True, kw_only=True, slots=True)
class SideEpsilon:
    """Epsilon of one study for a patient of each side; a patient is on one side only."""

    train: float
    validation: float
    test: float

    @property
    def largest(self) -> float:
        """The most that any one patient has spent."""
        return max(self.train, self.validation, self.test)


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyCost:
    """What a study has cost so far.

    Attributes:
        study: Its name.
        task: Its task.
        epsilon: The most that any one patient has spent on it, by PLD at ``delta``.
        delta: Its plan's.
    """

    study: str
    task: str
    epsilon: float
    delta: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Lifetime:
    """What one patient has spent or reserved over all studies.

    Attributes:
        epsilon: By Renyi accounting at ``delta``.
        delta: The site's lifetime delta.
        curve: The patient's Renyi curve.
    """

    epsilon: float
    delta: float
    curve: Curve


def check_study(reservation: Reservation, limits: Limits) -> None:
    """Return only if the planned cost keeps the plan's promise and the site's limits on one study.

    Raises:
        PrivacyError: ``privacy.overdrawn``.
    """
    delta = reservation.target_delta
    if delta > limits.largest_delta:
        raise _overdrawn(
            f"the plan's delta is {delta:g}, this site permits {limits.largest_delta:g}",
            "Ask the lead for a plan with a smaller delta, or raise largest_delta of this site.",
        )
    promises = (
        (reservation.train, reservation.target_epsilon),
        (reservation.evaluate, reservation.evaluation_epsilon),
    )
    for whom, (event, promised) in zip(("training", "held-out"), promises, strict=True):
        required = epsilon([event] if event else [], delta=delta)
        if required > promised + _ROUNDING:
            raise _overdrawn(
                f"the plan promises {whom} patients epsilon {promised:g}, its noise costs {required:.4f}",
                "Ask the lead to calibrate the plan's noise multipliers anew.",
            )
        if required > limits.largest_epsilon + _ROUNDING:
            raise _overdrawn(
                f"the plan costs {whom} patients epsilon {required:.4f}, this site permits "
                f"{limits.largest_epsilon:g} per study",
                "Ask the lead for a plan with a smaller epsilon, or raise largest_epsilon of this site.",
            )


def check_lifetime(reservation: Reservation, limits: Limits, *, side: int, charged: Iterable[Event]) -> None:
    """Return only if patients of ``side`` who are charged with ``charged`` can pay for the study as well.

    Raises:
        PrivacyError: ``privacy.overdrawn``.
    """
    before = rdp_curve(charged)
    planned = reservation.planned(kind_charged(side))
    if planned is None:
        return
    after = before + rdp_curve([planned])
    required = rdp_epsilon(after, delta=limits.lifetime_delta)
    if required > limits.lifetime_epsilon + _ROUNDING:
        held = rdp_epsilon(before, delta=limits.lifetime_delta)
        raise _overdrawn(
            f"some {SIDE_NAMES[side]} patient would come to a lifetime epsilon of {required:.4f} (spent or "
            f"reserved so far: {held:.4f}), this site permits {limits.lifetime_epsilon:g} at delta "
            f"{limits.lifetime_delta:g}",
            "Close studies that have ended, use patients of fewer studies, or raise lifetime_epsilon.",
        )


def side_epsilon(train: Iterable[Event], evaluate: Iterable[Event], *, delta: float) -> SideEpsilon:
    """Compute the epsilon of each side from the events charged to it."""
    held_out = epsilon(evaluate, delta=delta)
    return SideEpsilon(train=epsilon(train, delta=delta), validation=held_out, test=held_out)


def largest_lifetime(charged: Iterable[Iterable[Event]], limits: Limits) -> Lifetime:
    """Find the most charged among patients, each given by the events charged to them."""
    curves = [rdp_curve(events) for events in charged] or [rdp_curve([])]
    delta = limits.lifetime_delta
    epsilons = [rdp_epsilon(curve, delta=delta) for curve in curves]
    most = max(range(len(curves)), key=epsilons.__getitem__)
    return Lifetime(epsilon=epsilons[most], delta=delta, curve=curves[most])


def _overdrawn(message: str, remedy: str) -> PrivacyError:
    return PrivacyError(message, remedy=remedy, code="privacy.overdrawn")
