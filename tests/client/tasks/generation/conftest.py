import msgspec
import numpy as np
import pytest

from wardround_client.catalogue import Catalogue, Row
from wardround_common.canonical import digest
from wardround_common.plan import ModelPlan
from wardround_common.tasks.generation import GenerationPlan

SIZE_PX = 32


def _image(rng, label):
    """Noise, with a bright disc where the label is 1."""
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX]
    disc = (y - rng.integers(10, 22)) ** 2 + (x - rng.integers(10, 22)) ** 2 < 30
    return np.clip(rng.normal(0.3, 0.1, y.shape) + 0.5 * label * disc, 0, 1).astype(np.float32)[None]


@pytest.fixture(scope="session")
def data():
    """The train side of 90 patients with one or two images each."""
    rng = np.random.default_rng(0)
    rows = [
        Row(
            patient_key=digest("patient", bytes([p])),
            scan_key=digest("scan", bytes([p, n])),
            label=p % 2,
            image_CHW=_image(rng, p % 2),
        )
        for p in range(90)
        for n in range(1 + p % 2)
    ]
    return Catalogue.of(rows).of_side("train")


@pytest.fixture
def plan(plan):
    """A generation: two discriminator steps for each of the generator, four in a round."""
    replace = msgspec.structs.replace
    return replace(
        plan,
        task=GenerationPlan(latent=8, discriminator_steps=2, fakes=6, ema_decay=0.9),
        model=ModelPlan(name="wavelet"),
        input=replace(plan.input, size_px=SIZE_PX),
        recipe=replace(plan.recipe, learning_rate=0.5, local_steps=4),
        evaluation=None,
    )
