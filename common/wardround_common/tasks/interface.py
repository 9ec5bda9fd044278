"""What a task adds to a plan, and what all parties compute from it without torch.

A task's struct stands in the plan's field ``task``: its fields are part of the plan's digest, and its methods
are the same rule for coordinator and sites. A task reads of the plan around it what ``Planned`` names.

Not here: training (``wardround_client.tasks``), which tasks there are (this package's ``TASKS``).

Privacy: functions of the plan alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, Self

from wardround_common.errors import ConfigError
from wardround_common.layout import Layout
from wardround_common.plan_parts import InputPlan, ModelPlan, Part, RecipePlan


class Planned(Protocol):
    """What a task may know of the plan that it stands in."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names."""
        ...

    @property
    def input(self) -> InputPlan:
        """How a scan becomes a tensor."""
        ...

    @property
    def model(self) -> ModelPlan:
        """The model's name and seed."""
        ...

    @property
    def recipe(self) -> RecipePlan:
        """What a site does between two exchanges."""
        ...

    @property
    def task(self) -> TaskPlan:
        """The task's own fields."""
        ...


class TaskPlan(Part, frozen=True, kw_only=True):
    """Base of the tasks' structs; each is tagged with its name in the field ``name``."""

    @property
    def name(self) -> str:
        """The task's name, as in the plan."""
        return str(self.__struct_config__.tag)

    @classmethod
    def of(cls, plan: Planned) -> Self:
        """The fields of ``plan.task``, for code that knows which task it belongs to.

        Raises:
            ConfigError: ``plan.other_task``: the plan is of another task.
        """
        if not isinstance(plan.task, cls):
            raise ConfigError(
                f"expected a plan of another task, got one of {plan.task.name!r}",
                remedy="Use the plan with the task that it names.",
                code="plan.other_task",
            )
        return plan.task

    @property
    def cells(self) -> int:
        """Counts of held-out patients that an EVALUATE round sums; 0: there is no such round."""
        return 0

    def problems(self, plan: Planned) -> Iterator[tuple[str, str]]:
        """Why the task's fields and the plan around them do not fit: path of the field, and what is wrong."""
        yield from ()

    def layout(self, plan: Planned) -> Layout:
        """The layout of the vector that a TRAIN round sums.

        Raises:
            ConfigError: ``plan.unknown_model``: the task has no model of that name.
        """
        raise NotImplementedError

    def average_decay(self, plan: Planned) -> float:
        """The decay per round that the moving average comes to, in [0, 1)."""
        raise NotImplementedError

    def trains(self, plan: Planned) -> str:
        """What is trained and what it does, a sentence without its full stop."""
        raise NotImplementedError

    def leaves(self, plan: Planned) -> tuple[str, ...]:
        """What leaves a site for this task's sake: the trained part first, a phrase each."""
        raise NotImplementedError

    def promises(self, plan: Planned) -> tuple[str, ...]:
        """What the guarantee means for each network, where that is not plain: a sentence each."""
        return ()


def unknown_model(name: str, *, known: tuple[str, ...]) -> ConfigError:
    """The error of a plan that names a model which its task does not have."""
    return ConfigError(
        f"unknown model {name!r}",
        remedy=f"Set model.name to one of: {', '.join(sorted(known))}.",
        code="plan.unknown_model",
    )
