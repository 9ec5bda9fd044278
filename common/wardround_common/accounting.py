"""What a mechanism costs: epsilon over events, and the noise that meets a target.

An event says what was done to a patient (mechanism, sampling rate, noise, number of steps), never what it
cost. Costs do not add up; events do, and the cost of any collection of them is computed here when it is
asked for.

Two measures, which are not mixed:

* ``epsilon``: privacy loss distributions (PLD), the tight one, for one study. It is what a plan states.
* ``rdp_curve`` and ``rdp_epsilon``: Renyi curves, looser by a tenth or so. They add up as vectors, which
  makes a total over a patient's life, from studies with different deltas, cheap to keep and to extend.

Not here: which events a patient is charged with (the site's ledger), the second opinion by another library
(``wardround_client.privacy.second_opinion``), the mechanism itself.

Rules:

* Relation: one patient added or removed. Unit: the patient, at one site. Never a sum over sites.
* A stated epsilon uses the fine PLD grid (1e-4); only the search for a noise multiplier uses the coarse one.
  Both grids err upwards.
* Finite precision: noise from 53-bit uniforms differs from a Gaussian by about 2**-53 in probability per
  number (an estimate, not a proof), ``parameters * steps * 2**-53`` per study. ``epsilon`` sets 1 % of delta
  aside for it, and ``check_precision`` refuses a plan for which that is not enough.
* dp_accounting takes most of a second to import: only the functions that need it do.

Privacy: everything here is a function of the plan; no patient's data enters.

References:
    Doroshenko et al., PoPETs 2022 (PLD, connect the dots); Mironov 2017 and Mironov, Talwar, Zhang 2019
    (RDP of the sampled Gaussian); Balle et al. 2020 (RDP to epsilon).
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Final, Literal

import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from wardround_common.errors import PrivacyError
from wardround_common.plan import StudyPlan

if TYPE_CHECKING:
    from dp_accounting import DpEvent
    from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution

LARGEST_EPSILON: Final = 50.0
"""No plan states more; above it a number says nothing."""

_FINE: Final = 1e-4
_COARSE: Final = 1e-3
_PRECISION_SHARE: Final = 0.01
_LEAST_NOISE: Final = 0.1
_MOST_NOISE: Final = 1e5
_RDP_STANDS_ABOVE: Final = 3 * LARGEST_EPSILON
_RDP_ROUNDING: Final = 1e-15
"""Per step, against curves that rounding makes zero or negative, which would read as no cost at all."""

Curve = npt.NDArray[np.float64]
_Merged = tuple[tuple[float, float, int], ...]


class Event(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``steps`` equal applications of one mechanism to the same patients."""

    mechanism: Literal["poisson_gaussian", "gaussian"]
    """``poisson_gaussian``: Gaussian noise on a sum over patients who were drawn independently with
    probability ``sample_rate``. ``gaussian``: the same without drawing; ``sample_rate`` is 1."""
    sample_rate: Annotated[float, Meta(gt=0, le=1)]
    noise_multiplier: Annotated[float, Meta(gt=0, le=1e9)]
    """Standard deviation of the noise over ``sensitivity``."""
    steps: Annotated[int, Meta(ge=1, le=10**9)]
    sensitivity: Annotated[float, Meta(gt=0, le=1e9)]
    """L2 norm of the most that one patient adds, in the mechanism's unit (clip; patients). For the record:
    the cost depends on ``noise_multiplier`` alone."""
    relation: Literal["add_or_remove_one"] = "add_or_remove_one"


def train_event(plan: StudyPlan, steps: int) -> Event:
    """Return the event of ``steps`` training steps under ``plan``, charged to training patients."""
    return Event(
        mechanism="poisson_gaussian",
        sample_rate=plan.recipe.sample_rate,
        noise_multiplier=plan.privacy.noise_multiplier,
        steps=steps,
        sensitivity=plan.privacy.max_grad_norm,
    )


def evaluate_event(plan: StudyPlan) -> Event | None:
    """Return the event of one release of counts, charged to validation and, separately, to test patients.

    None where the plan releases none.
    """
    if plan.evaluation is None:
        return None
    return Event(
        mechanism="gaussian",
        sample_rate=1.0,
        noise_multiplier=plan.evaluation.noise_multiplier,
        steps=1,
        sensitivity=1.0,
    )


def training_epsilon(plan: StudyPlan, rounds: int) -> float:
    """Compute what a training patient has spent after ``rounds`` TRAIN rounds of ``plan``, void or not."""
    if rounds == 0:
        return 0.0
    event = train_event(plan, rounds * plan.recipe.local_steps)
    return epsilon([event], delta=plan.privacy.target_delta)


def merge(events: Iterable[Event]) -> _Merged:
    """Add up the steps of equal mechanisms.

    Returns:
        Sorted ``(sample_rate, noise_multiplier, steps)``, each pair once: what the cost depends on.
    """
    steps_of: Counter[tuple[float, float]] = Counter()
    for event in events:
        steps_of[event.sample_rate, event.noise_multiplier] += event.steps
    return tuple((rate, noise, steps) for (rate, noise), steps in sorted(steps_of.items()))


def epsilon(events: Iterable[Event], *, delta: float) -> float:
    """Compute the epsilon of all ``events`` together on the same patients, by PLD.

    Guarantees: an upper bound for adding or removing one patient, finite precision of the noise included
    (module docstring). Where Renyi accounting already exceeds 150, that larger bound is returned: nobody
    accepts such a plan, and the exact answer can take gigabytes.

    Args:
        events: In any order; equal ones are merged first. None cost 0.
        delta: In (0, 1).

    Returns:
        Epsilon at ``delta``.
    """
    return _epsilon(merge(events), delta, _FINE)


def rdp_curve(events: Iterable[Event]) -> Curve:
    """Compute the Renyi curve of all ``events`` together.

    Curves of different events, studies and years add up for a patient who was in all of them.

    Returns:
        Renyi divergence at each of dp_accounting's default orders; inf where the library cannot tell.
    """
    return _curve(merge(events))


def rdp_epsilon(curve: Curve, *, delta: float) -> float:
    """Convert a Renyi curve (a sum of ``rdp_curve``) to epsilon at ``delta``; an upper bound."""
    from dp_accounting.rdp import compute_epsilon

    if not curve.any():
        return 0.0
    return float(compute_epsilon(_orders(), curve.tolist(), usable_delta(delta))[0])


def calibrate_training(
    *, target_epsilon: float, target_delta: float, sample_rate: float, steps: int
) -> float:
    """Find the noise multiplier with which ``steps`` training steps cost at most ``target_epsilon``.

    Guarantees: deterministic; a multiple of 1e-4, rounded up, and checked with the PLD that states epsilons;
    at most 1 % more noise than needed for targets of 0.1 and above.

    Raises:
        PrivacyError: ``privacy.unreachable``: no noise multiplier from 0.1 to 100,000 meets the target.
        ValueError: An argument is out of range.
    """
    if not 0 < sample_rate <= 1 or steps < 1:
        raise ValueError("calibration needs a sample rate in (0, 1] and at least one step")
    return _calibrate(lambda noise: ((sample_rate, noise, steps),), target_epsilon, target_delta)


def calibrate_evaluation(*, epsilon: float, delta: float) -> float:
    """Find the noise multiplier with which one release of counts costs at most ``epsilon``.

    Guarantees and errors are those of ``calibrate_training``.
    """
    return _calibrate(lambda noise: ((1.0, noise, 1),), epsilon, delta)


def check_precision(*, parameters: int, steps: int, delta: float) -> None:
    """Refuse a study whose noise has too many numbers for the share of delta that is set aside for them.

    Args:
        parameters: Numbers that are noised in a step.
        steps: Steps of the whole study.
        delta: The plan's.

    Raises:
        PrivacyError: ``privacy.precision``.
    """
    needed = parameters * steps * 2.0**-53
    if needed > _PRECISION_SHARE * delta:
        raise PrivacyError(
            f"{parameters} parameters and {steps} steps need {needed:.1e} of delta for the finite precision "
            f"of the noise, {_PRECISION_SHARE * delta:.1e} is set aside",
            remedy="Plan a smaller model, fewer steps or a larger delta.",
            code="privacy.precision",
        )


def usable_delta(delta: float) -> float:
    """Return the ``delta`` that accountants are asked at: without the share for finite precision."""
    if not 0 < delta < 1:
        raise ValueError(f"delta is in (0, 1), got {delta}")
    return delta * (1 - _PRECISION_SHARE)


def _calibrate(merged: Callable[[float], _Merged], target: float, delta: float) -> float:
    if not 0 < target <= LARGEST_EPSILON:
        raise ValueError(f"a target epsilon is above 0 and at most {LARGEST_EPSILON:g}, got {target}")
    noise = _search(lambda noise: _epsilon(merged(noise), delta, _COARSE), target)
    noise = math.ceil(noise * 1e4) / 1e4
    while _epsilon(merged(noise), delta, _FINE) > target:
        noise = math.ceil(noise * 1.001 * 1e4) / 1e4
    return noise


def _search(cost: Callable[[float], float], target: float) -> float:
    """Find the noise at which ``cost``, which falls with noise, comes within 0.1 % under ``target``."""
    low, high = _LEAST_NOISE, 2 * _LEAST_NOISE
    if cost(low) <= target:
        return low
    while cost(high) > target:
        low, high = high, 2 * high
        if high > _MOST_NOISE:
            raise PrivacyError(
                f"no noise multiplier up to {_MOST_NOISE:g} keeps epsilon at {target:g}",
                remedy="Plan fewer steps, a smaller sample rate, or a larger epsilon or delta.",
                code="privacy.unreachable",
            )
    while high > 1.001 * low:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if cost(middle) > target else (low, middle)
    return high


@lru_cache(maxsize=1024)
def _epsilon(merged: _Merged, delta: float, interval: float) -> float:
    if not merged:
        return 0.0
    if _order_two(merged) > _RDP_STANDS_ABOVE:
        bound = rdp_epsilon(_curve(merged), delta=delta)
        if bound > _RDP_STANDS_ABOVE:
            return bound
    return _pld_epsilon(merged, usable_delta(delta), interval)


def _pld_epsilon(merged: _Merged, delta: float, interval: float) -> float:
    """As dp_accounting's ``PLDAccountant`` has it, which computes the loss of one step anew each time."""
    from dp_accounting.pld.privacy_loss_distribution import identity

    loss = identity(value_discretization_interval=interval)
    for rate, noise, steps in merged:
        if rate == 1:
            loss = loss.compose(_loss_of_one(rate, noise / math.sqrt(steps), interval))
        else:
            loss = loss.compose(_loss_of_one(rate, noise, interval).self_compose(steps))
    return float(loss.get_epsilon_for_delta(delta))


@lru_cache(maxsize=4)
def _loss_of_one(rate: float, noise: float, interval: float) -> PrivacyLossDistribution:
    """The privacy loss of one step, which a site asks for in each round of a study."""
    from dp_accounting import NeighboringRelation
    from dp_accounting.pld.privacy_loss_distribution import from_gaussian_mechanism

    return from_gaussian_mechanism(
        standard_deviation=noise,
        value_discretization_interval=interval,
        sampling_prob=rate,
        neighboring_relation=NeighboringRelation.ADD_OR_REMOVE_ONE,
    )


def _order_two(merged: _Merged) -> float:
    """Renyi divergence of order 2, in closed form: log(1 - q^2 + q^2 exp(1 / sigma^2)) per step."""
    total = 0.0
    for rate, noise, steps in merged:
        exponent = min(noise**-2, 700.0)
        total += steps * math.log1p(rate**2 * math.expm1(exponent))
    return total


def _curve(merged: _Merged) -> Curve:
    curve = np.zeros(len(_orders()))
    for rate, noise, steps in merged:
        curve += steps * _curve_of_one(rate, noise)
    return curve


def _orders() -> Sequence[float]:
    """dp_accounting's default orders: 1.1 to 10.9 by tenths, 11 to 63, and powers of two to 1024."""
    import dp_accounting.rdp.rdp_privacy_accountant as rdp

    return tuple(rdp.DEFAULT_RDP_ORDERS)


@lru_cache(maxsize=1024)
def _curve_of_one(rate: float, noise: float) -> Curve:
    from dp_accounting.rdp import RdpAccountant

    accountant = RdpAccountant()
    with _without_convergence_warnings():
        accountant.compose(_dp_event(rate, noise))
    # The library has no public way to read the curve; a test compares it with get_epsilon.
    return np.maximum(np.asarray(accountant._rdp, dtype=np.float64), 0) + _RDP_ROUNDING


def _dp_event(rate: float, noise: float) -> DpEvent:
    from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent

    gaussian = GaussianDpEvent(noise)
    return gaussian if rate == 1 else PoissonSampledDpEvent(rate, gaussian)


@contextmanager
def _without_convergence_warnings() -> Iterator[None]:
    """Drop one warning of dp_accounting, of an order that it leaves out: 15 lines per event."""
    logger = logging.getLogger("absl")
    logger.addFilter(_is_not_about_convergence)
    try:
        yield
    finally:
        logger.removeFilter(_is_not_about_convergence)


def _is_not_about_convergence(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("_compute_log_a_frac failed to converge")
