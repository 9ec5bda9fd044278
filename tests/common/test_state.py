"""The state that every party computes for itself, and how it travels."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from wardround_common.errors import ProtocolError, SecAggError
from wardround_common.models import layout_of
from wardround_common.plan import AggregationPlan
from wardround_common.state import StudyState, advance, initial_state, packed_size, unpack
from wardround_common.streams import Stream, derive


def with_rules(plan, **rules):
    return msgspec.structs.replace(plan, aggregation=AggregationPlan(**rules))


def update(plan, number=0, size=1e-3):
    return size * Stream(derive(b"u" * 32, "state", number)).normal(layout_of(plan).size)


def test_the_first_state_has_the_clip_of_the_plan_for_every_tensor(plan):
    state = initial_state(with_rules(plan, clip_log2=-3))
    assert state.clips == (-3,) * len(layout_of(plan).tensors)
    assert state.updates == 0


def test_clips_of_the_plan_never_change(plan):
    state = initial_state(plan)
    assert advance(state, update(plan), plan).clips == state.clips


def test_clips_of_the_last_aggregate_do_and_are_part_of_the_digest(plan):
    plan = with_rules(plan, clips="last")
    state = advance(initial_state(plan), update(plan), plan)
    assert set(state.clips) != {4}
    other = replace(state, clips=(state.clips[0] + 1, *state.clips[1:]))
    assert other.digest != state.digest


def test_a_second_aggregate_moves_a_clip_down_by_at_most_two(plan):
    plan = with_rules(plan, clips="last")
    one = advance(initial_state(plan), update(plan), plan)
    two = advance(one, update(plan, 1, size=1e-9), plan)
    assert two.clips == tuple(clip - 2 for clip in one.clips)


@pytest.mark.parametrize("field", ["vector", "average", "momentum"])
def test_every_part_of_a_state_is_in_its_digest(plan, field):
    state = advance(initial_state(plan), update(plan), plan)
    changed = getattr(state, field).copy()
    changed[-1] += np.float32(1)
    assert replace(state, **{field: changed}).digest != state.digest
    assert replace(state, updates=state.updates + 1).digest != state.digest


def test_golden_digests(plan):
    """Studies in progress depend on these bytes: change them only together with messages.VERSION."""
    state = initial_state(plan)
    assert state.digest.hex()[:16] == "6e6a9b02676c7d87"


@pytest.mark.parametrize("clips", ["plan", "last"])
def test_a_state_survives_its_packing(plan, clips):
    plan = with_rules(plan, clips=clips)
    state = advance(initial_state(plan), update(plan), plan)
    words = state.pack()
    assert words.dtype == np.uint32
    assert words.size == packed_size(plan)
    back = unpack(plan, words)
    assert back.digest == state.digest
    assert (back.updates, back.clips) == (state.updates, state.clips)
    for field in ("vector", "average", "momentum"):
        assert np.array_equal(getattr(back, field), getattr(state, field))
        assert getattr(back, field).dtype == np.float32


def test_negative_clips_are_packed_as_twos_complement(plan):
    state = initial_state(with_rules(plan, clip_log2=-20))
    assert state.pack()[2] == 2**32 - 20
    assert unpack(plan, state.pack()).clips[0] == -20


def broken(words, place, value):
    out = words.copy()
    out[place] = value
    return out


def test_what_is_no_state_of_the_study_is_refused(plan):
    words = initial_state(plan).pack()
    tensors = len(layout_of(plan).tensors)
    nan, infinity = np.array([np.nan, -np.inf], dtype=np.float32).view(np.uint32)
    wrong = [
        words[:-1],
        np.append(words, np.uint32(0)),
        words[:0],
        words.reshape(1, -1),
        words.astype(np.uint64),
        words.view(np.float32),
        broken(words, 0, plan.rounds + 1),
        broken(words, 0, 2**32 - 1),
        broken(words, 1, tensors + 1),
        broken(words, 2, 21),
        broken(words, 2, 2**32 - 41),
        broken(words, 1 + tensors, 2**31),
        broken(words, 2 + tensors, nan),
        broken(words, -1, infinity),
    ]
    for given_words in wrong:
        with pytest.raises(ProtocolError) as caught:
            unpack(plan, given_words)
        assert caught.value.code == "state.malformed"


def test_an_aggregate_that_is_not_finite_is_refused(plan):
    mean = update(plan)
    mean[3] = 1e39
    with pytest.raises(SecAggError) as caught, np.errstate(over="ignore"):
        advance(initial_state(plan), mean, plan)
    assert caught.value.code == "secagg.bad_sum"


def test_a_state_is_computed_alike_by_all(plan):
    plan = with_rules(plan, clips="last")
    states: list[StudyState] = [initial_state(plan), initial_state(plan)]
    for number in range(3):
        states = [advance(state, update(plan, number), plan) for state in states]
    assert states[0].digest == states[1].digest
