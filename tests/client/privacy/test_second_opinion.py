import pytest

from wardround_client.privacy import second_opinion as module
from wardround_client.privacy.second_opinion import TOLERANCE, second_opinion
from wardround_common.accounting import Event
from wardround_common.errors import PrivacyError

PLANS = [  # sample rate, noise, steps, delta
    (0.1, 3.42, 100, 1e-4),
    (0.1, 1.87, 1000, 1e-4),
    (0.5, 2.82, 100, 1e-4),
    (0.17, 2.11, 60, 1e-5),
    (0.4, 1.0, 40, 1e-5),
    (0.3, 72.0, 60, 1e-5),
    (0.002, 0.859, 5000, 1e-5),
    (0.0005, 0.62, 5000, 1e-5),
    (1.0, 6.01, 100, 1e-5),
    (1.0, 0.15, 1, 1e-5),
]


def event(rate: float, noise: float, steps: int) -> Event:
    return Event(
        mechanism="poisson_gaussian", sample_rate=rate, noise_multiplier=noise, steps=steps, sensitivity=1.0
    )


@pytest.mark.statistical
@pytest.mark.parametrize(("rate", "noise", "steps", "delta"), PLANS)
def test_two_libraries_agree_and_the_larger_counts(rate, noise, steps, delta):
    opinion = second_opinion([event(rate, noise, steps)], delta=delta)
    assert abs(opinion.pld - opinion.prv) <= TOLERANCE
    assert opinion.larger == max(opinion.pld, opinion.prv)


def test_two_libraries_agree_on_a_mixture_of_events(recwarn):
    rounds = [event(0.1, 3.42, 20), event(1.0, 4.0, 1), event(0.1, 3.42, 30)]
    opinion = second_opinion(rounds, delta=1e-5)
    assert abs(opinion.pld - opinion.prv) <= TOLERANCE
    assert not [warning for warning in recwarn if "divide" in str(warning.message)]


def test_nothing_costs_nothing_by_either():
    assert second_opinion([], delta=1e-5).larger == 0.0


@pytest.mark.parametrize("lie", [0.5, 50.0, float("nan"), float("inf")])
def test_a_library_that_errs_is_noticed(monkeypatch, lie):
    monkeypatch.setattr(module, "epsilon", lambda events, *, delta: lie)
    with pytest.raises(PrivacyError) as refused:
        second_opinion([event(0.17, 2.11, 60)], delta=1e-5)
    assert refused.value.code == "privacy.opinions_differ"


def test_the_wrong_number_of_steps_is_noticed(monkeypatch):
    right = module.epsilon
    half = [event(0.17, 2.11, 30)]
    monkeypatch.setattr(module, "epsilon", lambda events, *, delta: right(half, delta=delta))
    with pytest.raises(PrivacyError):
        second_opinion([event(0.17, 2.11, 60)], delta=1e-5)
