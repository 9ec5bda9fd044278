"""Exact figures of the models that are compared, on patients whom only a simulation can see.

Not here: released figures (``judge``), how the models were trained (``comparison``).

Privacy: scores of single patients stay in this process; the figures are labelled "simulation only, not
private".
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wardround_client.tasks.classification.task import TASK
from wardround_common.evaluation import auroc_exact, operating_point_exact, roc_exact
from wardround_common.plan import StudyPlan
from wardround_common.tasks.classification import ClassificationPlan
from wardround_server.report.tasks.classification import results as report_model
from wardround_simulations.held_out import HeldOut
from wardround_simulations.tasks.classification.comparison import Models


class Figures:
    """Scores of models on one set of test patients, each computed once."""

    def __init__(self, plan: StudyPlan, models: Models, *, test: HeldOut, validation: HeldOut) -> None:
        self.test = test
        self._models = models
        self._plan = plan
        self._validation = validation
        self._known: dict[tuple[int, int], npt.NDArray[np.float64]] = {}

    def of(self, vector: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Scores of ``vector`` on the test patients."""
        return self._on(vector, self.test)

    def result(
        self, vector: npt.NDArray[np.float32], rows: npt.NDArray[np.int64] | None = None
    ) -> report_model.ModelResult:
        """Exact figures of one model, on some of the test patients or on all."""
        labels, scores = self.test.label_N, self.of(vector)
        if rows is not None:
            labels, scores = labels[rows], scores[rows]
        return report_model.ModelResult(
            auroc=auroc_exact(scores, labels),
            positives=float((labels == 1).sum()),
            negatives=float((labels == 0).sum()),
            roc=roc_exact(scores, labels),
            operating_point=operating_point_exact(
                self._on(vector, self._validation),
                self._validation.label_N,
                scores,
                labels,
                specificity=ClassificationPlan.of(self._plan).specificity,
            ),
        )

    def results(self, tested_on: str) -> report_model.Evaluation:
        """Exact figures of every model."""
        models = self._models

        def whole(vector: npt.NDArray[np.float32] | None) -> report_model.ModelResult | None:
            return None if vector is None else self.result(vector)

        return report_model.Evaluation(
            tested_on=tested_on,
            federated=whole(models.federated),
            federated_without_privacy=whole(models.federated_without_privacy),
            pooled=whole(models.pooled),
            local={site: self.result(vector) for site, vector in models.local.items()},
            local_private={site: self.result(vector) for site, vector in models.local_private.items()},
        )

    def _on(self, vector: npt.NDArray[np.float32], patients: HeldOut) -> npt.NDArray[np.float64]:
        key = (id(vector), id(patients))
        if key not in self._known:
            self._known[key] = TASK.scores(self._plan, vector, patients.images_NCHW)
        return self._known[key]
