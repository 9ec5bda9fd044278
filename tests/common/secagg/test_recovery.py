"""A secret from shares, some of which the dealer made up."""

from __future__ import annotations

import os
from itertools import combinations
from math import comb

import pytest

from wardround_common.secagg.recovery import MAX_SUBSETS, is_consistent, recover
from wardround_common.secagg.shamir import split
from wardround_common.secagg.thresholds import threshold

SECRET = bytes(range(32))


def dealt(n, t):
    return dict(enumerate(split(SECRET, threshold=t, count=n, entropy=os.urandom), start=1))


@pytest.mark.parametrize("n", [4, 5, 7, 10])
def test_as_long_as_t_shares_fit_the_secret_comes_out(n):
    t = threshold(n)
    for wrong in range(n - t + 1):
        for points in list(combinations(range(1, n + 1), wrong))[:10]:
            shares = dealt(n, t) | dict.fromkeys(points, bytes(33))
            assert recover(shares, threshold=t, fits=SECRET.__eq__) == SECRET
            assert is_consistent(shares, SECRET, threshold=t) == (not points)


@pytest.mark.parametrize("n", [4, 5, 7, 10])
def test_with_fewer_than_t_shares_that_fit_there_is_no_secret(n):
    t = threshold(n)
    shares = dealt(n, t) | dict.fromkeys(range(1, n - t + 2), bytes(33))
    assert recover(shares, threshold=t, fits=SECRET.__eq__) is None


def test_shares_of_a_value_above_32_bytes_are_not_even_compared():
    shares = dict.fromkeys(range(1, 4), (2**256 + 5).to_bytes(33, "big"))
    assert recover(shares, threshold=2, fits=lambda secret: len(secret) == 32) is None


def test_shares_on_another_polynomial_are_not_consistent_with_the_secret():
    assert not is_consistent(dealt(5, 4), bytes(32), threshold=4)


def test_all_subsets_are_tried_up_to_fourteen_sites():
    assert all(comb(n, threshold(n)) <= MAX_SUBSETS for n in range(3, 15))


def test_a_large_cohort_does_not_search_for_ever():
    t = threshold(30)
    tries = []
    shares = dealt(30, t)
    assert recover(shares, threshold=t, fits=lambda secret: tries.append(secret) is not None) is None
    assert len(tries) == MAX_SUBSETS
