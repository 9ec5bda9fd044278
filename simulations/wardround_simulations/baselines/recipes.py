"""How the baselines are trained: measured defaults that a scenario file may override.

A hospital alone gets a recipe of its own size. With the federation's recipe it would come out up to 17 points
of AUROC too low, and "did joining help?" would be answered wrongly.

Privacy: constants, chosen on public images and phantoms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from msgspec import Meta, Struct

from wardround_common.errors import ConfigError

Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1, le=100_000)]


class NonPrivateRecipe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Adam without privacy; federated by plain averaging."""

    learning_rate: Positive = 4e-3
    last_quarter: Annotated[float, Meta(gt=0, le=1)] = 0.2
    """Factor on the learning rate in the last quarter of the steps."""
    batch: Count = 64
    """Images per step and site, drawn with replacement."""
    steps: Count = 300
    steps_per_exchange: Count = 10


class LonePrivateRecipe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Private SGD at one site alone, averaged over steps as the federation is over rounds."""

    from_size: Annotated[float, Meta(ge=0)]
    """Smallest product of the plan's epsilon and the site's stated patients that it is meant for."""
    sample_rate: Annotated[float, Meta(gt=0, le=1)]
    steps: Annotated[int, Meta(ge=1, le=10_000)]
    learning_rate: Positive
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.9
    ema_decay: Annotated[float, Meta(ge=0, lt=1)] = 0.97


LONE_PRIVATE: Final = (
    LonePrivateRecipe(from_size=15_000, sample_rate=0.2, steps=100, learning_rate=0.4),
    LonePrivateRecipe(from_size=3_000, sample_rate=0.3, steps=80, learning_rate=0.3),
    LonePrivateRecipe(from_size=1_600, sample_rate=0.5, steps=60, learning_rate=0.25),
    LonePrivateRecipe(from_size=800, sample_rate=1.0, steps=40, learning_rate=0.15),
    LonePrivateRecipe(from_size=300, sample_rate=1.0, steps=30, learning_rate=0.1),
    LonePrivateRecipe(from_size=0, sample_rate=1.0, steps=20, learning_rate=0.05),
)
"""By falling size. Few patients: few steps, all patients in each."""


def lone_recipe(
    table: Sequence[LonePrivateRecipe], *, target_epsilon: float, patients: int
) -> LonePrivateRecipe:
    """The row of ``table`` for a site of that size; an empty table stands for the built-in one.

    Raises:
        ConfigError: The site is smaller than every row.
    """
    size = target_epsilon * patients
    rows = [row for row in table or LONE_PRIVATE if row.from_size <= size]
    if not rows:
        raise ConfigError(
            f"no recipe for a site alone with epsilon times patients {size:g}",
            remedy="Add a row with from_size = 0 to simulation.lone_private.",
            code="config.no_lone_recipe",
        )
    return max(rows, key=lambda row: row.from_size)
