"""Layouts and initial vectors: equal bytes everywhere, from the plan alone."""

import hashlib
import math

import msgspec
import numpy as np
import pytest

from wardround_common.errors import ConfigError, ProtocolError
from wardround_common.layout import Layout, TensorSpec, initial_vector
from wardround_common.models import initial_vector_of, layout_of
from wardround_common.plan import ModelPlan
from wardround_common.tasks.classification.models import MODELS

SEED = bytes(range(32))


def of(plan, **fields):
    return msgspec.structs.replace(plan, model=ModelPlan(**fields))


@pytest.mark.parametrize(("name", "parameters"), [("scatter", 4_353), ("small", 24_801)])
def test_a_model_has_the_size_that_its_documentation_states(plan, name, parameters):
    assert layout_of(of(plan, name=name)).size == parameters


@pytest.mark.parametrize(
    ("name", "golden"),
    [
        ("scatter", "ea78eadc85ce04dbfff738cade4934ca17ce91e1363483d327b5b1a3e04847aa"),
        ("small", "19d594b371346be2f148db5eeb74ec2e026c2c7b64194285cd0f90772421ab66"),
    ],
)
def test_the_initial_vector_has_the_bytes_that_every_released_version_had(plan, name, golden):
    vector = initial_vector_of(of(plan, name=name, seed=3))
    assert hashlib.sha256(vector.astype("<f4").tobytes()).hexdigest() == golden


def test_another_seed_or_model_gives_other_values(plan):
    vectors = [initial_vector_of(of(plan, name="scatter", seed=seed)) for seed in (0, 1)]
    first = layout_of(of(plan, name="scatter")).tensors[0].size
    assert not np.any(vectors[0][:first] == vectors[1][:first])


def test_nothing_but_the_model_fields_chooses_the_initial_vector(plan):
    other = msgspec.structs.replace(plan, study="other", rounds=plan.rounds + 1)
    assert np.array_equal(initial_vector_of(plan), initial_vector_of(other))


def test_uniform_values_keep_their_bound_and_their_spread():
    spec = TensorSpec(name="w", shape=(100, 200), init="uniform", fan_in=12, gain=2.0)
    values, bound = spec.initial_values(SEED), 2.0 * math.sqrt(3 / 12)
    assert values.dtype == np.float32
    assert -bound <= values.min() < -0.99 * bound
    assert 0.99 * bound < values.max() < bound
    assert values.std() == pytest.approx(2.0 / math.sqrt(12), rel=0.02)


def test_a_tensor_does_not_depend_on_the_others():
    a, b = (TensorSpec(name=name, shape=(5,), init="uniform", fan_in=3) for name in "ab")
    alone, both = initial_vector(Layout((b,)), SEED), initial_vector(Layout((a, b)), SEED)
    assert np.array_equal(alone, both[5:])
    assert not np.array_equal(both[:5], both[5:])


def test_constant_tensors_are_constant():
    kinds = (("zeros", 0.0), ("ones", 1.0))
    layout = Layout(tuple(TensorSpec(name=kind, shape=(2, 3), init=kind) for kind, _ in kinds))
    tensors = layout.split(initial_vector(layout, SEED))
    assert all(np.all(tensors[kind] == value) for kind, value in kinds)


def test_split_gives_views_in_order():
    layout = Layout(tuple(TensorSpec(name=n, shape=s, init="zeros") for n, s in (("a", (2, 3)), ("b", (4,)))))
    vector = np.arange(10, dtype=np.float32)
    tensors = layout.split(vector)
    assert [t.shape for t in tensors.values()] == [(2, 3), (4,)]
    assert np.array_equal(np.concatenate([t.reshape(-1) for t in tensors.values()]), vector)
    assert all(np.shares_memory(t, vector) for t in tensors.values())


def test_a_vector_of_another_length_is_refused(plan):
    with pytest.raises(ProtocolError) as caught:
        layout_of(plan).split(np.zeros(7, np.float32))
    assert caught.value.code == "layout.wrong_length"


def test_a_seed_that_is_no_digest_is_refused(plan):
    with pytest.raises(ValueError, match="32 bytes"):
        initial_vector(layout_of(plan), b"short")


def test_an_unknown_model_is_refused_with_the_known_ones(plan):
    with pytest.raises(ConfigError) as caught:
        layout_of(of(plan, name="resnet"))
    assert all(name in caught.value.remedy for name in MODELS)
