"""Clips that follow from an aggregate: above what sites may send next, never wild, the same everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardround_common.clips import LARGEST, SMALLEST, following_clips
from wardround_common.streams import Stream, derive


def after(mean, *, last=None, sizes=None, sites=4, first=True):
    mean = np.array(mean, dtype=np.float64)
    sizes = sizes or [1] * mean.size
    return following_clips(last or [4] * len(sizes), mean, sizes=sizes, sites=sites, first=first)


def test_a_clip_is_the_power_of_two_above_one_and_a_half_times_the_largest_and_root_n():
    assert after([1.0], sites=4) == (2,)  # 1.5 -> 2 -> times sqrt(4)
    assert after([-1.4], sites=4) == (3,)
    assert after([1.0], sites=3) == after([1.0], sites=4)
    assert after([1.0], sites=5) == after([1.0], sites=16) == (3,)
    assert after([1.0], sites=17) == (4,)
    assert after([0.1, -0.9, 0.4], sizes=[3]) == after([0.9])


def test_each_tensor_has_its_own():
    assert after([1.0, 0.0, 0.25, 0.3, 0.01], sizes=[2, 2, 1]) == (2, 0, -6 + 1)


def test_a_tensor_that_did_not_move_keeps_room():
    assert after([1.0, 0.0]) == (2, 2 - 8)
    assert after([1.0, 1e-9]) == (2, 2 - 8)


def test_where_nothing_moved_the_clips_stay():
    assert after([0.0, -0.0], last=[3, -7]) == (3, -7)


def test_after_the_first_round_a_clip_falls_by_at_most_two_and_rises_freely():
    assert after([2.0**-12]) == (-10,)
    assert after([2.0**-12], last=[4], first=False) == (2,)
    assert after([2.0**12], last=[-10], first=False) == (14,)


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
    assert 1 <= clips[2] <= 4
    assert 0 <= clips[1] <= 4
    assert clips[0] >= -4
