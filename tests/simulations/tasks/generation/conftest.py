import numpy as np
import pytest

from wardround_common.streams import Stream, derive
from wardround_simulations.tasks.generation.labelled import Labelled

SIZE_PX = 16


def make_images(n, seed, classes=2, channels=1, noise=0.1, contrast=0.15):
    """Images with a bar whose direction is the class (none, across, down), at a random place, on noise."""
    rng = np.random.default_rng(seed)
    images_NCHW = 0.4 + noise * rng.standard_normal((n, channels, SIZE_PX, SIZE_PX))
    label_N = np.arange(n, dtype=np.int64) % classes
    for image_CHW, label in zip(images_NCHW, label_N, strict=True):
        place = int(rng.integers(2, SIZE_PX - 4))
        if label == 1:
            image_CHW[:, place : place + 2, 3:-3] += contrast
        elif label == 2:
            image_CHW[:, 3:-3, place : place + 2] += contrast
    return Labelled(images_NCHW=np.clip(images_NCHW, 0, 1).astype(np.float32), label_N=label_N)


@pytest.fixture
def images():
    return make_images


@pytest.fixture
def secret():
    return derive(bytes(32), "test")


@pytest.fixture
def stream():
    return lambda *labels: Stream(derive(bytes(32), "test", *(labels or ("stream",))))
