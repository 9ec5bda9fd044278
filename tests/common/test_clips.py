"""Clips that follow from an aggregate: above what sites may send next, never wild, the same everywhere."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wardround_common.clips import LARGEST, SMALLEST, following_clips
from wardround_common.streams import Stream, derive


def after(mean, *, last=None, sizes=None, sites=4, first=True):
    mean = np.array(mean, dtype=np.float64)
    sizes = sizes or [1] * mean.size
    return following_clips(last or [4] * len(sizes), mean, sizes=sizes, sites=sites, first=first)


def reference(part, sites):
    """The rule in exact arithmetic, but for the rounding of coordinates to 2^-15 of the largest."""
    numbers = [Fraction(float(value)) for value in part]
    largest = max(map(abs, numbers))
    units = [round(number / largest * 2**15) for number in numbers]
    mean_square = Fraction(sum(unit * unit for unit in units), len(units) * 2**30) * largest**2
    k = -200
    while Fraction(2) ** k <= largest * Fraction(5, 4) or Fraction(4) ** k <= 16 * sites * mean_square:
        k += 1
    return k


def test_a_clip_lies_above_five_quarters_of_the_largest():
    assert after([1.0] + [0.0] * 999, sizes=[1000]) == (1,)  # 1.25 -> 2
    assert after([-1.7] + [0.0] * 999, sizes=[1000]) == (2,)


def test_a_clip_lies_above_four_deviations_of_a_single_site():
    assert after([0.9] * 8, sizes=[8], sites=4) == (3,)  # 4 * 2 * 0.9 = 7.2 -> 8
    assert after([0.9, -0.9] * 4, sizes=[8], sites=9) == (4,)  # 10.8 -> 16


@given(
    part=st.lists(st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-9), min_size=1, max_size=30),
    sites=st.integers(2, 1000),
)
def test_the_rule_in_exact_arithmetic(part, sites):
    assume(any(part))
    wanted = min(max(reference(part, sites), SMALLEST), LARGEST)
    assert after(part, sizes=[len(part)], sites=sites) == (wanted,)


def test_the_order_of_coordinates_does_not_matter():
    part = Stream(derive(b"o" * 32, "order")).normal(200_000) ** 3
    assert after(part, sizes=[part.size]) == after(np.sort(part)[::-1], sizes=[part.size])


def test_each_tensor_has_its_own():
    assert after([1.0] * 2 + [0.3] * 3 + [0.01], sizes=[2, 3, 1]) == (4, 2, -3)


def test_a_tensor_that_did_not_move_keeps_room():
    assert after([0.9, 0.0]) == (3, 3 - 8)
    assert after([0.9, 1e-9]) == (3, 3 - 8)


def test_where_nothing_moved_the_clips_stay():
    assert after([0.0, -0.0], last=[3, -7]) == (3, -7)


def test_after_the_first_round_a_clip_falls_by_at_most_two_and_rises_freely():
    assert after([2.0**-12]) == (-8,)
    assert after([2.0**-12], last=[4], first=False) == (2,)
    assert after([2.0**12], last=[-10], first=False) == (16,)


@given(
    mean=st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=6),
    last=st.integers(SMALLEST, LARGEST),
    sites=st.integers(2, 1000),
    first=st.booleans(),
)
def test_clips_stay_within_their_bounds_and_above_the_mean(mean, last, sites, first):
    clips = after(mean, last=[last] * len(mean), sites=sites, first=first)
    assert all(SMALLEST <= clip <= LARGEST for clip in clips)
    for clip, value in zip(clips, mean, strict=True):
        assert clip == LARGEST or 2.0**clip > abs(value)


@pytest.mark.parametrize("sites", [3, 10, 30, 100])
def test_updates_that_are_noise_alone_are_not_cut_smaller_and_smaller(sites):
    """A mean of n independent updates is sqrt(n) too small; the rule makes up for it, from any start."""
    sizes, clips = [1, 50, 1000], (-12, -12, -12)
    normal = Stream(derive(b"n" * 32, sites)).normal
    for number in range(12):
        limit = 2.0 ** np.repeat(clips, sizes)
        updates = [np.clip(normal(1051), -limit, limit) for _ in range(sites)]
        clips = following_clips(clips, np.mean(updates, axis=0), sizes=sizes, sites=sites, first=number == 0)
    assert 2 <= clips[2] <= 3
    assert 1 <= clips[1] <= 4
    assert clips[0] >= -5
