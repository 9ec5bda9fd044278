"""The models that a federation is compared with."""

import msgspec
import numpy as np
import pytest

from wardround_client.catalogue import Catalogue, Row
from wardround_client.tasks import load_task
from wardround_common.accounting import epsilon, train_event
from wardround_common.canonical import digest
from wardround_common.errors import ConfigError
from wardround_common.evaluation import auroc_exact
from wardround_common.plan import (
    EvaluationPlan,
    InputPlan,
    ModelPlan,
    PrivacyPlan,
    RecipePlan,
    SitePlan,
    StudyPlan,
)
from wardround_common.tasks.classification import ClassificationPlan
from wardround_simulations.baselines import LonePrivateRecipe, NonPrivateRecipe
from wardround_simulations.baselines.recipes import LONE_PRIVATE, lone_recipe
from wardround_simulations.baselines.with_privacy import alone_with_privacy, plan_of_one
from wardround_simulations.baselines.without_privacy import (
    alone_without_privacy,
    federated_without_privacy,
    pooled_without_privacy,
)

SECRET = bytes(range(32))
SHORT = NonPrivateRecipe(steps=40, batch=16)


def catalogue(site, patients):
    """Noise, with a bright square where the label is 1."""
    rng = np.random.default_rng(len(site))
    images = rng.normal(0.3, 0.1, (patients, 1, 16, 16))
    images[1::2, :, 4:10, 5:11] += 0.4
    return Catalogue.of(
        Row(
            patient_key=digest("patient", site.encode(), bytes([p])),
            scan_key=digest("scan", site.encode(), bytes([p])),
            label=p % 2,
            image_CHW=images[p].clip(0, 1).astype(np.float32),
        )
        for p in range(patients)
    )


@pytest.fixture(scope="module")
def train():
    return {site: catalogue(site, n) for site, n in (("alder", 90), ("birch", 60), ("holly", 30))}


@pytest.fixture
def plan(train):
    return StudyPlan(
        study="tiny",
        title="Squares",
        purpose="Tests.",
        expires="2099-12-31",
        authority_key="00" * 32,
        lead_key="11" * 32,
        sites=tuple(SitePlan(name=n, patients=len(c.patient_keys)) for n, c in train.items()),
        task=ClassificationPlan(),
        labels=("empty", "square"),
        input=InputPlan(modality="CR", size_px=16, spacing_mm=1.0, window="file"),
        model=ModelPlan(name="scatter"),
        recipe=RecipePlan(learning_rate=1.0, local_steps=5, sample_rate=0.2),
        rounds=4,
        privacy=PrivacyPlan(target_epsilon=8.0, target_delta=1e-4, noise_multiplier=1.0),
        evaluation=EvaluationPlan(epsilon=8.0, noise_multiplier=1.0),
    )


def auroc(plan, vector, views):
    images = np.concatenate([view.images_NCHW for view in views])
    labels = np.concatenate([view.label_N for view in views])
    return auroc_exact(load_task("classification").scores(plan, vector, images), labels).value


def test_models_without_privacy_learn_an_easy_task(plan, train):
    models = {
        "federated": federated_without_privacy(plan, train=train, recipe=SHORT, secret=SECRET),
        "pooled": pooled_without_privacy(plan, train=train, recipe=SHORT, secret=SECRET),
        "alone": alone_without_privacy(plan, site="alder", train=train["alder"], recipe=SHORT, secret=SECRET),
    }
    assert all(auroc(plan, vector, train.values()) > 0.95 for vector in models.values())
    assert len({vector.tobytes() for vector in models.values()}) == 3


def test_the_same_secret_gives_the_same_bits(plan, train):
    models = [
        federated_without_privacy(plan, train=train, recipe=SHORT, secret=secret)
        for secret in (SECRET, SECRET, SECRET[::-1])
    ]
    assert models[0].tobytes() == models[1].tobytes() != models[2].tobytes()


def test_one_hospital_alone_is_trained_with_its_own_row_and_its_own_noise(plan, train):
    site = plan.sites[0]
    row = lone_recipe((), target_epsilon=8.0, patients=site.patients)
    lone = plan_of_one(plan, site, row)
    assert (lone.steps, lone.recipe.sample_rate) == (row.steps, row.sample_rate)
    assert lone.algorithm.server_momentum == row.momentum
    assert lone.privacy.noise_multiplier != plan.privacy.noise_multiplier
    spent = epsilon([train_event(lone, lone.steps)], delta=plan.privacy.target_delta)
    assert 0.97 * plan.privacy.target_epsilon < spent <= plan.privacy.target_epsilon


def test_private_training_alone_returns_an_average_that_its_secret_decides(plan, train):
    table = (LonePrivateRecipe(from_size=0, sample_rate=1.0, steps=6, learning_rate=0.1),)
    site = plan.sites[2]
    models = [
        alone_with_privacy(plan, site=site, train=train[site.name], table=table, secret=secret)
        for secret in (SECRET, SECRET, SECRET[::-1])
    ]
    assert models[0].tobytes() == models[1].tobytes() != models[2].tobytes()
    assert np.isfinite(models[0]).all()


@pytest.mark.parametrize(
    ("patients", "steps", "sample_rate"), [(2000, 100, 0.2), (1000, 80, 0.3), (300, 60, 0.5), (20, 20, 1.0)]
)
def test_the_size_of_a_site_chooses_its_recipe(patients, steps, sample_rate):
    row = lone_recipe((), target_epsilon=8.0, patients=patients)
    assert (row.steps, row.sample_rate) == (steps, sample_rate)


def test_less_epsilon_is_a_smaller_site():
    at_8, at_1 = (lone_recipe((), target_epsilon=e, patients=1000) for e in (8.0, 1.0))
    assert at_1.from_size < at_8.from_size
    assert at_1.learning_rate < at_8.learning_rate


def test_a_table_of_the_scenario_replaces_the_built_in_one():
    table = (
        LonePrivateRecipe(from_size=0, sample_rate=0.5, steps=7, learning_rate=1.0),
        LonePrivateRecipe(from_size=100, sample_rate=0.5, steps=9, learning_rate=1.0),
    )
    assert [lone_recipe(table, target_epsilon=1.0, patients=n).steps for n in (99, 100)] == [7, 9]
    with pytest.raises(ConfigError):
        lone_recipe(table[1:], target_epsilon=1.0, patients=99)


def test_the_built_in_table_covers_every_size_in_falling_order():
    sizes = [row.from_size for row in LONE_PRIVATE]
    assert sizes == sorted(set(sizes), reverse=True)
    assert sizes[-1] == 0


def test_recipes_refuse_fields_that_they_do_not_know():
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"steps": 10, "epochs": 3}, NonPrivateRecipe)
