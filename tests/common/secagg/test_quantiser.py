"""Updates as levels: bounds proved in the docstring, saturation, refusals, precision, random rounding."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardround_common.errors import SecAggError
from wardround_common.secagg.quantiser import Quantiser
from wardround_common.secagg.ring import exceeds, largest, signed
from wardround_common.streams import Stream, derive

METHODS = ["exact", "fast", "dithered"]
methods = pytest.mark.parametrize("method", METHODS)


def dither(*labels):
    return Stream(derive(b"d" * 32, "dither", *labels))


def one_tensor(size, *, sites, clip=4, method="exact", largest_weight=1.0):
    return Quantiser(sites=sites, sizes=(size,), clips=(clip,), method=method, largest_weight=largest_weight)


def total(vectors):
    out = np.zeros_like(vectors[0])
    for vector in vectors:
        out += vector
    return out


@methods
@pytest.mark.parametrize("n", [2, 3, 5, 10, 1000])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_sum_does_not_overflow(n, sign, method):
    quantiser = one_tensor(3, sites=n, method=method, largest_weight=1 / n)
    huge = np.array([sign * 3e38, sign * 16.0, sign * 16.1], dtype=np.float32)
    levels = [quantiser.encode(huge, weight=1 / n, dither=dither(i)) for i in range(n)]
    found = total(levels)
    exact = sum(int(vector[0]) for vector in map(signed, levels))
    assert abs(exact) <= largest(quantiser.word)
    assert exact == signed(found)[0]
    mean = quantiser.decode(found, weight=1.0)
    assert np.abs(mean - sign * 16).max() <= quantiser.mean_error(survivors=n, weight=1.0)
    assert not exceeds(found, quantiser.sum_bound(survivors=n, weight=1.0))


@methods
@given(patients=st.lists(st.integers(1, 10**7), min_size=2, max_size=12), data=st.data())
def test_no_weights_and_no_values_make_a_sum_that_the_ring_cannot_hold(method, patients, data):
    weights = [count / sum(patients) for count in patients]
    quantiser = one_tensor(2, sites=len(weights), method=method, largest_weight=max(weights))
    signs = st.sampled_from([-3e38, -16.0, 16.0, 3e38])
    updates = [np.array([data.draw(signs), 3e38], dtype=np.float32) for _ in weights]
    exact = sum(
        signed(quantiser.encode(update, weight=weight, dither=dither(i))).astype(object)
        for i, (update, weight) in enumerate(zip(updates, weights, strict=True))
    )
    bound = quantiser.sum_bound(survivors=len(weights), weight=sum(weights))
    assert max(map(abs, exact)) <= bound <= largest(quantiser.word)


@methods
@pytest.mark.parametrize("n", [2, 3, 12, 1000])
def test_the_bound_in_the_docstring_lies_below_half_the_ring(method, n):
    quantiser = one_tensor(1, sites=n, method=method, largest_weight=1 / n)
    a = {"exact": Fraction(1, 2), "fast": Fraction(1, 2), "dithered": 1}[method] + Fraction(1, 256)
    r = Fraction(1, 2**51) if method == "exact" else Fraction(1, 2**22)
    assert quantiser.levels * (1 + r) + n * a < largest(quantiser.word) + 1


@methods
@given(
    values=st.lists(st.floats(-40, 40, width=32), min_size=1, max_size=8),
    patients=st.lists(st.integers(1, 10_000), min_size=3, max_size=10),
    clip=st.integers(-6, 5),
    drop=st.booleans(),
)
def test_the_mean_is_within_the_bound_in_exact_arithmetic(method, values, patients, clip, drop):
    weights = [count / sum(patients) for count in patients]
    quantiser = one_tensor(
        len(values), sites=len(weights), clip=clip, method=method, largest_weight=max(weights)
    )
    updates = [np.roll(np.array(values, dtype=np.float32), i) for i in range(len(patients))]
    there = range(1 if drop else 0, len(patients))
    found = total([quantiser.encode(updates[i], weight=weights[i], dither=dither(i)) for i in there])
    whole = sum(weights[i] for i in there)
    mean = quantiser.decode(found, weight=whole)
    bound = Fraction(quantiser.mean_error(survivors=len(there), weight=whole))
    limit = Fraction(2) ** clip
    for place, value in enumerate(mean):
        clipped = [max(-limit, min(limit, Fraction(float(updates[i][place])))) for i in there]
        exact = sum(Fraction(weights[i]) * x for i, x in zip(there, clipped, strict=True))
        exact /= sum(Fraction(weights[i]) for i in there)
        assert abs(Fraction(float(value)) - exact) <= bound


@methods
@given(
    tensors=st.lists(st.tuples(st.integers(0, 70), st.integers(-40, 20)), min_size=1, max_size=6),
    seed=st.integers(0, 2**32),
)
def test_every_tensor_has_its_own_clip(method, tensors, seed):
    sizes, clips = zip(*tensors, strict=True)
    update = (
        2.0 ** np.repeat(clips, sizes) * 1.2 * Stream(derive(b"u" * 32, seed)).normal(sum(sizes))
    ).astype(np.float32)
    quantiser = Quantiser(sites=3, sizes=sizes, clips=clips, method=method, largest_weight=0.5)
    words = [quantiser.encode(update, weight=0.5, dither=dither(i)) for i in range(2)]
    mean = quantiser.decode(total(words), weight=1.0)
    start = 0
    for size, clip in tensors:
        limit, part = 2.0**clip, slice(start, start + size)
        alone = one_tensor(size, sites=3, clip=clip, method=method, largest_weight=0.5)
        error = np.abs(mean[part] - np.clip(update[part].astype(np.float64), -limit, limit))
        assert error.max(initial=0.0) <= alone.mean_error(survivors=2, weight=1.0)
        start += size


@methods
def test_pieces_are_cut_where_clips_change_and_nowhere_seen(method):
    sizes, clips = (40_000, 1, 70_000), (2, 3, 2)
    update = (2 * Stream(derive(b"r" * 32, "cut")).normal(110_001)).astype(np.float32)
    quantiser = Quantiser(sites=3, sizes=sizes, clips=clips, method=method)
    found = quantiser.decode(quantiser.encode(update, weight=1.0, dither=dither()), weight=1.0)
    expected = np.clip(update, -4, 4)
    expected[40_000] = np.clip(update[40_000], -8, 8)
    assert np.abs(found - expected).max() <= quantiser.mean_error(survivors=1, weight=1.0)


@pytest.mark.parametrize("method", ["exact", "fast"])
def test_levels_are_rounded_to_the_nearest_even(method):
    quantiser = one_tensor(6, sites=2, clip=0, method=method)
    weight = 1 / quantiser.levels
    update = np.array([0.5, 0.50001, -0.5, 1.0, -1.0, 0.49], dtype=np.float32)
    assert signed(quantiser.encode(update, weight=weight)).tolist() == [0, 1, 0, 1, -1, 0]


@methods
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 40_000, 99_999])
def test_what_is_not_finite_is_refused(method, bad, place):
    update = np.zeros(100_000, dtype=np.float32)
    update[place] = bad
    with pytest.raises(SecAggError) as caught:
        one_tensor(100_000, sites=3, method=method).encode(update, weight=0.5, dither=dither())
    assert caught.value.code == "secagg.not_finite"


@pytest.mark.parametrize("method", ["exact", "fast"])
def test_encoding_in_place_gives_the_same_levels(method):
    update = (3 * Stream(derive(b"r" * 32, "in place")).normal(100_001)).astype(np.float32)
    quantiser = one_tensor(100_001, sites=5, clip=2, method=method, largest_weight=0.2)
    separate = quantiser.encode(update, weight=0.2)
    place = update.view(np.uint32)
    assert quantiser.encode(update, weight=0.2, out=place) is place
    assert np.array_equal(place, separate)


@methods
def test_saturated_coordinates_stay_below_the_sum_bound_and_larger_ones_do_not(method):
    quantiser = one_tensor(2, sites=3, clip=0, method=method, largest_weight=0.5)
    update = np.array([-9, 9], dtype=np.float32)
    found = total([quantiser.encode(update, weight=0.25, dither=dither(i)) for i in range(2)])
    bound = quantiser.sum_bound(survivors=2, weight=0.5)
    assert not exceeds(found, bound)
    assert exceeds(found, bound - 6)


@pytest.mark.parametrize("weight", [-0.1, 0.6, 1.1, float("nan")])
def test_a_weight_is_a_share_and_no_larger_than_the_largest(weight):
    with pytest.raises(ValueError, match="weight"):
        one_tensor(1, sites=3, largest_weight=0.5).encode(np.zeros(1, dtype=np.float32), weight=weight)


def test_one_site_is_no_sum():
    with pytest.raises(ValueError, match="sites"):
        one_tensor(1, sites=1)


def test_a_vector_of_another_length_is_a_mistake():
    with pytest.raises(ValueError, match="vector of 3"):
        one_tensor(3, sites=3).encode(np.zeros(4, dtype=np.float32), weight=0.5)
    with pytest.raises(ValueError, match="vector of 3"):
        one_tensor(3, sites=3).decode(np.zeros(2, dtype=np.uint32), weight=0.5)
    with pytest.raises(ValueError, match="clips"):
        Quantiser(sites=3, sizes=(1, 2), clips=(4,))


def test_random_rounding_needs_a_stream_and_follows_it():
    quantiser = one_tensor(1001, sites=3, clip=0, method="dithered")
    update = np.linspace(-1, 1, 1001, dtype=np.float32)
    with pytest.raises(ValueError, match="stream"):
        quantiser.encode(update, weight=0.5)
    one, same, other = (quantiser.encode(update, weight=0.5, dither=dither(name)) for name in "aab")
    assert one.dtype == np.uint16
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert np.abs(signed(one).astype(int) - signed(other)).max() <= 1


@pytest.mark.parametrize("fraction", [0.0, 0.001, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("whole", [-20_000, -1, 0, 300])
def test_random_rounding_has_no_bias(whole, fraction):
    """The mean of 200,000 draws is within six standard errors of the product; plain rounding is not."""
    draws = 200_000
    quantiser = one_tensor(draws, sites=2, clip=0, method="dithered")
    wanted = np.float32(whole + fraction)
    update = np.full(draws, wanted / quantiser.levels, dtype=np.float32)
    found = signed(quantiser.encode(update, weight=1.0, dither=dither("bias"))).mean(dtype=np.float64)
    arithmetic = abs(whole) * 2.0**-22 + 2.0**-15
    assert abs(found - float(wanted)) <= 6 * 0.5 / draws**0.5 * (fraction > 0) + arithmetic


def realistic(sites, sizes=(9408, 64, 36_864, 64, 147_456, 512), seed=0):
    """Updates with a common and an individual part, heavy tails, tensors of very different size."""
    normal = Stream(derive(b"r" * 32, "realistic", seed)).normal
    size = sum(sizes)
    spread = np.repeat([3e-3, 2e-2, 1e-3, 1e-2, 4e-4, 5e-3][: len(sizes)], sizes)
    common = normal(size) * np.exp(normal(size) / 2)
    return [
        (spread * (common + normal(size) * np.exp(normal(size) / 2))).astype(np.float32) for _ in range(sites)
    ]


@pytest.mark.parametrize(("method", "limit"), [("exact", 1e-6), ("fast", 1e-5), ("dithered", 1e-3)])
def test_the_mean_of_realistic_updates_has_the_promised_precision(method, limit):
    """Clips as tight as possible; how tight they are in a study is the business of ``clips``."""
    sizes = (9408, 64, 36_864, 64, 147_456, 512)
    updates = realistic(10, sizes)
    largest_of = [
        max(np.abs(part).max() for part in parts)
        for parts in zip(*(np.split(u, np.cumsum(sizes)[:-1]) for u in updates), strict=True)
    ]
    clips = tuple(int(np.frexp(value)[1]) for value in largest_of)
    quantiser = Quantiser(sites=10, sizes=sizes, clips=clips, method=method, largest_weight=0.1)
    found = total([quantiser.encode(u, weight=0.1, dither=dither(i)) for i, u in enumerate(updates)])
    exact = np.mean([u.astype(np.float64) for u in updates], axis=0)
    error = np.linalg.norm(quantiser.decode(found, weight=1.0) - exact) / np.linalg.norm(exact)
    assert error <= limit
