"""Exact AUROC after each round, which only a simulation has.

Rules: nothing computed here acts on the study; it is for the eyes of whoever watches.

Privacy: exact figures on single patients' scores; labelled "simulation only, not private".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wardround_client.tasks.classification.task import TASK
from wardround_common.evaluation import auroc_exact
from wardround_common.plan import StudyPlan
from wardround_common.state import StudyState
from wardround_server.observer import Observer, RoundRecord
from wardround_server.report import LearningCurve
from wardround_simulations.held_out import HeldOut


class Curve:
    """An ``Observer`` that scores every new state on test patients, and passes everything on."""

    def __init__(
        self, plan: StudyPlan, test: HeldOut, *, inner: Observer, shown: Callable[[float], None]
    ) -> None:
        self._plan = plan
        self._test = test
        self._inner = inner
        self._shown = shown
        self._rounds: list[int] = []
        self._aurocs: list[float] = []

    def exchange_began(self, record: RoundRecord, exchange: str, sites: Sequence[str]) -> None:
        """Pass it on."""
        self._inner.exchange_began(record, exchange, sites)

    def replied(self, record: RoundRecord, exchange: str, site: str) -> None:
        """Pass it on."""
        self._inner.replied(record, exchange, site)

    def round_ended(self, record: RoundRecord, state: StudyState) -> None:
        """Score the average that would be released now."""
        if record.kind == "train" and not record.void:
            scores = TASK.scores(self._plan, state.average, self._test.images_NCHW)
            self._rounds.append(record.number)
            self._aurocs.append(auroc_exact(scores, self._test.label_N).value)
            self._shown(self._aurocs[-1])
        self._inner.round_ended(record, state)

    def learning(self) -> tuple[LearningCurve, ...]:
        """The curve for the report."""
        if not self._rounds:
            return ()
        return (
            LearningCurve(
                metric="AUROC on test patients",
                series="federated, private",
                rounds=tuple(self._rounds),
                values=tuple(self._aurocs),
            ),
        )
