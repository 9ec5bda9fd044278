import copy
import hashlib
import hmac
import pickle

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from wardround_common.streams import Stream, derive, rounded_normal

SECRET = bytes(range(32))
KEY = derive(SECRET, "test")

label = st.one_of(st.text(max_size=4), st.integers(), st.binary(max_size=4))
labels = st.lists(label, min_size=1, max_size=4)


def keystream(key: bytes, n: int) -> bytes:
    """AES-256 of the block numbers 0, 1, ..., one block at a time."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    blocks = (encryptor.update(i.to_bytes(16, "big")) for i in range(-(-n // 16)))
    return b"".join(blocks)[:n]


def words(key: bytes, n: int) -> list[int]:
    data = keystream(key, 8 * n)
    return [int.from_bytes(data[8 * i : 8 * i + 8], "little") for i in range(n)]


def test_a_derived_key_is_hkdf_over_type_length_and_value_of_each_label():
    info = b"s\0\0\0\5noise" + b"i\0\0\0\2-7" + b"b\0\0\0\1\xff"
    extracted = hmac.digest(b"wardround streams 1", SECRET, hashlib.sha256)
    assert derive(SECRET, "noise", -7, b"\xff") == hmac.digest(extracted, info + b"\1", hashlib.sha256)


@given(labels, labels)
def test_different_labels_give_different_keys(some, others):
    same = [(type(label), label) for label in some] == [(type(label), label) for label in others]
    assert (derive(SECRET, *some) == derive(SECRET, *others)) == same


@pytest.mark.parametrize("others", [("a", "bc"), ("abc",), (b"ab", "c"), ("ab", b"c")])
def test_labels_that_read_alike_when_joined_give_different_keys(others):
    assert derive(SECRET, "ab", "c") != derive(SECRET, *others)


def test_another_secret_gives_another_key():
    assert derive(SECRET, "a") != derive(bytes(32), "a")


def test_a_short_secret_is_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        derive(bytes(31), "a")


def test_a_key_without_a_label_is_refused():
    with pytest.raises(ValueError, match="label"):
        derive(SECRET)


@pytest.mark.parametrize("label", [True, 1.0, None, ("a",)])
def test_a_label_of_another_type_is_refused(label):
    with pytest.raises(TypeError, match="label"):
        derive(SECRET, label)


def test_bytes_are_the_aes_keystream_whatever_the_pieces():
    stream = Stream(KEY)
    pieces = [stream.bytes(n) for n in (0, 1, 40_000, 15, 65_536)]
    assert b"".join(pieces) == keystream(KEY, 105_552)


@pytest.mark.parametrize("n", [0, 1, 4095, 4096, 4097, 10_000])
def test_uniform_is_the_upper_53_bits_of_each_word(n):
    expected = [(word >> 11) * 2.0**-53 for word in words(KEY, n)]
    assert Stream(KEY).uniform(n).tolist() == expected


@pytest.mark.parametrize("high", [1, 2, 7, 1000, 2**62 + 1, 3 * 2**61, 2**63])
def test_below_takes_the_remainder_of_words_that_are_not_rejected(high):
    drawn = words(KEY, 400)
    expected, spare = drawn[:100], iter(drawn[100:])
    while rejected := [i for i, word in enumerate(expected) if word < 2**64 % high]:
        for i in rejected:
            expected[i] = next(spare)
    assert Stream(KEY).below(100, high).tolist() == [word % high for word in expected]


def test_below_is_even_where_a_plain_remainder_is_not():
    high = 3 * 2**61
    thirds = np.bincount(Stream(KEY).below(30_000, high) // 2**61, minlength=3)
    biased = np.bincount([word % high // 2**61 for word in words(KEY, 30_000)], minlength=3)
    assert stats.chisquare(thirds).pvalue > 0.01
    assert stats.chisquare(biased).pvalue < 1e-6


@pytest.mark.parametrize("high", [0, -1, 2**63 + 1])
def test_below_refuses_a_bound_out_of_range(high):
    with pytest.raises(ValueError, match="high"):
        Stream(KEY).below(1, high)


@pytest.mark.parametrize("n", [0, 1, 2, 7, 4096, 4097, 9001])
def test_normal_is_box_muller_of_the_uniforms_piece_by_piece(n):
    uniform = np.array([(word >> 11) * 2.0**-53 for word in words(KEY, n + n % 2)])
    expected = []
    for start in range(0, uniform.size, 4096):
        first, second = np.split(uniform[start : start + 4096], 2)
        radius, angle = np.sqrt(-2 * np.log(1 - first)), 2 * np.pi * second
        expected += [*(radius * np.cos(angle)), *(radius * np.sin(angle))]
    np.testing.assert_allclose(Stream(KEY).normal(n), expected[:n], rtol=1e-9, atol=1e-12)


def test_normal_numbers_are_normal_and_a_wrong_width_is_seen():
    drawn = Stream(KEY).normal(20_000)
    assert stats.kstest(drawn, "norm").pvalue > 0.01
    assert stats.kstest(drawn * 1.05, "norm").pvalue < 1e-3


def test_the_two_numbers_of_a_pair_are_uncorrelated_in_value_and_in_size():
    first, second = np.split(Stream(KEY).normal(4096), 2)
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(2048)
    assert abs(np.corrcoef(first**2, second**2)[0, 1]) < 4 / np.sqrt(2048)


def test_integer_noise_is_the_rounded_normal_of_the_same_keystream():
    assert (
        rounded_normal(Stream(KEY), 4096, sd=1e4).tolist() == np.rint(Stream(KEY).normal(4096) * 1e4).tolist()
    )


def test_integer_noise_is_int64_and_continues_over_pieces():
    stream, pieces = Stream(KEY), Stream(KEY)
    drawn = rounded_normal(stream, 10_000, sd=30.0)
    assert drawn.dtype == np.int64
    assert drawn.tolist() == [
        x for n in (4096, 4096, 1808) for x in rounded_normal(pieces, n, sd=30.0).tolist()
    ]


@pytest.mark.parametrize("sd", [0.0, -1.0, float("nan"), float("inf"), 2.0**52])
def test_integer_noise_of_an_impossible_width_is_refused(sd):
    with pytest.raises(ValueError, match="standard deviation"):
        rounded_normal(Stream(KEY), 1, sd=sd)


@pytest.mark.parametrize("draw", ["bytes", "uniform", "normal"])
def test_a_negative_number_of_draws_is_refused(draw):
    with pytest.raises(ValueError, match="negative"):
        getattr(Stream(KEY), draw)(-1)


def test_a_key_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        Stream(bytes(16))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_stream_cannot_be_duplicated(duplicate):
    with pytest.raises(TypeError, match="another key"):
        duplicate(Stream(KEY))


def test_streams_of_neighbouring_steps_are_uncorrelated_and_a_reused_key_is_seen():
    first, second = (Stream(derive(SECRET, "noise", step)).normal(10_000) for step in (1, 2))
    again = Stream(derive(SECRET, "noise", 1)).normal(10_000)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.04
    assert np.corrcoef(first, again)[0, 1] > 0.99


def test_the_meaning_of_a_key_does_not_change_between_versions():
    stream = Stream(derive(SECRET, "golden", 1))
    assert stream.bytes(8).hex() == "d70f1b213db62566"
    assert stream.below(5, 100).tolist() == [88, 26, 93, 38, 19]
    assert rounded_normal(stream, 6, sd=1000.0).tolist() == [21, -1492, -560, -321, 166, -187]


@pytest.mark.statistical
@pytest.mark.parametrize("sd", [0.7, 3.0, 40.0])
def test_integer_noise_has_the_cell_probabilities_of_a_rounded_gaussian(sd):
    drawn = rounded_normal(Stream(derive(SECRET, "pmf")), 1_000_000, sd=sd)
    edge = int(4 * sd)
    cells = np.bincount(np.clip(drawn, -edge, edge) + edge, minlength=2 * edge + 1)
    bounds = np.concatenate([[-np.inf], np.arange(-edge, edge) + 0.5, [np.inf]])
    expected = np.diff(stats.norm.cdf(bounds / sd))
    assert stats.chisquare(cells, expected * drawn.size).pvalue > 1e-3
    wrong = np.diff(stats.norm.cdf(bounds / (1.01 * sd)))
    assert stats.chisquare(cells, wrong * drawn.size).pvalue < 1e-6


@pytest.mark.statistical
def test_a_million_normals_pass_kolmogorov_and_smirnov():
    assert stats.kstest(Stream(derive(SECRET, "ks")).normal(1_000_000), "norm").pvalue > 1e-3
