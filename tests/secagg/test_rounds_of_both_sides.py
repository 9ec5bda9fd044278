"""Whole attempts between production sessions: exact sums under every dropout that the thresholds bear."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wardround_common.errors import SecAggError
from wardround_common.secagg.quantiser import Quantiser
from wardround_common.secagg.ring import decode_counts, encode_counts
from wardround_common.secagg.thresholds import threshold
from wardround_common.streams import Stream, derive

REPLIES = ("hello", "deal", "masked", "confirm", "open", "accept")


@pytest.mark.parametrize("n", [3, 4, 5, 10])
@pytest.mark.parametrize("kind", ["train", "evaluate"])
def test_a_round_without_dropouts_gives_the_exact_sum_to_everybody(world, n, kind):
    w = world(n, context={"kind": kind}).play("accept")
    assert w.coordinator.surviving == w.sites
    assert np.array_equal(w.coordinator.aggregate(), w.expected(w.sites))
    assert all(np.array_equal(packet.array, w.expected(w.sites)) for packet in w.packets["result"].values())
    assert len(w.coordinator.accepts) == n
    assert w.coordinator.blamed == {}


@pytest.mark.parametrize("step", REPLIES[1:])
@pytest.mark.parametrize(("n", "drops"), [(4, 1), (5, 1), (7, 2), (10, 3)])
def test_as_many_may_drop_at_any_one_exchange_as_leave_a_threshold(world, n, drops, step):
    w = world(n)
    gone = w.sites[1 : 1 + drops]
    w.play("accept", silent=dict.fromkeys(gone, step))
    survivors = tuple(name for name in w.sites if name not in gone or step not in ("deal", "masked"))
    assert w.coordinator.surviving == survivors
    assert np.array_equal(w.coordinator.aggregate(), w.expected(survivors))


@pytest.mark.parametrize(
    ("step", "code", "free"),
    [
        ("deal", "secagg.too_few_dealers", True),
        ("masked", "secagg.too_few_uploads", False),
        ("confirm", "secagg.too_few_confirms", False),
        ("open", "secagg.too_few_opens", False),
    ],
)
@pytest.mark.parametrize(("n", "drops"), [(3, 1), (5, 2), (10, 4)])
def test_one_more_dropout_ends_the_attempt_and_says_whether_a_retry_is_free(
    world, refused, n, drops, step, code, free
):
    w = world(n)
    with refused(code, retryable=free):
        w.play("accept", silent=dict.fromkeys(w.sites[:drops], step))
    assert w.coordinator.may_have_masked is not free


@pytest.mark.parametrize(
    ("step", "closing", "code", "free"),
    [
        ("hello", "cohort", "secagg.cohort_too_small", True),
        ("deal", "envelopes", "secagg.too_few_dealers", True),
        ("masked", "survivors", "secagg.too_few_uploads", False),
        ("confirm", "confirms", "secagg.too_few_confirms", False),
        ("open", "aggregate", "secagg.too_few_opens", False),
    ],
)
def test_the_coordinator_itself_sees_that_too_few_answered(world, refused, step, closing, code, free):
    w = world(4).play(step, silent={"a": step, "b": step})
    with refused(code, retryable=free):
        getattr(w.coordinator, closing)()


def test_too_few_hellos_end_the_attempt_for_free(world, refused):
    w = world(4)
    with refused("secagg.cohort_too_small", retryable=True):
        w.play("accept", silent=dict.fromkeys(w.sites[:2], "hello"))
    assert not w.coordinator.may_have_masked


def play_out(w, silent):
    """Play a round in which sites fall silent; it must give the exact sum, or end where too few are left.

    Returns whether it gave the sum.
    """
    n = len(w.sites)
    answering = [n - sum(REPLIES.index(step) <= i for step in silent.values()) for i in range(len(REPLIES))]
    t = threshold(answering[0])
    needed = (3, max(t, 3), max(t, 3), t, t)
    if all(have >= need for have, need in zip(answering, needed, strict=False)):
        w.play("accept", silent=silent)
        early = ("hello", "deal", "masked")
        survivors = tuple(name for name in w.sites if silent.get(name) not in early)
        assert w.coordinator.surviving == survivors
        assert np.array_equal(w.coordinator.aggregate(), w.expected(survivors))
        assert w.coordinator.blamed == {}
        return True
    with pytest.raises(SecAggError) as caught:
        w.play("accept", silent=silent)
    failed = next(i for i, need in enumerate(needed) if answering[i] < need)
    assert caught.value.retryable == (failed < 2)
    return False


WORDS = st.sampled_from((0, 1, 2**31 - 1, 2**31, 2**32 - 1)) | st.integers(0, 2**32 - 1)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_pattern_of_dropouts_gives_the_exact_sum_or_a_clear_end(world, data):
    n = data.draw(st.integers(3, 12), label="n")
    last = st.sampled_from((*REPLIES, None, None, None, None, None, None))
    w = world(n, size=5, context={"kind": data.draw(st.sampled_from(("train", "evaluate")), label="kind")})
    vectors = data.draw(st.lists(st.lists(WORDS, min_size=5, max_size=5), min_size=n, max_size=n))
    w.vectors = dict(zip(w.sites, np.array(vectors, dtype=np.uint32), strict=True))
    play_out(w, {name: step for name in w.sites if (step := data.draw(last, label=name)) is not None})


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_as_many_dropouts_as_are_borne_at_any_mixture_of_exchanges_leave_the_exact_sum(world, data):
    n = data.draw(st.integers(4, 12), label="n")
    w = world(n, size=5)
    gone = data.draw(st.permutations(w.sites))[: n - threshold(n)]
    assert play_out(w, {name: data.draw(st.sampled_from(REPLIES[1:]), label=name) for name in gone})


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_the_sum_is_exact_in_both_rings_under_both_ciphers_and_along_both_graphs(world, data):
    n = data.draw(st.integers(3, 16), label="n")
    bits = data.draw(st.sampled_from((16, 32)), label="bits")
    cipher = data.draw(st.sampled_from(("aes-256-ctr", "chacha20")), label="cipher")
    w = world(n, size=5, bits=bits, cipher=cipher, degree=8, verify_full=data.draw(st.booleans()))
    words = st.integers(0, 2**bits - 1)
    vectors = data.draw(st.lists(st.lists(words, min_size=5, max_size=5), min_size=n, max_size=n))
    w.vectors = dict(zip(w.sites, np.array(vectors, dtype=w.terms.word), strict=True))
    gone = data.draw(st.permutations(w.sites))[: n - threshold(n)]
    assert play_out(w, {name: data.draw(st.sampled_from(REPLIES[1:]), label=name) for name in gone})


@pytest.mark.statistical
@pytest.mark.parametrize(("n", "degree"), [(30, 12), (100, 40)])
def test_a_large_cohort_bears_its_dropouts_spread_over_all_exchanges(world, n, degree):
    w = world(n, size=70_000, degree=degree)
    gone = w.sites[:: n // (n - threshold(n))][: n - threshold(n)]
    assert len(gone) == n - threshold(n)
    assert play_out(w, {name: REPLIES[1:][i % 5] for i, name in enumerate(gone)})


def test_a_site_that_comes_back_after_void_rounds_takes_part_in_a_later_one(world):
    first = world(3)
    with pytest.raises(SecAggError):
        first.play("accept", silent={"b": "masked"})
    second = world(3, context={"round": 2}, records=first.records, seed="2").play("accept")
    third = world(
        3, context={"round": 3}, records=first.records, seed="3", state=b"n" * 32,
        accepts=second.coordinator.accepts,
    )  # fmt: skip
    third.play("accept")
    assert np.array_equal(third.coordinator.aggregate(), third.expected(third.sites))


def test_an_evaluation_leaves_the_state_as_it_was(world):
    first = world(3, context={"kind": "evaluate"}).play("accept")
    world(3, context={"round": 2}, records=first.records, seed="2").play("accept")


def test_a_second_attempt_is_free_as_long_as_nothing_was_masked(world):
    first = world(5)
    with pytest.raises(SecAggError):
        first.play("accept", silent={"a": "deal", "b": "deal"})
    again = world(5, context={"attempt": 2}, records=first.records, seed="again").play("accept")
    assert np.array_equal(again.coordinator.aggregate(), again.expected(again.sites))


def test_with_fixed_entropy_every_message_is_the_same(world):
    one, two, other = (world(4, seed=seed).play("accept").packets for seed in ("", "", "other"))
    for step, packets in one.items():
        assert {name: packet.envelope for name, packet in packets.items()} == {
            name: packet.envelope for name, packet in two[step].items()
        }
    assert one["masked"]["a"].envelope != other["masked"]["a"].envelope


def test_confirm_open_and_accept_may_be_asked_again_and_give_the_same_bytes(world):
    w = world(3).play("accept")
    assert w.sessions["a"].accept(b"n" * 32).envelope == w.packets["accept"]["a"].envelope
    w = world(3).play("open")
    assert w.sessions["a"].confirm(w.packets["survivors"]["a"]).envelope == w.packets["confirm"]["a"].envelope
    assert w.sessions["a"].open(w.packets["confirms"]["a"]).envelope == w.packets["open"]["a"].envelope


def test_a_masked_vector_shows_nothing_of_its_content(world):
    w = world(3, size=4000)
    w.vectors = {name: np.zeros(4000, dtype=np.uint32) for name in w.sites}
    w.play("masked")
    for packet in w.replies.values():
        bits = np.unpackbits(packet.array.view(np.uint8)).mean()
        assert abs(bits - 0.5) < 0.01
        assert len(np.unique(packet.array)) > 3990


def test_the_plain_vector_is_overwritten_by_the_masked_one(world):
    w = world(3).play("envelopes")
    vector = w.vectors["a"].copy()
    packet = w.sessions["a"].masked(w.requests["a"], vector)
    assert packet.array is vector
    assert not np.array_equal(vector, w.vectors["a"])


@pytest.mark.parametrize(("n", "dropped"), [(3, 0), (5, 0), (5, 1), (10, 0), (10, 3)])
def test_the_decoded_mean_is_within_the_stated_bound_of_the_float64_mean(world, n, dropped):
    w = world(n, size=3000)
    patients = np.arange(1, n + 1) * 97
    weights = dict(zip(w.sites, patients / patients.sum(), strict=True))
    draws = Stream(derive(b"u" * 32, n))
    updates = {name: (3 * draws.normal(3000)).astype(np.float32) for name in w.sites}
    quantiser = Quantiser(sites=n, sizes=(w.terms.size,), clips=(2,))
    w.vectors = {name: quantiser.encode(updates[name], weight=weights[name]) for name in w.sites}
    w.play("accept", silent=dict.fromkeys(w.sites[:dropped], "masked"))
    survivors = w.coordinator.surviving
    total = sum(weights[name] for name in survivors)
    clipped = {name: np.clip(updates[name].astype(np.float64), -4, 4) for name in survivors}
    mean = sum(weights[name] * clipped[name] for name in survivors) / total
    found = quantiser.decode(w.coordinator.aggregate(), weight=total)
    bound = quantiser.mean_error(survivors=len(survivors), weight=total)
    assert np.abs(found - mean).max() <= bound
    assert bound < 4 * 2**-28


def test_counts_come_out_as_their_exact_sum(world):
    w = world(5, size=16, context={"kind": "evaluate"})
    counts = {name: np.arange(16, dtype=np.int64) * (i - 2) * 64 for i, name in enumerate(w.sites)}
    w.vectors = {name: encode_counts(counts[name], sites=5) for name in w.sites}
    w.play("accept", silent={"e": "masked"})
    expected = sum(counts[name] for name in "abcd")
    assert np.array_equal(decode_counts(w.coordinator.aggregate()), expected)
