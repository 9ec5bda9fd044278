"""The study plan: everything that all sites must agree on before a scan is touched.

A plan is data. It names models and recipes that are built into the installed package and never carries
code. It is frozen, has one canonical encoding and one digest; every message of the study carries that
digest, and a site approves exactly that digest.

Everything that training divides by or weighs with is a constant of the plan: nothing counted among the
patients enters a released number without being charged to the ledger.

What the task adds stands in ``task``, a struct of that task; a plan with fields of another task is refused.

Not here: its parts (``plan_parts``), the tasks (``tasks``), whether a plan is *acceptable*
(``plan_checks``), who signed it (``trust``), how it reads in plain words (``plan_text``).

Privacy: a plan holds no patient data; ``SitePlan.patients`` is a size class that a person states.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta

from wardround_common.errors import ConfigError
from wardround_common.plan_parts import (
    AggregationPlan,
    AlgorithmPlan,
    AugmentPlan,
    Day,
    EvaluationPlan,
    Hex32,
    InputPlan,
    ModelPlan,
    Name,
    Part,
    PrivacyPlan,
    RecipePlan,
    SitePlan,
)
from wardround_common.tasks import any_task
from wardround_common.tasks.interface import TaskPlan

if TYPE_CHECKING:
    AnyTask = TaskPlan
else:
    AnyTask = any_task()

__all__ = [
    "AggregationPlan",
    "AlgorithmPlan",
    "AugmentPlan",
    "EvaluationPlan",
    "InputPlan",
    "ModelPlan",
    "Part",
    "PrivacyPlan",
    "RecipePlan",
    "SitePlan",
    "StudyPlan",
    "TaskPlan",
]


class StudyPlan(Part, frozen=True, kw_only=True):
    """The frozen description of one study."""

    version: Literal[1] = 1
    study: Name
    title: Annotated[str, Meta(min_length=1, max_length=200)]
    purpose: Annotated[str, Meta(min_length=1, max_length=2000)]
    expires: Day
    authority_key: Hex32
    lead_key: Hex32
    sites: Annotated[tuple[SitePlan, ...], Meta(min_length=1, max_length=1000)]
    task: AnyTask
    labels: Annotated[tuple[Name, ...], Meta(min_length=2, max_length=64)]
    """Class names."""
    input: InputPlan
    model: ModelPlan
    recipe: RecipePlan
    rounds: Annotated[int, Meta(ge=1, le=10_000)]
    algorithm: AlgorithmPlan = AlgorithmPlan()
    privacy: PrivacyPlan
    aggregation: AggregationPlan = AggregationPlan()
    evaluation: EvaluationPlan | None = None
    """None where the task counts nothing on held-out patients."""

    @property
    def steps(self) -> int:
        """Noisy steps of the whole study at one site."""
        return self.rounds * self.recipe.local_steps

    def site(self, name: str) -> SitePlan | None:
        """The entry of site ``name``, or None where the plan does not name it."""
        return next((site for site in self.sites if site.name == name), None)

    def expected_batch(self, name: str) -> float:
        """Patients in a step of site ``name`` on average, by its stated size: what sums are divided by.

        Raises:
            ConfigError: The plan does not name the site.
        """
        site = self.site(name)
        if site is None:
            raise ConfigError(
                f"the plan does not name site {name!r}",
                remedy="Check the site's name in its configuration against the plan.",
                code="plan.unknown_site",
            )
        return self.recipe.sample_rate * site.patients

    def weight(self, name: str) -> float:
        """Site ``name``'s share of the mean over all sites of the plan (the shares add up to 1)."""
        total = sum(site.patients for site in self.sites)
        return next(site.patients for site in self.sites if site.name == name) / total
