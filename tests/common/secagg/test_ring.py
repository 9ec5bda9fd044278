"""Numbers in the ring: bounds, saturation, refusals, digests."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardround_common.errors import SecAggError
from wardround_common.secagg.ring import (
    Quantiser,
    decode_counts,
    encode_counts,
    exceeds,
    is_vector,
    largest_count,
    vector_digest,
)
from wardround_common.streams import Stream, derive


def total(vectors):
    out = np.zeros_like(vectors[0])
    for vector in vectors:
        out += vector
    return out


@pytest.mark.parametrize("n", [2, 3, 5, 10, 1000])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_sum_does_not_overflow(n, sign):
    quantiser = Quantiser(clip_log2=4, sites=n)
    weights = [1 / n] * n
    huge = np.array([sign * 3e38, sign * 16.0, sign * 16.1], dtype=np.float32)
    found = total([quantiser.encode(huge, weight=weight) for weight in weights])
    mean = quantiser.decode(found, weight=1.0)
    assert np.abs(mean - sign * 16).max() <= quantiser.mean_error(survivors=n, weight=1.0)
    assert not exceeds(found, quantiser.sum_bound(survivors=n, weight=1.0))
    assert quantiser.levels + n / 2 < 2**31


@given(
    values=st.lists(st.floats(-40, 40, width=32), min_size=1, max_size=8),
    patients=st.lists(st.integers(1, 10_000), min_size=3, max_size=10),
    clip=st.integers(-6, 5),
    drop=st.booleans(),
)
def test_the_mean_is_within_the_bound_in_exact_arithmetic(values, patients, clip, drop):
    weights = [count / sum(patients) for count in patients]
    quantiser = Quantiser(clip_log2=clip, sites=len(patients))
    updates = [np.roll(np.array(values, dtype=np.float32), i) for i in range(len(patients))]
    there = range(1 if drop else 0, len(patients))
    found = total([quantiser.encode(updates[i], weight=weights[i]) for i in there])
    whole = sum(weights[i] for i in there)
    mean = quantiser.decode(found, weight=whole)
    bound = Fraction(quantiser.mean_error(survivors=len(there), weight=whole))
    limit = Fraction(2) ** clip
    for place, value in enumerate(mean):
        clipped = [max(-limit, min(limit, Fraction(float(updates[i][place])))) for i in there]
        exact = sum(Fraction(weights[i]) * x for i, x in zip(there, clipped, strict=True))
        exact /= sum(Fraction(weights[i]) for i in there)
        assert abs(Fraction(float(value)) - exact) <= bound


def test_levels_are_rounded_to_the_nearest_even():
    quantiser = Quantiser(clip_log2=0, sites=2)
    weight = 1 / quantiser.scale
    update = np.array([0.5, 0.50001, -0.5, 1.0, -1.0, 0.49], dtype=np.float32)
    assert decode_counts(quantiser.encode(update, weight=weight)).tolist() == [0, 1, 0, 1, -1, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 40_000, 99_999])
def test_what_is_not_finite_is_refused(bad, place):
    update = np.zeros(100_000, dtype=np.float32)
    update[place] = bad
    with pytest.raises(SecAggError) as caught:
        Quantiser(clip_log2=4, sites=3).encode(update, weight=0.5)
    assert caught.value.code == "secagg.not_finite"


def test_encoding_in_place_gives_the_same_levels():
    update = (3 * Stream(derive(b"r" * 32, "in place")).normal(100_001)).astype(np.float32)
    quantiser = Quantiser(clip_log2=2, sites=5)
    separate = quantiser.encode(update, weight=0.2)
    place = update.view(np.uint32)
    assert quantiser.encode(update, weight=0.2, out=place) is place
    assert np.array_equal(place, separate)


def test_saturated_coordinates_stay_below_the_sum_bound_and_larger_ones_do_not():
    quantiser = Quantiser(clip_log2=0, sites=3)
    update = np.array([-9, 9], dtype=np.float32)
    found = quantiser.encode(update, weight=0.25) + quantiser.encode(update, weight=0.25)
    bound = quantiser.sum_bound(survivors=2, weight=0.5)
    assert not exceeds(found, bound)
    assert exceeds(found, bound - 5)
    assert exceeds(np.array([2**31], dtype=np.uint32), 2**31 - 1)


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_a_weight_is_a_share(weight):
    with pytest.raises(ValueError, match="weight"):
        Quantiser(clip_log2=4, sites=3).encode(np.zeros(1, dtype=np.float32), weight=weight)


def test_one_site_is_no_sum():
    with pytest.raises(ValueError, match="sites"):
        Quantiser(clip_log2=4, sites=1)


@given(
    counts=st.lists(st.integers(-largest_count(3), largest_count(3)), min_size=1, max_size=20),
)
def test_counts_are_exact_at_their_extremes(counts):
    vectors = [encode_counts(np.array(np.roll(counts, i), dtype=np.int64), sites=3) for i in range(3)]
    expected = sum(np.roll(np.array(counts, dtype=np.int64), i) for i in range(3))
    assert np.array_equal(decode_counts(total(vectors)), expected)


@pytest.mark.parametrize("count", [largest_count(3) + 1, -largest_count(3) - 1, 2**62, -(2**63)])
def test_a_count_that_could_overflow_is_refused(count):
    with pytest.raises(SecAggError) as caught:
        encode_counts(np.array([0, count], dtype=np.int64), sites=3)
    assert caught.value.code == "secagg.out_of_range"


def test_a_digest_stands_for_length_and_content():
    vector = np.arange(10, dtype=np.uint32)
    other = vector.copy()
    other[3] ^= 1 << 31
    digests = {vector_digest(v) for v in (vector, other, vector[:9], np.append(vector, np.uint32(0)))}
    assert len(digests) == 4
    assert vector_digest(vector.astype(">u4").astype("<u4")) == vector_digest(vector)


def test_a_vector_is_one_dimensional_contiguous_and_uint32():
    assert is_vector(np.zeros(4, np.uint32), 4)
    for wrong in (None, [0] * 4, np.zeros(4, np.int32), np.zeros(5, np.uint32), np.zeros(8, np.uint32)[::2]):
        assert not is_vector(wrong, 4)
