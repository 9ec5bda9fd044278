"""A plan as a person writes it, completed: the noise that meets the stated epsilons is computed.

Not here: whether fields fit together (``plan_checks``), who signs (``trust``).

Privacy: looks at the plan only.
"""

from __future__ import annotations

from typing import Any

from wardround_common.accounting import calibrate_evaluation, calibrate_training
from wardround_common.canonical import convert
from wardround_common.plan import StudyPlan
from wardround_common.plan_checks import plan_from_tables
from wardround_common.tasks import any_task


def complete_plan(tables: dict[str, Any]) -> StudyPlan:
    """The checked plan of tables that may leave out noise multipliers and the table of the evaluation.

    Raises:
        ConfigError: Naming the path of the first field that does not fit.
        PrivacyError: No noise meets an epsilon of the plan.
    """
    privacy = dict(tables.get("privacy", {}))
    evaluation = {"epsilon": privacy.get("target_epsilon")} | dict(tables.get("evaluation", {}))
    calibrate = "noise_multiplier" not in privacy, "noise_multiplier" not in evaluation
    counts = convert(tables.get("task"), any_task(), where="plan.task").cells > 0
    tables = tables | {"privacy": {"noise_multiplier": 1.0} | privacy}
    if counts or "evaluation" in tables:
        tables["evaluation"] = {"noise_multiplier": 1.0} | evaluation
    plan = plan_from_tables(tables)  # checks every field before anything is computed from them
    if calibrate[0]:
        tables["privacy"]["noise_multiplier"] = calibrate_training(
            target_epsilon=plan.privacy.target_epsilon,
            target_delta=plan.privacy.target_delta,
            sample_rate=plan.recipe.sample_rate,
            steps=plan.steps,
        )
    if calibrate[1] and plan.evaluation is not None:
        tables["evaluation"]["noise_multiplier"] = calibrate_evaluation(
            epsilon=plan.evaluation.epsilon, delta=plan.privacy.target_delta
        )
    return plan_from_tables(tables)
