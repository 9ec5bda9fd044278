"""The scratch database: secrets, outputs in their ring, states."""

from __future__ import annotations

import numpy as np
import pytest

from wardround_client.scratch import Output, Scratch
from wardround_common.secagg.ring import WORDS
from wardround_common.state import StudyState

PLAN = b"p" * 32
V = np.arange(4, dtype=np.float32)


@pytest.fixture
def scratch(tmp_path):
    opened = Scratch(tmp_path / "scratch.sqlite")
    yield opened
    opened.close()


def begin(scratch, kind):
    return scratch.secret(PLAN, 1, kind, make=lambda: bytes(32))


@pytest.mark.parametrize("word", WORDS.values())
def test_an_output_comes_back_in_its_ring_writable_and_once(scratch, word):
    begin(scratch, "train")
    words, local = np.arange(7).astype(word) * word.type(9000), np.array([1.5, -2], np.float32)
    scratch.keep_output(PLAN, 1, "train", Output(words_P=words, local_L=local))
    scratch.keep_output(PLAN, 1, "train", Output(words_P=words[:2], local_L=local))
    found = scratch.output(PLAN, 1, "train", word=word)
    assert found.words_P.dtype == word
    assert np.array_equal(found.words_P, words)
    assert np.array_equal(found.local_L, local)
    assert found.words_P.flags.writeable
    assert scratch.output(PLAN, 1, "evaluate", word=word) is None


def test_a_secret_is_made_once(scratch):
    first = scratch.secret(PLAN, 1, "train", make=lambda: b"1" * 32)
    assert scratch.secret(PLAN, 1, "train", make=lambda: b"2" * 32) == first == b"1" * 32
    assert scratch.secret(PLAN, 2, "train", make=lambda: b"2" * 32) == b"2" * 32


def test_a_state_comes_back_as_it_was_with_what_the_site_keeps_beside_it(scratch):
    states = [StudyState(updates=n, vector=V + n, average=V, momentum=V, clips=(n - 5, 2)) for n in range(3)]
    for number, state in enumerate(states):
        beside = states[max(number - 1, 0)].digest
        scratch.keep_state(PLAN, state, local_L=np.full(2, number, np.float32), beside=beside)
    assert scratch.state(PLAN, states[0].digest) is None
    for number in (1, 2):
        assert np.array_equal(scratch.state(PLAN, states[number].digest), states[number].pack())
        assert scratch.local(PLAN, states[number].digest).tolist() == [number, number]
    assert scratch.state(b"q" * 32, states[2].digest) is None
    assert scratch.local(PLAN, states[0].digest).size == 0
