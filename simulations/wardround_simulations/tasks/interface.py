"""What a simulation asks of a task's judge.

Rules: nothing that is measured acts on the study.

Privacy: a judge reads the images of all sites, as only a simulation can.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from wardround_client.catalogue import Catalogue
from wardround_server.observer import Observer
from wardround_server.report import LearningCurve, Results
from wardround_server.study import StudyOutcome
from wardround_simulations.federation import Federation
from wardround_simulations.held_out import HeldOut
from wardround_simulations.live import Screen, StudyView


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """What a judge may look at.

    Attributes:
        federation: The federation, whose catalogues are written.
        catalogues: What each site read.
        external: A public test set, or None.
    """

    federation: Federation
    catalogues: Mapping[str, Catalogue]
    external: HeldOut | None


class Judge(Protocol):
    """Measures one study, while it runs and when it has ended."""

    def watch(self, view: StudyView) -> Observer:
        """Who is told of every round; everything is passed on to ``view``."""
        ...

    def learning(self) -> tuple[LearningCurve, ...]:
        """What was measured after each round."""
        ...

    def results(self, outcome: StudyOutcome, screen: Screen) -> Results | None:
        """Everything about the model that the study ended with."""
        ...


class NoJudge:
    """For a task of which nothing is measured."""

    def __init__(self, trial: Trial) -> None:
        pass

    def watch(self, view: StudyView) -> Observer:
        """See ``Judge.watch``."""
        return view

    def learning(self) -> tuple[LearningCurve, ...]:
        """Nothing."""
        return ()

    def results(self, outcome: StudyOutcome, screen: Screen) -> Results | None:
        """Nothing."""
        return None
