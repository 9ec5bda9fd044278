"""The fields of a generation: each has its own checks, its sizes, and what it says in plain words."""

import msgspec
import numpy as np
import pytest

from wardround_common.errors import ConfigError
from wardround_common.models import initial_vector_of, layout_of
from wardround_common.plan import ModelPlan, StudyPlan
from wardround_common.plan_checks import check_plan, plan_from_tables
from wardround_common.plan_text import explain
from wardround_common.tasks.classification import ClassificationPlan
from wardround_common.tasks.generation import GenerationPlan
from wardround_common.trust import plan_digest

replace = msgspec.structs.replace


@pytest.fixture
def generation(plan) -> StudyPlan:
    made = replace(
        plan,
        task=GenerationPlan(discriminator_steps=5, fakes=24, ema_decay=0.9),
        model=ModelPlan(name="wavelet"),
        evaluation=None,
        recipe=replace(plan.recipe, local_steps=20),
    )
    check_plan(made)
    return made


def tables(plan):
    return msgspec.json.decode(msgspec.json.encode(plan))


def with_task(plan, **fields):
    return replace(plan, task=replace(plan.task, **fields))


def test_a_generation_survives_its_tables(generation):
    assert plan_from_tables(tables(generation)) == generation


def test_the_golden_digest_of_a_generation_has_not_changed(generation):
    assert plan_digest(generation).hex() == "a6f519f015aa5752380e24f6dab3569d9241f7268e9cdc1b5f1da6c2715c8eac"


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("task", "colour"), 1, r"colour.*plan\.task"),
        (("task", "class_weights"), [1.0, 1.0], r"class_weights.*plan\.task"),
        (("task", "latent"), 1, r"plan\.task\.latent"),
        (("task", "latent"), 513, r"plan\.task\.latent"),
        (("task", "discriminator_steps"), 0, r"plan\.task\.discriminator_steps"),
        (("task", "discriminator_steps"), 3, r"plan\.task\.discriminator_steps.*divisor.*20.*3"),
        (("task", "fakes"), 0, r"plan\.task\.fakes"),
        (("task", "fakes"), 5000, r"plan\.task\.fakes"),
        (("task", "class_loss"), -1, r"plan\.task\.class_loss"),
        (("task", "generator_learning_rate"), 0, r"plan\.task\.generator_learning_rate"),
        (("task", "ema_decay"), 1.0, r"plan\.task\.ema_decay"),
        (("task", "shared"), "discriminator", r"plan\.task\.shared"),
        (("task", "label_prior"), [0.5, 0.6], r"plan\.task\.label_prior.*2 shares"),
        (("task", "label_prior"), [1.0], r"plan\.task\.label_prior.*2 shares"),
        (("task", "label_prior"), [1.0, 0.0], r"plan\.task\.label_prior"),
        (("input", "size_px"), 48, r"plan\.input\.size_px.*32 or 64.*48"),
        (("model", "name"), "scatter", "unknown model 'scatter'"),
        (("evaluation",), {"epsilon": 8.0, "noise_multiplier": 1.0}, r"plan\.evaluation.*counts nothing"),
    ],
)
def test_a_field_that_does_not_fit_is_refused_by_its_path(generation, path, value, named):
    changed = tables(generation)
    part = changed
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    with pytest.raises(ConfigError, match=named) as caught:
        plan_from_tables(changed)
    assert caught.value.remedy


@pytest.mark.parametrize("field", ["discriminator_steps", "fakes", "ema_decay"])
def test_a_field_without_a_default_is_asked_for(generation, field):
    changed = tables(generation)
    del changed["task"][field]
    with pytest.raises(ConfigError, match=field):
        plan_from_tables(changed)


ONLY_HERE = sorted({*GenerationPlan.__struct_fields__} - {*ClassificationPlan.__struct_fields__})


@pytest.mark.parametrize("field", ONLY_HERE)
def test_a_classification_that_carries_a_field_of_a_generation_is_refused(plan, generation, field):
    changed = tables(plan)
    changed["task"][field] = tables(generation)["task"][field]
    with pytest.raises(ConfigError, match=field):
        plan_from_tables(changed)


def test_code_of_one_task_refuses_a_plan_of_the_other(plan, generation):
    for kind, other in ((GenerationPlan, plan), (ClassificationPlan, generation)):
        with pytest.raises(ConfigError) as caught:
            kind.of(other)
        assert caught.value.code == "plan.other_task"


@pytest.mark.parametrize(
    ("model", "size_px", "channels", "classes", "generator", "discriminator"),
    [
        ("wavelet", 32, 1, 2, 132_353, 9_186),
        ("wavelet", 64, 1, 2, 133_977, 9_186),
        ("wavelet", 32, 3, 5, 133_843, 26_853),
        ("wavelet", 64, 3, 5, 135_227, 26_853),
        ("patches", 32, 1, 2, 82_211, 9_186),
        ("patches", 64, 1, 2, 89_003, 9_186),
        ("patches", 32, 3, 5, 110_450, 26_853),
        ("patches", 64, 3, 5, 124_730, 26_853),
    ],
)
def test_the_networks_have_these_sizes(
    generation, model, size_px, channels, classes, generator, discriminator
):
    source = replace(generation.input, size_px=size_px, channels=channels)
    labels = tuple(f"class{number}" for number in range(classes))
    plan = replace(generation, model=ModelPlan(name=model), input=source, labels=labels)
    assert plan.task.generator_layout(plan).size == generator
    assert plan.task.discriminator_layout(plan).size == discriminator
    assert layout_of(plan).size == generator + discriminator


@pytest.mark.parametrize("latent", [2, 50])
def test_patches_ask_for_a_latent_vector_that_leaves_something_to_the_body(generation, latent):
    patches = replace(generation, model=ModelPlan(name="patches"))
    check_plan(with_task(patches, latent=51))
    check_plan(with_task(generation, latent=latent))
    with pytest.raises(ConfigError, match=rf"task\.latent.*'patches'.*51.*{latent}"):
        check_plan(with_task(patches, latent=latent))


def test_what_is_shared_decides_what_is_summed(generation):
    both, alone = generation, with_task(generation, shared="generator")
    assert layout_of(alone) == both.task.generator_layout(both)
    assert layout_of(both).tensors[: len(layout_of(alone).tensors)] == layout_of(alone).tensors
    assert np.array_equal(initial_vector_of(both)[: layout_of(alone).size], initial_vector_of(alone))


def test_no_tensor_is_named_twice(generation):
    names = [spec.name for spec in layout_of(generation).tensors]
    assert len(set(names)) == len(names)


def test_labels_of_generated_images_are_alike_unless_the_plan_says_so(generation):
    assert generation.task.prior(generation) == (0.5, 0.5)
    skewed = with_task(generation, label_prior=(0.9, 0.1))
    check_plan(skewed)
    assert skewed.task.prior(skewed) == (0.9, 0.1)


def test_the_average_decays_once_per_generator_step(generation):
    assert generation.task.generator_steps(generation) == 4
    assert generation.task.average_decay(generation) == pytest.approx(0.9**4)


def test_the_explanation_says_what_each_network_promises(generation):
    text = explain(generation)
    assert "generator and discriminator" in text
    assert "5 steps on patients for each step of the generator" in text
    assert "Discriminator: the one network that sees patients" in text
    assert "Generator: never sees a patient's image" in text
    assert "only masked, in the sum" in text
    kept = explain(with_task(generation, shared="generator"))
    assert "the discriminator stays at the site" in kept
    assert "it stays at the site: nobody else sees it" in kept
