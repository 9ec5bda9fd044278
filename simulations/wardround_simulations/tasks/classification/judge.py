"""Judges a classifier: exact figures of every model, and those that the released counts give.

Privacy: everything exact in here is labelled "simulation only, not private" by the report.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from wardround_common.evaluation import auroc_difference
from wardround_server.observer import Observer
from wardround_server.report import LearningCurve
from wardround_server.report.tasks.classification.released import released_counts, released_result
from wardround_server.report.tasks.classification.results import (
    ClassificationResults,
    Evaluation,
    ModelResult,
    SiteEvaluation,
)
from wardround_server.study import StudyOutcome
from wardround_simulations.held_out import HeldOut, held_out
from wardround_simulations.live import Screen, StudyView
from wardround_simulations.tasks.classification.comparison import Models, compare
from wardround_simulations.tasks.classification.curve import Curve
from wardround_simulations.tasks.classification.figures import Figures
from wardround_simulations.tasks.interface import Trial


class ClassificationJudge:
    """Scores every round, and compares the model with others when the study has ended."""

    def __init__(self, trial: Trial) -> None:
        self._trial: Final = trial
        self._plan: Final = trial.federation.plan
        self._test: Final = held_out(trial.catalogues, "test")
        self._validation: Final = held_out(trial.catalogues, "validation")
        self._curve: Curve | None = None

    def watch(self, view: StudyView) -> Observer:
        """See ``Judge.watch``."""
        self._curve = Curve(self._plan, self._test, inner=view, shown=view.scored)
        return self._curve

    def learning(self) -> tuple[LearningCurve, ...]:
        """See ``Judge.learning``."""
        return self._curve.learning() if self._curve else ()

    def results(self, outcome: StudyOutcome, screen: Screen) -> ClassificationResults:
        """See ``Judge.results``: trains the models to compare with."""
        models, external = (
            compare(self._trial.federation, outcome.state.average, screen),
            self._trial.external,
        )
        elsewhere = "a public test set, one image of each patient"
        return ClassificationResults(
            evaluation=self._evaluation(models, outcome),
            external=None if external is None else self._figures(models, external).results(elsewhere),
        )

    def _figures(self, models: Models, test: HeldOut) -> Figures:
        return Figures(self._plan, models, test=test, validation=self._validation)

    def _evaluation(self, models: Models, outcome: StudyOutcome) -> Evaluation:
        scores, test = self._figures(models, self._test), self._test
        privately = scores.of(models.federated)
        counts = released_counts(self._plan, outcome.counts, sites=len(outcome.counted_sites))
        return replace(
            scores.results("the test patients of all hospitals, one image each"),
            federated_released=None if counts is None else released_result(self._plan, counts),
            released_counts=counts,
            gain={
                site: auroc_difference(
                    privately[test.rows_of(site)],
                    scores.of(vector)[test.rows_of(site)],
                    test.label_N[test.rows_of(site)],
                )
                for site, vector in models.local_private.items()
            },
            by_site={site: _by_site(models, scores, site) for site in self._trial.federation.names},
        )


def _by_site(models: Models, scores: Figures, site: str) -> SiteEvaluation:
    rows = scores.test.rows_of(site)

    def result(vector: npt.NDArray[np.float32] | None) -> ModelResult | None:
        return None if vector is None else scores.result(vector, rows)

    return SiteEvaluation(
        federated=result(models.federated),
        federated_without_privacy=result(models.federated_without_privacy),
        pooled=result(models.pooled),
        local=result(models.local.get(site)),
        local_private=result(models.local_private.get(site)),
    )


JUDGE = ClassificationJudge
