import logging
import subprocess
import sys

import msgspec
import numpy as np
import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from scipy import stats

from wardround_common import accounting
from wardround_common.accounting import (
    Event,
    calibrate_evaluation,
    calibrate_training,
    check_precision,
    epsilon,
    evaluate_event,
    merge,
    rdp_curve,
    rdp_epsilon,
    train_event,
    usable_delta,
)
from wardround_common.errors import PrivacyError

MEASURED = [  # sample rate, noise, steps, delta, epsilon by PLD as measured apart from this code
    (0.1, 3.42, 100, 1e-4, 0.986),
    (0.5, 2.82, 100, 1e-4, 7.990),
    (0.5, 114, 5000, 1e-4, 0.987),
    (0.17, 2.11, 60, 1e-5, 2.987),
    (1.0, 6.01, 100, 1e-5, 7.988),
]


def event(rate: float, noise: float, steps: int) -> Event:
    kind = "gaussian" if rate == 1 else "poisson_gaussian"
    return Event(mechanism=kind, sample_rate=rate, noise_multiplier=noise, steps=steps, sensitivity=1.0)


def gaussian_delta(noise: float, eps: float) -> float:
    """Delta of one Gaussian mechanism, in closed form (Balle and Wang 2018, theorem 8)."""
    return stats.norm.cdf(0.5 / noise - eps * noise) - np.exp(eps) * stats.norm.cdf(
        -0.5 / noise - eps * noise
    )


@pytest.mark.parametrize(("rate", "noise", "steps", "delta", "expected"), MEASURED)
def test_epsilon_is_what_was_measured(rate, noise, steps, delta, expected):
    assert epsilon([event(rate, noise, steps)], delta=delta) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("noise", [0.6, 3.0, 40.0])
def test_epsilon_of_one_gaussian_is_the_closed_form_and_never_below_it(noise):
    eps = epsilon([event(1.0, noise, 1)], delta=1e-5)
    assert gaussian_delta(noise, eps) <= usable_delta(1e-5)
    assert gaussian_delta(noise, eps - 0.002) > usable_delta(1e-5)


def test_full_sampling_costs_what_no_sampling_costs():
    sampled = msgspec.structs.replace(event(1.0, 5.0, 10), mechanism="poisson_gaussian")
    assert epsilon([sampled], delta=1e-5) == epsilon([event(1.0, 5.0, 10)], delta=1e-5)


def test_equal_events_are_merged_and_cost_the_same():
    rounds = [event(0.2, 2.0, 5), event(1.0, 9.0, 1)] * 4
    assert merge(rounds) == ((0.2, 2.0, 20), (1.0, 9.0, 4))
    accountant = PLDAccountant(value_discretization_interval=1e-4)
    for _ in range(4):
        accountant.compose(PoissonSampledDpEvent(0.2, GaussianDpEvent(2.0)), 5)
        accountant.compose(GaussianDpEvent(9.0))
    unmerged = accountant.get_epsilon(usable_delta(1e-5))
    assert epsilon(rounds, delta=1e-5) == pytest.approx(unmerged, abs=1e-3)


def test_two_events_cost_more_than_either_and_less_than_their_sum():
    train, count = event(0.2, 2.0, 40), event(1.0, 3.0, 1)
    apart = [epsilon([one], delta=1e-5) for one in (train, count)]
    assert max(apart) < epsilon([train, count], delta=1e-5) < sum(apart)


def test_nothing_costs_nothing():
    assert epsilon([], delta=1e-5) == 0.0
    assert rdp_epsilon(rdp_curve([]), delta=1e-5) == 0.0


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5])
def test_a_delta_out_of_range_is_refused(delta):
    with pytest.raises(ValueError, match="delta"):
        epsilon([event(0.1, 1.0, 1)], delta=delta)


def test_an_absurd_plan_is_answered_at_once_with_an_upper_bound():
    assert epsilon([event(0.5, 0.01, 10**6)], delta=1e-5) > 1e6


@pytest.mark.statistical
def test_a_plan_that_only_looks_absurd_still_gets_the_tight_answer():
    events = [event(1e-4, 0.2, 30)]
    assert epsilon(events, delta=1e-5) < 0.9 * rdp_epsilon(rdp_curve(events), delta=1e-5)


def test_renyi_curves_add_up_and_give_the_epsilon_of_the_librarys_own_accountant():
    events = [event(0.2, 2.0, 40), event(0.01, 0.8, 500), event(1.0, 3.0, 1)]
    accountant = RdpAccountant()
    for one in events:
        gaussian = GaussianDpEvent(one.noise_multiplier)
        sampled = PoissonSampledDpEvent(one.sample_rate, gaussian)
        accountant.compose(gaussian if one.sample_rate == 1 else sampled, one.steps)
    curve = sum(rdp_curve([one]) for one in events)
    np.testing.assert_allclose(curve, rdp_curve(events), rtol=1e-12)
    assert rdp_epsilon(curve, delta=1e-5) == pytest.approx(
        accountant.get_epsilon(usable_delta(1e-5)), rel=1e-9
    )


def test_renyi_epsilon_is_an_upper_bound_of_the_tight_one():
    events = [event(0.2, 2.0, 40)]
    assert epsilon(events, delta=1e-5) < rdp_epsilon(rdp_curve(events), delta=1e-5)


def test_a_cost_too_small_for_floating_point_is_not_taken_for_none():
    curve = rdp_curve([event(1e-6, 1e5, 10**9)])
    assert (curve > 0).all()


def test_a_cached_curve_cannot_be_changed_by_its_user():
    before = rdp_epsilon(rdp_curve([event(0.3, 2.0, 7)]), delta=1e-5)
    rdp_curve([event(0.3, 2.0, 7)])[:] = 0
    assert rdp_epsilon(rdp_curve([event(0.3, 2.0, 7)]), delta=1e-5) == before


@pytest.mark.parametrize(("target", "rate", "steps"), [(3.0, 0.17, 60), (1.0, 1.0, 20), (0.3, 0.4, 40)])
def test_calibrated_noise_meets_the_target_and_one_per_cent_less_does_not(target, rate, steps):
    noise = calibrate_training(target_epsilon=target, target_delta=1e-5, sample_rate=rate, steps=steps)
    assert noise == round(noise, 4)
    assert epsilon([event(rate, noise, steps)], delta=1e-5) <= target
    assert epsilon([event(rate, 0.99 * noise, steps)], delta=1e-5) > target


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("target", "rate", "steps"), [(8.0, 0.01, 1000), (1.0, 0.0005, 5000), (1.0, 0.5, 5000), (50.0, 0.3, 60)]
)
def test_calibrated_noise_is_tight_for_unusual_plans_too(target, rate, steps):
    noise = calibrate_training(target_epsilon=target, target_delta=1e-5, sample_rate=rate, steps=steps)
    assert epsilon([event(rate, noise, steps)], delta=1e-5) <= target
    assert epsilon([event(rate, 0.99 * noise, steps)], delta=1e-5) > target


def test_calibrated_counts_meet_their_epsilon_and_one_per_cent_less_noise_does_not():
    noise = calibrate_evaluation(epsilon=2.0, delta=1e-5)
    assert epsilon([event(1.0, noise, 1)], delta=1e-5) <= 2.0
    assert epsilon([event(1.0, 0.99 * noise, 1)], delta=1e-5) > 2.0


def test_a_target_that_no_noise_meets_is_refused():
    with pytest.raises(PrivacyError) as refused:
        calibrate_training(target_epsilon=0.001, target_delta=1e-9, sample_rate=1.0, steps=10**9)
    assert refused.value.code == "privacy.unreachable"


@pytest.mark.parametrize("target", [0.0, -1.0, 50.1, float("nan")])
def test_a_target_out_of_range_is_refused(target):
    with pytest.raises(ValueError, match="target"):
        calibrate_evaluation(epsilon=target, delta=1e-5)


@pytest.mark.parametrize(("rate", "steps"), [(0.0, 1), (1.1, 1), (0.5, 0)])
def test_a_calibration_of_no_mechanism_is_refused(rate, steps):
    with pytest.raises(ValueError, match="calibration"):
        calibrate_training(target_epsilon=1.0, target_delta=1e-5, sample_rate=rate, steps=steps)


def test_events_say_what_the_plan_says(plan):
    train = train_event(plan, 5)
    assert (train.sample_rate, train.noise_multiplier, train.steps) == (0.2, 2.0, 5)
    assert train.sensitivity == plan.privacy.max_grad_norm
    counts = evaluate_event(plan)
    assert (counts.mechanism, counts.sample_rate, counts.noise_multiplier) == ("gaussian", 1.0, 0.7)
    assert counts.sensitivity == 1.0


@pytest.mark.parametrize(
    "change",
    [
        {"sample_rate": 0.0},
        {"noise_multiplier": 0.0},
        {"steps": 0},
        {"relation": "replace_one"},
        {"extra": 1},
    ],
)
def test_an_event_with_a_wrong_field_is_refused(change):
    fields = msgspec.to_builtins(event(0.1, 1.0, 1)) | change
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(fields, Event)


def test_noise_of_too_many_numbers_for_its_precision_is_refused():
    check_precision(parameters=25_000, steps=10_000, delta=1e-5)
    with pytest.raises(PrivacyError) as refused:
        check_precision(parameters=11_000_000, steps=10_000, delta=1e-5)
    assert refused.value.code == "privacy.precision"


def test_the_share_for_precision_is_taken_from_delta():
    assert usable_delta(1e-5) == pytest.approx(0.99e-5)
    accountant = PLDAccountant(value_discretization_interval=1e-4).compose(GaussianDpEvent(2.0))
    assert epsilon([event(1.0, 2.0, 1)], delta=1e-5) > accountant.get_epsilon(1e-5)


def test_one_warning_of_the_library_is_dropped_and_others_pass(caplog):
    accounting._curve_of_one.cache_clear()
    rdp_curve([event(0.4, 1.0, 1)])
    assert "failed to converge" not in caplog.text
    RdpAccountant().compose(PoissonSampledDpEvent(0.4, GaussianDpEvent(1.0)))
    assert "failed to converge" in caplog.text
    with accounting._without_convergence_warnings():
        logging.getLogger("absl").warning("something else")
    assert "something else" in caplog.text


def test_importing_the_module_does_not_import_the_slow_library():
    code = "import sys, wardround_common.accounting; sys.exit('dp_accounting' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "parts",
    [
        ((0.2, 1.1, 40),),
        ((1.0, 2.0, 9),),
        ((0.05, 0.8, 500), (0.3, 1.5, 3), (1.0, 4.0, 2)),
    ],
)
def test_epsilon_is_the_number_that_the_librarys_accountant_gives(parts):
    accountant = PLDAccountant(value_discretization_interval=1e-4)
    for rate, noise, steps in parts:
        gaussian = GaussianDpEvent(noise)
        accountant.compose(gaussian if rate == 1 else PoissonSampledDpEvent(rate, gaussian), steps)
    expected = accountant.get_epsilon(usable_delta(1e-5))
    accounting._epsilon.cache_clear()
    assert epsilon([event(*part) for part in parts], delta=1e-5) == expected
    accounting._epsilon.cache_clear()  # the loss of one step is remembered now
    assert epsilon([event(*part) for part in parts], delta=1e-5) == expected
