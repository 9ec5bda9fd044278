import numpy as np
import pytest

from wardround_client.catalogue import Catalogue, Row
from wardround_common.canonical import digest
from wardround_common.plan import (
    EvaluationPlan,
    InputPlan,
    ModelPlan,
    PrivacyPlan,
    RecipePlan,
    SitePlan,
    StudyPlan,
)
from wardround_common.streams import Stream, derive
from wardround_common.tasks.classification import ClassificationPlan

SIZE_PX = 24


def image(rng, label):
    """Noise, with a bright disc where the label is 1."""
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX]
    disc = (y - rng.integers(6, 18)) ** 2 + (x - rng.integers(6, 18)) ** 2 < 20
    return np.clip(rng.normal(0.3, 0.1, (SIZE_PX, SIZE_PX)) + 0.5 * label * disc, 0, 1).astype(np.float32)[
        None
    ]


@pytest.fixture(scope="session")
def catalogue():
    """120 patients with one to three images each."""
    rng = np.random.default_rng(0)
    return Catalogue.of(
        Row(
            patient_key=digest("patient", bytes([p])),
            scan_key=digest("scan", bytes([p, n])),
            label=p % 2,
            image_CHW=image(rng, p % 2),
        )
        for p in range(120)
        for n in range(1 + p % 3)
    )


@pytest.fixture
def plan():
    return StudyPlan(
        study="tiny",
        title="Discs",
        purpose="Tests.",
        expires="2099-12-31",
        authority_key="00" * 32,
        lead_key="11" * 32,
        sites=tuple(SitePlan(name=name, patients=80) for name in ("alder", "birch", "cedar")),
        task=ClassificationPlan(),
        labels=("empty", "disc"),
        input=InputPlan(modality="CR", size_px=SIZE_PX, spacing_mm=1.0, window="file"),
        model=ModelPlan(name="scatter"),
        recipe=RecipePlan(learning_rate=1.0, local_steps=3, sample_rate=0.2),
        rounds=2,
        privacy=PrivacyPlan(target_epsilon=8.0, target_delta=1e-4, noise_multiplier=1.0),
        evaluation=EvaluationPlan(epsilon=8.0, noise_multiplier=1.0),
    )


@pytest.fixture
def streams():
    """Streams of a seed; each may be opened once."""

    def of(seed=0):
        opened = set()

        def open_stream(purpose, step):
            assert (purpose, step) not in opened
            opened.add((purpose, step))
            return Stream(derive(bytes([seed]) * 32, purpose, step))

        return open_stream

    return of
