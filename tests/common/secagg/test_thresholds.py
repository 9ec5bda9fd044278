"""The arithmetic of cohorts: what is tolerated, and that nothing more is."""

from __future__ import annotations

from pathlib import Path

import pytest

import wardround_client
import wardround_common
import wardround_server
from wardround_common.errors import SecAggError
from wardround_common.secagg.refusals import REMEDIES, refuse
from wardround_common.secagg.thresholds import SecAggPolicy, check_cohort, threshold


@pytest.mark.parametrize(("n", "t"), [(3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (10, 7), (30, 21)])
def test_the_threshold_is_more_than_two_thirds(n, t):
    assert threshold(n) == t == n * 2 // 3 + 1
    assert 3 * t > 2 * n


@pytest.mark.parametrize(("n", "colluders"), [(3, 1), (4, 1), (5, 2), (7, 2), (10, 3), (30, 11)])
def test_the_tolerated_number_of_colluders_is_the_designs(n, colluders):
    assert check_cohort(n, minimum=3, max_colluders=colluders) == threshold(n)
    with pytest.raises(SecAggError) as caught:
        check_cohort(n, minimum=3, max_colluders=colluders + 1)
    assert caught.value.code in ("secagg.too_many_colluders", "secagg.too_few_honest")


@pytest.mark.parametrize("n", range(3, 40))
def test_two_confirmed_sets_share_an_honest_site(n):
    t = threshold(n)
    for c in range(n):
        try:
            check_cohort(n, minimum=3, max_colluders=c)
        except SecAggError:
            continue
        assert 2 * t - n > c  # sites in both of two sets of t among n
        assert n - c >= 2
        assert t > c  # colluders alone recover nothing


def test_a_cohort_below_the_minimum_is_refused():
    with pytest.raises(SecAggError) as caught:
        check_cohort(4, minimum=5, max_colluders=1)
    assert caught.value.code == "secagg.cohort_too_small"


def test_a_policy_is_safe_by_default():
    assert SecAggPolicy() == SecAggPolicy(minimum_cohort=3, max_colluders=1)


def test_every_remedy_is_used_and_is_one_sentence_or_two():
    packages = (wardround_common, wardround_client, wardround_server)
    text = "".join(
        path.read_text()
        for package in packages
        for path in Path(package.__path__[0]).rglob("*.py")
        if path.name != "refusals.py"
    )
    for what, remedy in REMEDIES.items():
        assert f'"{what}"' in text or f'"secagg.{what}"' in text, what
        assert remedy.endswith(".")
    assert refuse("order", "x").code == "secagg.order"
