"""The ABORT rule at its boundaries. That it suffices is shown in ``tests/secagg/test_schedules.py``."""

from __future__ import annotations

from itertools import combinations

import pytest

from wardround_common.errors import SecAggError
from wardround_common.secagg.retry import MaskedAttempt, aborts_needed, check_retry
from wardround_common.secagg.thresholds import check_cohort, threshold

NAMES = tuple("abcdefghijkl")


def attempt(number=1, n=10):
    return MaskedAttempt(attempt=number, cohort=NAMES[:n], t=threshold(n))


def refusal(masked, aborts, *, site="a", opened=False, c=1):
    with pytest.raises(SecAggError) as caught:
        check_retry(masked, aborts=aborts, site=site, opened=opened, max_colluders=c)
    return caught.value


def permitted_colluders(n):
    for c in range(n):
        try:
            check_cohort(n, minimum=3, max_colluders=c)
        except SecAggError:
            continue
        yield c


@pytest.mark.parametrize(
    ("n", "c", "needed"), [(3, 1, 2), (4, 1, 3), (5, 1, 3), (5, 2, 4), (10, 1, 5), (10, 3, 7)]
)
def test_so_many_aborts_close_an_attempt(n, c, needed):
    assert aborts_needed(attempt(n=n), max_colluders=c) == needed


@pytest.mark.parametrize("n", range(3, 40))
def test_t_reachable_members_can_always_close_an_attempt_and_too_few_are_left_to_open_it(n):
    cohort = MaskedAttempt(attempt=1, cohort=tuple(f"{i:02}" for i in range(n)), t=threshold(n))
    for c in permitted_colluders(n):
        needed = aborts_needed(cohort, max_colluders=c)
        assert needed <= cohort.t
        assert n - (needed - c) < cohort.t


def test_a_site_that_has_masked_nothing_joins_freely():
    check_retry((), aborts={}, site="a", opened=False, max_colluders=1)
    check_retry((), aborts={1: ("b",)}, site="a", opened=False, max_colluders=3)


def test_a_site_that_opened_sends_nothing_more_whatever_was_aborted():
    for masked in ((), (attempt(),)):
        error = refusal(masked, {1: NAMES[:10]}, opened=True)
        assert (error.code, error.retryable) == ("secagg.already_opened", False)


def test_one_abort_too_few_is_refused_and_the_refusal_says_how_many_are_missing():
    check_retry((attempt(),), aborts={1: set("abcde")}, site="a", opened=False, max_colluders=1)
    error = refusal((attempt(),), {1: set("abcd")})
    assert (error.code, error.retryable) == ("secagg.not_aborted", True)
    for part in ("attempt 1", "at least 5", "10 members", "got 4"):
        assert part in error.message


def test_without_any_abort_of_the_attempt_none_is_counted():
    assert "got 0 without a" in refusal((attempt(),), {}).message


@pytest.mark.parametrize("n", [3, 4, 5, 7, 10, 12])
def test_exactly_the_sets_of_enough_members_with_ones_own_pass(n):
    for c in permitted_colluders(n):
        needed = aborts_needed(attempt(n=n), max_colluders=c)
        for size in (needed - 1, needed):
            for said in combinations(NAMES[:n], size):
                if size == needed and "a" in said:
                    check_retry((attempt(n=n),), aborts={1: said}, site="a", opened=False, max_colluders=c)
                else:
                    assert refusal((attempt(n=n),), {1: said}, c=c).code == "secagg.not_aborted"


def test_the_aborts_of_all_others_do_not_replace_ones_own():
    error = refusal((attempt(),), {1: set(NAMES[1:10])})
    assert error.code == "secagg.not_aborted"
    assert "got 9 without a" in error.message


def test_names_outside_the_recorded_cohort_do_not_count():
    small = MaskedAttempt(attempt=1, cohort=tuple("abcdef"), t=threshold(6))
    check_retry((small,), aborts={1: set("abc")}, site="a", opened=False, max_colluders=1)
    assert "got 2" in refusal((small,), {1: set("ab") | set("ghijkl")}).message
    outside = MaskedAttempt(attempt=1, cohort=tuple("bcdef"), t=threshold(5))
    assert "without a" in refusal((outside,), {1: set("abcdef")}).message


def test_a_site_listed_twice_counts_once():
    assert "got 2" in refusal((attempt(),), {1: ["a", "b", "b", "a", "b"]}).message


def test_every_earlier_attempt_must_be_closed_not_only_the_last():
    masked = (attempt(1), attempt(2, n=4), attempt(4))
    enough = {1: set("abcde"), 2: set("abc"), 4: set("abcde")}
    check_retry(masked, aborts=enough, site="a", opened=False, max_colluders=1)
    for number in enough:
        error = refusal(masked, {key: said for key, said in enough.items() if key != number})
        assert error.code == "secagg.aborted_elsewhere"
        assert f"attempt {number}," in error.message


def test_aborts_of_an_attempt_in_which_nothing_was_masked_close_no_other():
    error = refusal((attempt(1),), {2: set(NAMES[:10])})
    assert error.code == "secagg.aborted_elsewhere"
    assert error.retryable
    assert "attempt 1," in error.message


def test_aborts_of_another_attempt_do_not_make_up_for_those_that_are_missing():
    said = {1: {"a"}, 2: set(NAMES[:10])}
    assert refusal((attempt(1),), said).code == "secagg.not_aborted"


def test_each_attempt_is_counted_in_its_own_cohort():
    masked = (attempt(1, n=10), MaskedAttempt(attempt=2, cohort=tuple("ahij"), t=threshold(4)))
    said = {1: set("abcde"), 2: set("abc")}
    assert "attempt 2 " in refusal(masked, said).message
    check_retry(masked, aborts={**said, 2: set("ahi")}, site="a", opened=False, max_colluders=1)
