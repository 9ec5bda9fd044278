"""A site's part of a round through the task's door: every step is noised and counted, patients or none."""

import dataclasses

import msgspec
import numpy as np
import pytest
import torch

from wardround_client.tasks import load_task
from wardround_client.tasks.generation.task import GenerationTask
from wardround_client.tasks.interface import NOTHING, RuntimeFlags
from wardround_common.models import initial_values_of, initial_vector_of, layout_of
from wardround_common.plan import AugmentPlan, ModelPlan

replace = msgspec.structs.replace


def with_recipe(plan, **fields):
    return replace(plan, recipe=replace(plan.recipe, **fields))


def with_task(plan, **fields):
    return replace(plan, task=replace(plan.task, **fields))


def train(plan, data, streams, *, task=None, local=NOTHING, start=None, physical_batch=64):
    return (task or load_task("generation")).train_round(
        plan,
        site="alder",
        local_L=local,
        start=initial_vector_of(plan) if start is None else start,
        data=data,
        streams=streams,
        flags=RuntimeFlags(physical_batch=physical_batch),
    )


def without_patients(data):
    return dataclasses.replace(
        data,
        images_NCHW=data.images_NCHW[:0],
        patient_N=data.patient_N[:0],
        label_N=data.label_N[:0],
        sop_N=(),
        patient_keys=(),
        side_P=data.side_P[:0],
    )


class Spy:
    """Streams that write down what they were opened for."""

    def __init__(self, streams):
        self.opened, self._inner = [], streams

    def __call__(self, purpose, step):
        self.opened.append((purpose, step))
        return self._inner(purpose, step)


def with_patches(plan):
    return replace(with_task(plan, latent=64), model=ModelPlan(name="patches"))


@pytest.mark.parametrize("model", ["wavelet", "patches"])
@pytest.mark.parametrize("shared", ["both", "generator"])
def test_the_same_streams_give_the_same_bits(plan, data, streams, shared, model):
    plan = with_task(plan if model == "wavelet" else with_patches(plan), shared=shared)
    first, again, other = (train(plan, data, streams(seed), task=GenerationTask()) for seed in (1, 1, 2))
    assert first.update_P.tobytes() == again.update_P.tobytes()
    assert first.local_L.tobytes() == again.local_L.tobytes()
    assert not np.array_equal(first.update_P, other.update_P)
    assert first.update_P.dtype == first.local_L.dtype == np.float32
    assert first.update_P.shape == initial_vector_of(plan).shape


def test_body_and_patches_of_every_label_learn(plan, data, streams):
    plan = with_task(with_patches(plan), fakes=24)
    layout = plan.task.generator_layout(plan)
    moved = layout.split(train(plan, data, streams()).update_P[: layout.size])
    assert all(values.any() for values in moved.values())
    assert all(label.any() for label in np.split(moved["generator.patch_out.weight"], len(plan.labels)))


@pytest.mark.parametrize("augment", [AugmentPlan(), AugmentPlan(flip=True)])
def test_the_global_generators_stay_where_they_are(plan, data, streams, augment):
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    train(with_recipe(plan, augment=augment), data, streams())
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)


@pytest.mark.parametrize(("local_steps", "discriminator_steps"), [(4, 1), (4, 2), (6, 3), (3, 3)])
@pytest.mark.parametrize("sample_rate", [1e-6, 0.3, 1.0])
def test_noisy_steps_are_the_discriminators_whoever_is_drawn(
    plan, data, streams, sample_rate, local_steps, discriminator_steps
):
    plan = with_recipe(plan, local_steps=local_steps, sample_rate=sample_rate)
    plan = with_task(plan, discriminator_steps=discriminator_steps)
    spy = Spy(streams())
    output = train(plan, data, spy)
    generator_steps = local_steps // discriminator_steps
    assert output.noisy_steps == local_steps
    counts = {purpose: sum(p == purpose for p, _ in spy.opened) for purpose, _ in spy.opened}
    assert counts == {
        "patients": local_steps,
        "images": local_steps,
        "noise": local_steps,
        "fakes": generator_steps,
        "generator": generator_steps,
    }


def test_without_patients_the_discriminator_moves_by_noise_and_by_generated_images_alone(plan, data, streams):
    output = train(plan, without_patients(data), streams())
    assert output.noisy_steps == plan.recipe.local_steps
    head = output.update_P[plan.task.generator_layout(plan).size :]
    noise = plan.recipe.learning_rate * plan.privacy.noise_multiplier / (plan.recipe.sample_rate * 80)
    assert head.std() == pytest.approx(np.sqrt(plan.recipe.local_steps) * noise, rel=0.1)


def test_patients_reach_the_generator_only_through_the_discriminator(plan, data, streams):
    """With the discriminator standing still, the generator's update is the same with and without patients."""
    still = with_recipe(plan, learning_rate=1e-30)
    size = plan.task.generator_layout(plan).size
    some, none = (train(still, side, streams()).update_P[:size] for side in (data, without_patients(data)))
    assert some.tobytes() == none.tobytes()
    assert np.abs(some).max() > 1e-4
    moving = [train(plan, side, streams()).update_P[:size] for side in (data, without_patients(data))]
    assert not np.array_equal(*moving)


def test_generated_images_do_not_depend_on_the_batch_of_patients(plan, data, streams):
    """Their number and labels are constants: other patients, another sample rate, the same draws."""
    drawn = []
    for side, rate in ((data, 0.2), (without_patients(data), 0.9)):
        spy = Spy(streams())
        train(with_recipe(plan, sample_rate=rate), side, spy)
        drawn.append([entry for entry in spy.opened if entry[0] in ("fakes", "generator")])
    assert drawn[0] == drawn[1] == [("fakes", 0), ("generator", 1), ("fakes", 2), ("generator", 3)]


def test_the_divisor_is_the_stated_size_and_not_the_number_of_patients(plan, data, streams):
    """Ten times as many stated patients: a tenth of what patients and noise contribute to the step."""
    once = with_task(with_recipe(plan, local_steps=1), discriminator_steps=1)
    larger = replace(once, sites=(replace(once.sites[0], patients=800), *once.sites[1:]))
    largest = replace(once, sites=(replace(once.sites[0], patients=8_000_000), *once.sites[1:]))
    size = plan.task.generator_layout(plan).size
    update, tenth, none = (train(p, data, streams()).update_P[size:] for p in (once, larger, largest))
    np.testing.assert_allclose(10 * (tenth - none), update - none, atol=1e-4)


def test_the_physical_batch_changes_at_most_a_level_of_the_grid(plan, data, streams):
    plan = with_task(with_recipe(plan, local_steps=1, sample_rate=1.0), discriminator_steps=1)
    size = plan.task.generator_layout(plan).size
    whole, parts = (train(plan, data, streams(), physical_batch=rows).update_P[size:] for rows in (64, 7))
    level = plan.privacy.max_grad_norm / (plan.privacy.grid_levels * np.sqrt(whole.size))
    assert np.abs(whole - parts).max() <= 1.1 * level / 80


def test_kept_maps_are_the_maps(plan, data, streams):
    task = GenerationTask()
    first, second = (train(plan, data, streams(), task=task) for _ in range(2))
    assert first.update_P.tobytes() == second.update_P.tobytes()


def test_a_shared_discriminator_is_in_the_update_and_nothing_stays(plan, data, streams):
    output = train(plan, data, streams())
    assert output.update_P.size == layout_of(plan).size
    assert output.local_L.size == 0


def test_a_discriminator_of_the_sites_own_stays_and_goes_on_where_it_was(plan, data, streams):
    plan = with_task(plan, shared="generator")
    head = plan.task.discriminator_layout(plan)
    first = train(plan, data, streams(1))
    assert first.update_P.size == plan.task.generator_layout(plan).size
    assert first.local_L.size == head.size
    moved = np.abs(first.local_L - initial_values_of(plan, head)).max()
    assert moved > 0
    start = initial_vector_of(plan)
    again, fresh = (
        train(plan, data, streams(2), start=start, local=kept) for kept in (first.local_L, NOTHING)
    )
    assert not np.array_equal(again.local_L, fresh.local_L)


def test_both_ways_of_sharing_take_the_same_first_round(plan, data, streams):
    both, alone = (train(with_task(plan, shared=shared), data, streams()) for shared in ("both", "generator"))
    size = alone.update_P.size
    assert np.array_equal(both.update_P[:size], alone.update_P)
    start = initial_values_of(plan, plan.task.discriminator_layout(plan))
    assert np.array_equal(both.update_P[size:], alone.local_L - start)
