"""Classification: the second label against the first, one image at a time.

Privacy: functions of the plan alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from wardround_common.evaluation.cells import cells
from wardround_common.layout import Layout
from wardround_common.plan_parts import Positive, Share
from wardround_common.tasks.classification.models import MODELS
from wardround_common.tasks.interface import Planned, TaskPlan, unknown_model

__all__ = ["MODELS", "ClassificationPlan"]


class ClassificationPlan(TaskPlan, frozen=True, kw_only=True, tag="classification", tag_field="name"):
    """What a classification adds to the plan; the second label is the positive one."""

    class_weights: tuple[Positive, ...] = ()
    """One factor per class on the loss of each sample; empty: all 1. Losses are summed."""
    ema_decay: Annotated[float, Meta(ge=0, lt=1)] = 0.97
    """Moving average of the model over rounds, decay ``min(ema_decay, (1 + t) / (10 + t))``."""
    bin_edges: tuple[Share, ...] = (0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95)
    """Inner edges of the score histogram, increasing, in (0, 1); B bins have B - 1 edges."""
    specificity: Share = 0.9
    """Sensitivity is reported at this specificity."""

    @property
    def cells(self) -> int:
        """Cells of the histograms of scores."""
        return cells(self.bin_edges)

    def problems(self, plan: Planned) -> Iterator[tuple[str, str]]:
        """See ``TaskPlan.problems``."""
        if len(plan.labels) != 2:
            yield "labels", f"a classification tells two labels apart, got {len(plan.labels)}"
        if self.class_weights and len(self.class_weights) != len(plan.labels):
            yield (
                "task.class_weights",
                f"expected one per label ({len(plan.labels)}) or none, got {len(self.class_weights)}",
            )
        edges = self.bin_edges
        if not 1 <= len(edges) <= 63 or list(edges) != sorted(set(edges)) or edges[-1] >= 1:
            yield "task.bin_edges", "expected 1 to 63 increasing values in (0, 1)"
        if self.specificity >= 1:
            yield "task.specificity", "expected a value below 1"

    def layout(self, plan: Planned) -> Layout:
        """See ``TaskPlan.layout``."""
        make = MODELS.get(plan.model.name)
        if make is None:
            raise unknown_model(plan.model.name, known=tuple(MODELS))
        return make(plan)

    def average_decay(self, plan: Planned) -> float:
        """See ``TaskPlan.average_decay``."""
        return self.ema_decay

    def trains(self, plan: Planned) -> str:
        """See ``TaskPlan.trains``."""
        return (
            f"A classifier ('{plan.model.name}', {self.layout(plan).size:,} parameters) that reads a "
            f"{plan.input.described} and says how much it looks like '{plan.labels[1]}' rather than "
            f"'{plan.labels[0]}'"
        )

    def leaves(self, plan: Planned) -> tuple[str, ...]:
        """See ``TaskPlan.leaves``."""
        return (
            "the masked change of the model, once per round",
            "once, after the last round: masked counts of held-out patients by score, with noise added at "
            "the site",
        )
