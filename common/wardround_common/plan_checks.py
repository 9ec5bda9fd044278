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
from wardround_common.plan import StudyPlan

_KEYS = ("authority_key", "lead_key")


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
    weights = plan.recipe.class_weights
    if weights and len(weights) != len(plan.labels):
        yield (
            "recipe.class_weights",
            f"expected one per label ({len(plan.labels)}) or none, got {len(weights)}",
        )
    window = plan.input
    if window.window == "fixed" and window.window_width <= 0:
        yield "input.window_width", "a fixed window needs a width above 0"
    if window.window == "file" and (window.window_width or window.window_center):
        yield "input.window_width", "is not used where window is 'file': leave center and width out"
    edges = plan.evaluation.bin_edges
    if not 1 <= len(edges) <= 63 or list(edges) != sorted(set(edges)) or edges[-1] >= 1:
        yield "evaluation.bin_edges", "expected 1 to 63 increasing values in (0, 1)"
    if plan.evaluation.specificity >= 1:
        yield "evaluation.specificity", "expected a value below 1"
