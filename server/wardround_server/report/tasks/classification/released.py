"""What the released counts of a classification say about its model.

Not here: exact figures, which only a simulation has.

Privacy: computed from the noised sum of counts alone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wardround_common.evaluation import auroc_released, operating_point, roc_released, unpack
from wardround_common.plan import StudyPlan
from wardround_common.tasks.classification import ClassificationPlan
from wardround_server.report.tasks.classification.results import (
    ClassificationResults,
    Evaluation,
    ModelResult,
    ReleasedCounts,
)


def released_counts(
    plan: StudyPlan, counts: npt.NDArray[np.int64] | None, *, sites: int
) -> ReleasedCounts | None:
    """The counts as tables; None where none were released.

    Args:
        plan: The plan of a classification.
        counts: The sum in ring levels, int64 [cells].
        sites: How many added noise to it.
    """
    if counts is None or plan.evaluation is None:
        return None
    edges = ClassificationPlan.of(plan).bin_edges
    validation, test = unpack(counts, edges)
    return ReleasedCounts(
        edges=edges,
        validation=tuple(tuple(row) for row in validation.tolist()),
        test=tuple(tuple(row) for row in test.tolist()),
        noise_sd_cell=plan.evaluation.noise_multiplier * sites**0.5,
    )


def released_result(plan: StudyPlan, counts: ReleasedCounts) -> ModelResult:
    """What the counts say about the model."""
    validation, test = np.array(counts.validation), np.array(counts.test)
    fields = ClassificationPlan.of(plan)
    return ModelResult(
        auroc=auroc_released(test, counts.noise_sd_cell),
        positives=float(test[1].sum()),
        negatives=float(test[0].sum()),
        roc=roc_released(test),
        operating_point=operating_point(
            validation,
            test,
            edges=fields.bin_edges,
            specificity=fields.specificity,
            noise_sd_cell=counts.noise_sd_cell,
        ),
    )


def released_results(
    plan: StudyPlan, counts: npt.NDArray[np.int64] | None, *, sites: int
) -> ClassificationResults | None:
    """The results of a deployed classification; None for other tasks and where nothing was released."""
    if not isinstance(plan.task, ClassificationPlan):
        return None
    table = released_counts(plan, counts, sites=sites)
    if table is None:
        return None
    return ClassificationResults(
        evaluation=Evaluation(
            tested_on="the test patients of all hospitals, one image each",
            federated_released=released_result(plan, table),
            released_counts=table,
        )
    )
