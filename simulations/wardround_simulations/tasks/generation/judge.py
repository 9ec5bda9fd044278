"""Judges a generator: what its images are worth as training data, whether they vary, whether they are copies.

Privacy: everything that compares synthetic images with patients' is exact and labelled "simulation only, not
private" by the report; the synthetic images themselves cost nothing more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from wardround_client.tasks.generation.drawing import draw
from wardround_common.plan import StudyPlan
from wardround_common.state import StudyState
from wardround_common.streams import Stream, derive
from wardround_common.tasks.generation import GenerationPlan
from wardround_server.observer import Observer, RoundRecord
from wardround_server.report import LearningCurve
from wardround_server.report.tasks.generation import results as report
from wardround_server.study import StudyOutcome
from wardround_simulations.held_out import HeldOut, held_out
from wardround_simulations.live import Screen, StudyView
from wardround_simulations.pictures import tiles
from wardround_simulations.tasks.generation.labelled import Labelled
from wardround_simulations.tasks.generation.quality import SYNTHETIC, Quality, measure
from wardround_simulations.tasks.generation.without_privacy import train_without_privacy
from wardround_simulations.tasks.interface import Trial

COLUMNS: Final = 10
SNAPSHOTS: Final = 6
MOST_SAMPLES: Final = 3000
ELSEWHERE: Final = "without_privacy"

Images = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float32]


class Snapshots:
    """An ``Observer`` that draws the same latent vectors after some of the rounds, and passes all on."""

    def __init__(self, plan: StudyPlan, *, secret: bytes, inner: Observer) -> None:
        self._plan: Final = plan
        self._secret: Final = secret
        self._inner: Final = inner
        shown = np.linspace(1, plan.rounds, min(SNAPSHOTS, plan.rounds))
        self._rounds: Final = {round(number) for number in shown.tolist()}
        self.pictures: list[report.OverRounds] = []

    def exchange_began(self, record: RoundRecord, exchange: str, sites: Sequence[str]) -> None:
        """Pass it on."""
        self._inner.exchange_began(record, exchange, sites)

    def replied(self, record: RoundRecord, exchange: str, site: str) -> None:
        """Pass it on."""
        self._inner.replied(record, exchange, site)

    def round_ended(self, record: RoundRecord, state: StudyState) -> None:
        """Draw with the average that would be released now."""
        if record.number in self._rounds and not record.void:
            rows = [self._row(state.average, label) for label in range(len(self._plan.labels))]
            shown = f"rows: {', '.join(self._plan.labels)}"
            alt = f"Synthetic images after round {record.number}, {shown}"
            picture = report.Picture(png=tiles(rows), caption=shown, alt=alt)
            self.pictures.append(report.OverRounds(round=record.number, picture=picture))
        self._inner.round_ended(record, state)

    def _row(self, vector: Vector, label: int) -> Images:
        stream = Stream(derive(self._secret, "over rounds"))
        return draw(self._plan, vector, np.full(COLUMNS, label, np.int64), latent=stream)


class GenerationJudge:
    """Watches the images come into being, and measures them when the study has ended."""

    def __init__(self, trial: Trial) -> None:
        self._trial: Final = trial
        self._plan: Final = trial.federation.plan
        self._secret: Final = derive(trial.federation.scenario.secrets.baselines(), "generation")
        self._train: Final = {site: c.of_side("train") for site, c in trial.catalogues.items()}
        self._snapshots: Snapshots | None = None

    def watch(self, view: StudyView) -> Observer:
        """See ``Judge.watch``."""
        self._snapshots = Snapshots(self._plan, secret=self._secret, inner=view)
        return self._snapshots

    def learning(self) -> tuple[LearningCurve, ...]:
        """Nothing: what a generator is worth takes the training of a classifier to measure."""
        return ()

    def results(self, outcome: StudyOutcome, screen: Screen) -> report.GenerationResults:
        """See ``Judge.results``: trains classifiers on synthetic and on real images."""
        steps = 1 + self._trial.federation.scenario.simulation.baselines
        with screen.stage("what the images are worth", total=steps) as progress:
            quality = self._measure(outcome.state.average)
            progress(1, steps)
            open_ = self._without_privacy() if steps > 1 else None
        classes = range(len(self._plan.labels))
        real = _joined([self._held_out("validation"), self._held_out("test")])
        return report.GenerationResults(
            generation=report.Generation(
                tested_on="the validation and test patients of all hospitals, one image each",
                train_synthetic_test_real=_judged(quality.train_synthetic_test_real),
                train_real_test_real=_judged(quality.train_real_test_real),
                class_mean_baseline=_judged(quality.class_mean_baseline),
                without_privacy=None if open_ is None else _judged(open_.train_synthetic_test_real),
                external=_external(quality, open_),
                agreement=dict(quality.agreement),
                diversity={
                    label: report.Diversity(**dataclasses.asdict(one))
                    for label, one in quality.diversity.items()
                },
                nearest=None
                if quality.nearest is None
                else report.Nearest(**dataclasses.asdict(quality.nearest)),
                classes=tuple(self._class(outcome.state.average, number, real) for number in classes),
                over_rounds=tuple(self._snapshots.pictures) if self._snapshots else (),
                interpolation=tuple(self._between(outcome.state.average, number) for number in classes),
            )
        )

    def _without_privacy(self) -> Quality:
        secret = derive(self._secret, "without privacy")
        return self._measure(train_without_privacy(self._plan, train=self._train, secret=secret))

    def _measure(self, vector: Vector) -> Quality:
        external = self._trial.external
        views = self._train.values()
        train = _joined([Labelled(images_NCHW=view.images_NCHW, label_N=view.label_N) for view in views])
        return measure(
            self._samples(vector, count=min(len(train), MOST_SAMPLES)),
            train=train,
            held_out=_joined([self._held_out("validation"), self._held_out("test")]),
            labels=self._plan.labels,
            secret=self._secret,
            external=None if external is None else _labelled(external),
        )

    def _samples(self, vector: Vector, *, count: int) -> Labelled:
        """As many images of each label as the plan's prior says."""
        shares = np.cumsum(GenerationPlan.of(self._plan).prior(self._plan))[:-1]
        label_N = np.searchsorted(shares, (np.arange(count) + 0.5) / count).astype(np.int64)
        stream = Stream(derive(self._secret, "samples"))
        return Labelled(images_NCHW=draw(self._plan, vector, label_N, latent=stream), label_N=label_N)

    def _held_out(self, side: str) -> Labelled:
        return _labelled(held_out(self._trial.catalogues, side))

    def _class(self, vector: Vector, number: int, real: Labelled) -> report.LabelPictures:
        label, stream = self._plan.labels[number], Stream(derive(self._secret, "shown", number))
        images = draw(self._plan, vector, np.full(2 * COLUMNS, number, np.int64), latent=stream)
        patients = real.of_class(number)[: 2 * COLUMNS]
        return report.LabelPictures(
            label=label,
            samples=_sheet(images, caption="drawn at random", alt=f"Synthetic images of the label {label}"),
            real=_sheet(patients, caption="held-out patients", alt=f"Patients' images of the label {label}"),
        )

    def _between(self, vector: Vector, number: int) -> report.LabelPictures:
        """From one latent vector to another, along the great circle between them."""
        length = GenerationPlan.of(self._plan).latent
        ends = Stream(derive(self._secret, "between")).normal(2 * length).reshape(2, length)
        angle = np.linspace(0, np.pi / 2, COLUMNS)[:, None]
        z_NL = (np.cos(angle) * ends[0] + np.sin(angle) * ends[1]).astype(np.float32)
        images = draw(self._plan, vector, np.full(COLUMNS, number, np.int64), latent=z_NL)
        label = self._plan.labels[number]
        alt = f"Synthetic images of the label {label} between two latent vectors"
        return report.LabelPictures(label=label, samples=_sheet(images, caption="", alt=alt))


def _sheet(images_NCHW: Images, *, caption: str, alt: str) -> report.Picture:
    rows = [images_NCHW[start : start + COLUMNS] for start in range(0, len(images_NCHW), COLUMNS)]
    whole = [row for row in rows if len(row) == len(rows[0])]
    return report.Picture(png=tiles(whole), caption=caption, alt=alt)


def _labelled(patients: HeldOut) -> Labelled:
    return Labelled(images_NCHW=patients.images_NCHW, label_N=patients.label_N)


def _joined(parts: Sequence[Labelled]) -> Labelled:
    return Labelled(
        images_NCHW=np.concatenate([part.images_NCHW for part in parts]),
        label_N=np.concatenate([part.label_N for part in parts]),
    )


def _judged(one: object) -> report.Judged:
    return report.Judged(**dataclasses.asdict(one))  # type: ignore[call-overload]


def _external(quality: Quality, open_: Quality | None) -> dict[str, report.Judged]:
    found: Mapping[str, object] = quality.external
    if open_ is not None and SYNTHETIC in open_.external:
        found = {**found, ELSEWHERE: open_.external[SYNTHETIC]}
    return {name: _judged(one) for name, one in found.items()}


JUDGE = GenerationJudge
