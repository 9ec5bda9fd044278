import numpy as np
import pytest

from wardround_common.plan import InputPlan
from wardround_simulations.synthetic import Samples

CT = InputPlan(
    modality="CT", size_px=32, spacing_mm=2.0, window="fixed", window_center=-600.0, window_width=1500.0
)
DX = InputPlan(modality="DX", size_px=32, spacing_mm=4.0, window="file")


def make_samples(n=5, channels=1, size_px=32, plan=CT, seed=0, **changes):
    """Grey (or coloured) noise of two classes in turn, the first image being "clear"."""
    values = np.random.default_rng(seed).random((n, channels, size_px, size_px))
    fields = {
        "images_NCHW": values.astype(np.float32),
        "label_N": np.arange(n, dtype=np.int64) % 2,
        "labels": ("clear", "nodule"),
        "input": plan,
        "title": "Nodules, three hospitals",
        "plan_digest": "5e" * 32,
    }
    return Samples(**fields | changes)


@pytest.fixture
def samples():
    return make_samples


@pytest.fixture
def projection():
    """An input whose window is that of the file."""
    return DX
