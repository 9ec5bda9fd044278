"""A site's part of a round through the task's door."""

import dataclasses

import msgspec
import numpy as np
import pytest
import torch

from wardround_client.tasks import load_task
from wardround_client.tasks.batches import FeatureCache
from wardround_client.tasks.classification.scattering import scatter
from wardround_client.tasks.classification.task import ClassificationTask
from wardround_client.tasks.interface import NOTHING, RuntimeFlags
from wardround_common.errors import ConfigError
from wardround_common.models import initial_vector_of
from wardround_common.plan import AugmentPlan, ModelPlan
from wardround_common.tasks.classification import ClassificationPlan
from wardround_common.tasks.classification.models import MODELS

replace = msgspec.structs.replace


def with_weights(plan, *weights):
    return replace(plan, task=ClassificationPlan(class_weights=weights))


def with_recipe(plan, **fields):
    return replace(plan, recipe=replace(plan.recipe, **fields))


def train(plan, data, streams, *, task=None, physical_batch=64, site="alder"):
    return (task or load_task("classification")).train_round(
        plan,
        site=site,
        local_L=NOTHING,
        start=initial_vector_of(plan),
        data=data,
        streams=streams,
        flags=RuntimeFlags(physical_batch=physical_batch),
    )


@pytest.fixture(scope="module")
def data(catalogue):
    return catalogue.of_side("train")


@pytest.mark.parametrize("model", MODELS)
def test_the_same_streams_give_the_same_bits(plan, data, streams, model):
    plan = replace(plan, model=ModelPlan(name=model))
    first, again, other = (train(plan, data, streams(seed)).update_P for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert first.dtype == np.float32
    assert first.shape == initial_vector_of(plan).shape
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("augment", [AugmentPlan(), AugmentPlan(flip=True, rotate_deg=10)])
def test_the_global_generators_stay_where_they_are(plan, data, streams, augment):
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    train(with_recipe(plan, augment=augment), data, streams())
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("local_steps", [1, 4])
@pytest.mark.parametrize("sample_rate", [1e-6, 0.3, 1.0])
def test_every_step_of_the_plan_is_taken_and_noised_whoever_is_drawn(
    plan, data, streams, sample_rate, local_steps
):
    output = train(with_recipe(plan, local_steps=local_steps, sample_rate=sample_rate), data, streams())
    assert output.noisy_steps == local_steps
    assert np.count_nonzero(output.update_P) > 0.99 * output.update_P.size


def test_the_noise_of_every_step_comes_from_its_own_stream(plan, data, streams):
    opened, inner = [], streams()

    def spy(purpose, step):
        opened.append((purpose, step))
        return inner(purpose, step)

    train(plan, data, spy)
    assert sorted(opened) == sorted((p, s) for p in ("patients", "images", "noise") for s in range(3))


def test_a_site_without_patients_sends_noise(plan, data, streams):
    empty = dataclasses.replace(
        data,
        images_NCHW=data.images_NCHW[:0],
        patient_N=data.patient_N[:0],
        label_N=data.label_N[:0],
        sop_N=(),
        patient_keys=(),
        side_P=data.side_P[:0],
    )
    output = train(plan, empty, streams())
    assert output.noisy_steps == plan.recipe.local_steps
    expected = np.sqrt(3) * plan.privacy.noise_multiplier / (plan.recipe.sample_rate * 80)
    assert output.update_P.std() == pytest.approx(expected, rel=0.05)


def test_the_divisor_is_the_stated_size_and_not_the_number_of_patients(plan, data, streams):
    larger = replace(plan, sites=(replace(plan.sites[0], patients=8000), *plan.sites[1:]))
    once = with_recipe(plan, local_steps=1)
    update = train(once, data, streams()).update_P
    smaller = train(with_recipe(larger, local_steps=1), data, streams()).update_P
    np.testing.assert_allclose(smaller * 100, update, atol=1e-4)


def test_the_physical_batch_changes_at_most_a_level_of_the_grid(plan, data, streams):
    plan = with_recipe(plan, local_steps=1, sample_rate=1.0)
    whole, parts = (train(plan, data, streams(), physical_batch=size).update_P for size in (64, 7))
    level = plan.privacy.max_grad_norm / (plan.privacy.grid_levels * np.sqrt(whole.size)) / 80
    assert np.abs(whole - parts).max() <= 1.1 * level


def test_kept_features_are_the_features(plan, data, streams):
    task = ClassificationTask()
    first, second = (train(plan, data, streams(), task=task) for _ in range(2))
    fresh = train(plan, data, streams(), task=ClassificationTask())
    assert first.update_P.tobytes() == second.update_P.tobytes() == fresh.update_P.tobytes()


def test_features_are_dropped_with_their_images():
    cache, calls = FeatureCache(), []

    def front_end(x):
        calls.append(len(x))
        return scatter(x)

    images = np.random.default_rng(0).random((3, 1, 16, 16)).astype(np.float32)
    assert cache.features(images, front_end) is cache.features(images, front_end)
    assert cache.features(images.copy(), front_end) is not None
    assert calls == [3, 3]
    assert len(cache._kept) == 1
    del images
    assert not cache._kept


def test_class_weights_act_on_single_losses(plan, data, streams):
    light = train(with_weights(with_recipe(plan, local_steps=1), 1.0, 1e-3), data, streams()).update_P
    even = train(with_weights(with_recipe(plan, local_steps=1), 1.0, 1.0), data, streams()).update_P
    none = train(with_recipe(plan, local_steps=1), data, streams()).update_P
    assert np.array_equal(even, none)
    assert light[-1] < even[-1]  # the bias of the head moves away from the class that counts less


def test_augmentation_changes_the_update(plan, data, streams):
    plain = train(plan, data, streams()).update_P
    turned = train(with_recipe(plan, augment=AugmentPlan(rotate_deg=20)), data, streams()).update_P
    assert not np.array_equal(plain, turned)


def test_a_site_that_the_plan_does_not_name_is_refused(plan, data, streams):
    with pytest.raises(ConfigError) as caught:
        train(plan, data, streams(), site="dogwood")
    assert caught.value.code == "plan.unknown_site"


def test_training_with_little_noise_learns_the_discs(plan, data, streams):
    plan = with_recipe(plan, local_steps=60, sample_rate=0.5)
    plan = replace(plan, privacy=replace(plan.privacy, noise_multiplier=0.1))
    task = load_task("classification")
    vector = initial_vector_of(plan) + train(plan, data, streams()).update_P
    scores = task.scores(plan, vector, data.images_NCHW)
    assert scores[data.label_N == 1].mean() > scores[data.label_N == 0].mean() + 0.3
