"""Sentences and numbers of the report: true, careful, readable."""

import itertools
import math

import msgspec
import pytest

from wardround_common.evaluation import Estimate
from wardround_server.report import formats, words
from wardround_server.report.charts.svg import Canvas, clipped, spread, ticks


def test_promise_is_stated_for_a_site_never_for_the_sum(report):
    (promise,) = words.guarantees(report)
    assert "any one of alder, birch, cedar and dogwood" in promise
    assert "at most e^2.99 (about 20) times as likely" in promise
    assert "anonymous" not in promise


def test_promise_for_many_costs_is_that_of_the_dearest_site(report):
    sites = {
        f"s{i}": msgspec.structs.replace(report.privacy.sites["alder"], epsilon_spent=1 + i / 10)
        for i in range(9)
    }
    (promise,) = words.guarantees(
        msgspec.structs.replace(report, privacy=msgspec.structs.replace(report.privacy, sites=sites))
    )
    assert "any one of the 9 sites" in promise
    assert "ε = 1.80" in promise


def test_simulated_noise_is_not_sold_as_private(report, deployed):
    assert "whoever knows the seed can subtract the noise" in words.randomness(report)
    assert "operating system" in words.randomness(deployed)


def test_epsilon_is_never_understated():
    assert formats.epsilon(2.9801) == "2.99"
    assert formats.epsilon(3.0) == "3.00"
    assert all(
        float(formats.times(e).replace(",", "")) >= math.exp(e) - 1e-9
        for e in (0.0, 0.1, 1.0, 2.987, 8.0, 20.0)
    )


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (formats.delta(1e-5), "1e\N{MINUS SIGN}5"),
        (formats.delta(2.5e-4), "2.5e\N{MINUS SIGN}4"),
        (formats.size(0), "0 B"),
        (formats.size(999_600), "1.0 MB"),
        (formats.size(495_100), "495 kB"),
        (formats.size(18_400_000), "18.4 MB"),
        (formats.duration(0.02), "20 ms"),
        (formats.duration(48.2), "48 s"),
        (formats.duration(200), "3 min 20 s"),
        (formats.duration(7500), "2 h 5 min"),
        (formats.count(-2.4), "\N{MINUS SIGN}2"),
        (formats.percent(0.006), "0.6 %"),
        (formats.percent(0.9), "90 %"),
        (formats.signed(-0.0414), "\N{MINUS SIGN}0.041"),
        (formats.listed(["a"]), "a"),
        (formats.listed(["a", "b", "c"]), "a, b and c"),
        (formats.listed([]), ""),
        (formats.interval(Estimate(0.5, 0.0, 1.0)), "not known"),
    ],
)
def test_numbers_read_well(shown, wanted):
    assert shown == wanted


def test_ticks_are_round_and_inside():
    assert ticks(0.7, 1.0, about=3) == [0.7, 0.8, 0.9, 1.0]
    assert ticks(0.0, 93.0, about=5) == [0.0, 20.0, 40.0, 60.0, 80.0]
    assert ticks(1.0, 1.0, about=4) == [1.0]


def test_labels_are_moved_apart_and_stay_inside():
    placed = spread([10.0, 11.0, 12.0, 100.0], gap=15.0, low=0.0, high=100.0)
    assert placed == sorted(placed)
    assert all(b - a >= 15.0 for a, b in itertools.pairwise(placed))
    assert max(placed) <= 100.0


def test_long_labels_are_cut_and_kept_whole_in_the_tip():
    name = "a-very-long-name-of-a-hospital"
    assert clipped(name, 80).endswith("…")
    canvas = Canvas(width=100, height=20)
    canvas.text(0, 10, name, room=80)
    assert f"<title>{name}</title>" in canvas.render("label")
