"""Vectors of ring words: counts, bounds, bytes, digests."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardround_common.errors import SecAggError
from wardround_common.secagg.ring import (
    WORDS,
    decode_counts,
    encode_counts,
    exceeds,
    from_bytes,
    is_vector,
    largest_count,
    to_bytes,
    vector_digest,
)


def total(vectors):
    out = np.zeros_like(vectors[0])
    for vector in vectors:
        out += vector
    return out


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


@pytest.mark.parametrize("word", WORDS.values())
def test_a_sum_exceeds_a_bound_on_either_side(word):
    half = 2 ** (8 * word.itemsize - 1)
    for number in (half - 1, -half + 1):
        vector = np.array([0, number % (2 * half)], dtype=word)
        assert not exceeds(vector, half - 1)
        assert exceeds(vector, half - 2)
    assert exceeds(np.array([half], dtype=word), half - 1)
    assert not exceeds(np.zeros(0, dtype=word), 0)


def test_a_digest_stands_for_type_length_and_content():
    vector = np.arange(10, dtype=np.uint32)
    other = vector.copy()
    other[3] ^= 1 << 31
    vectors = (vector, other, vector[:9], np.append(vector, np.uint32(0)), vector.view(np.uint16))
    assert len({vector_digest(v) for v in vectors}) == 5
    zeros = np.zeros(10, np.uint32), np.zeros(10, np.uint16), np.zeros(20, np.uint16)
    assert len({vector_digest(v) for v in zeros}) == 3
    assert vector_digest(vector.astype(">u4").astype("<u4")) == vector_digest(vector)
    assert vector_digest(vector.astype(">u4")) == vector_digest(vector)


@pytest.mark.parametrize("word", WORDS.values())
def test_words_travel_as_little_endian_bytes(word):
    vector = np.arange(300, dtype=word)
    data = bytes(to_bytes(vector))
    assert data[word.itemsize : 2 * word.itemsize] == b"\1" + bytes(word.itemsize - 1)
    assert bytes(to_bytes(vector.astype(word.newbyteorder(">")))) == data
    back = from_bytes(data, type_name=word.name)
    assert back.dtype == word
    assert np.array_equal(back, vector)


@pytest.mark.parametrize(
    ("data", "type_name"),
    [(b"1234", "int32"), (b"1234", "uint64"), (b"123", "uint16"), (b"123456", "uint32")],
)
def test_bytes_of_no_ring_are_not_read(data, type_name):
    assert from_bytes(data, type_name=type_name) is None


@pytest.mark.parametrize("word", WORDS.values())
def test_a_vector_is_one_dimensional_contiguous_and_of_its_ring(word):
    other = WORDS[48 - 8 * word.itemsize]
    assert is_vector(np.zeros(4, word), 4, word)
    strange = (np.zeros(4, other), np.zeros(4, np.int32), np.zeros(4, np.int16), np.zeros((1, 4), word))
    for wrong in (None, [0] * 4, np.zeros(5, word), np.zeros(8, word)[::2], *strange):
        assert not is_vector(wrong, 4, word)
