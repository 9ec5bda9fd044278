"""Whether the fields of a plan fit together; what a single field may hold is said in ``plan``.

Not here: a site's own limits (the site's policy), the calibration of noise (``accounting``).

Privacy: looks at the plan only.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from wardround_common.canonical import convert
from wardround_common.errors import ConfigError
from wardround_common.models import layout_of
from wardround_common.plan import AggregationPlan, InputPlan, StudyPlan

_PHOTOGRAPHS = ("GM", "XC")
"""Modalities whose images may have three channels."""
_SITES_IN_16_BITS = 128
"""More sites would leave each of them fewer than 256 of the 2^16 levels."""


def plan_from_tables(tables: object) -> StudyPlan:
    """The plan that configuration tables describe, checked.

    Raises:
        ConfigError: ``config.field`` with the path of the first field that does not fit.
    """
    plan = convert(tables, StudyPlan, where="plan")
    check_plan(plan)
    return plan


def check_plan(plan: StudyPlan) -> None:
    """Return only if the plan's fields fit together.

    Raises:
        ConfigError: ``config.field`` naming the path of the first that does not.
    """
    for path, problem in _problems(plan):
        raise ConfigError(
            f"plan.{path}: {problem}", remedy=f"Correct {path} in the plan.", code="config.field"
        )
    layout_of(plan)


def _problems(plan: StudyPlan) -> Iterator[tuple[str, str]]:
    names = [site.name for site in plan.sites]
    if len(set(names)) != len(names):
        yield "sites", "names a site twice"
    if "coordinator" in names:
        yield "sites", "'coordinator' is not a name for a site"
    if plan.aggregation.minimum_cohort > len(names):
        yield (
            "aggregation.minimum_cohort",
            f"asks for {plan.aggregation.minimum_cohort} sites, the plan names {len(names)}",
        )
    try:
        datetime.date.fromisoformat(plan.expires)
    except ValueError:
        yield "expires", f"'{plan.expires}' is not a day of the calendar"
    if len(set(plan.labels)) != len(plan.labels):
        yield "labels", "names a label twice"
    yield from _input_problems(plan.input)
    yield from _ring_problems(plan.aggregation, sites=len(names))
    if (plan.evaluation is not None) != (plan.task.cells > 0):
        counted = "needs" if plan.task.cells else "counts nothing on held-out patients and has no"
        yield "evaluation", f"the task {plan.task.name!r} {counted} table evaluation"
    yield from plan.task.problems(plan)


def _input_problems(source: InputPlan) -> Iterator[tuple[str, str]]:
    if source.channels == 3 and source.modality not in _PHOTOGRAPHS:
        yield "input.channels", f"{source.modality} images have 1 channel; 3 needs GM or XC"
    if source.channels == 3 and source.window == "fixed":
        yield "input.window", "a fixed window is in modality units, which colours do not have: set 'file'"
    if source.spacing_mm == 0 and source.modality != "XC":
        yield "input.spacing_mm", f"expected a value above 0 for {source.modality} images"
    if source.window == "fixed" and source.window_width <= 0:
        yield "input.window_width", "a fixed window needs a width above 0"
    if source.window == "file" and (source.window_width or source.window_center):
        yield "input.window_width", "is not used where window is 'file': leave center and width out"


def _ring_problems(aggregation: AggregationPlan, *, sites: int) -> Iterator[tuple[str, str]]:
    if aggregation.ring_bits == 16 and sites > _SITES_IN_16_BITS:
        yield "aggregation.ring_bits", f"16 bits are for at most {_SITES_IN_16_BITS} sites: set 32"
    if aggregation.ring_bits == 16 and aggregation.quantiser == "fast":
        yield (
            "aggregation.quantiser",
            "'fast' needs ring_bits 32; a ring of 16 bits is always rounded at random",
        )
