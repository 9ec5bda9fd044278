"""Models that only benchmarks have. Importing this module adds them to the registry of this process."""

from __future__ import annotations

from functools import partial

from wardround_common.layout import Layout, TensorSpec
from wardround_common.tasks.classification.models import MODELS

SIZES = {"bench": 420_000, "bench-44mb": 11_000_000}
"""Parameters by name."""


def _layout(plan: object, *, size: int) -> Layout:
    return Layout((TensorSpec(name="weight", shape=(size,), init="uniform", fan_in=100),))


MODELS.update({name: partial(_layout, size=size) for name, size in SIZES.items()})
