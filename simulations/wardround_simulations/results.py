"""From the outcome of a simulated study to its report.

Not here: the page (``wardround_server.report``), training of the models that are compared (``comparison``).

Privacy: everything exact in here is labelled "simulation only, not private" by the report.
"""

from __future__ import annotations

import datetime
import io
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace
from PIL import Image

from wardround_client.catalogue import SIDES, Catalogue
from wardround_common import __version__
from wardround_common.accounting import epsilon, evaluate_event, training_epsilon
from wardround_common.evaluation import (
    auroc_difference,
    auroc_released,
    operating_point,
    roc_released,
    unpack,
)
from wardround_common.layout import Layout
from wardround_common.models import layout_of
from wardround_common.plan import StudyPlan
from wardround_common.plan_text import explain
from wardround_common.secagg.thresholds import threshold
from wardround_common.trust import plan_digest
from wardround_server.observer import RoundRecord
from wardround_server.report import model as report_model
from wardround_server.study import StudyOutcome
from wardround_simulations.comparison import Models
from wardround_simulations.curve import Curve
from wardround_simulations.federation import Federation, SiteCost, SiteData
from wardround_simulations.figures import Figures
from wardround_simulations.held_out import HeldOut, held_out

CONTACT_COLUMNS = 6
CONTACT_GAP_PX = 2
PACKAGES = ("flwr", "torch", "opacus", "pydicom", "cryptography", "pandas", "numpy")


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """Everything that a report is made of.

    Attributes:
        federation: The federation.
        outcome: How the study ended.
        data: What each site read.
        costs: What each site's ledger says.
        models: The vectors that are compared.
        curve: Exact AUROC after each round.
        external: A public test set, by name.
        seconds: Wall time by stage.
        command: The command line.
    """

    federation: Federation
    outcome: StudyOutcome
    data: Mapping[str, SiteData]
    costs: Mapping[str, SiteCost]
    models: Models
    curve: Curve
    external: HeldOut | None
    seconds: Mapping[str, float]
    command: str


def build_report(run: Run) -> report_model.Report:
    """The report of a run."""
    plan = run.federation.plan
    layout: Layout = layout_of(plan)
    catalogues = {site: data.catalogue for site, data in run.data.items()}
    test, validation = held_out(catalogues, "test"), held_out(catalogues, "validation")
    return report_model.Report(
        setting="simulation",
        created=datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds"),
        plan=plan,
        plan_digest=plan_digest(plan).hex(),
        plan_text=explain(plan),
        parameters=layout.size,
        evaluation=_evaluation(run, test, validation),
        external=None if run.external is None else _external(run, run.external, validation),
        privacy=report_model.Privacy(sites={site: _privacy(run, site) for site in run.federation.names}),
        rounds=tuple(_round(record) for record in run.outcome.records),
        learning=run.curve.learning(),
        traffic=_traffic(run.outcome.records),
        seconds=_seconds(run),
        protection=_protection(run),
        data={site: _data(data, plan) for site, data in run.data.items()},
        contact_sheets=tuple(
            report_model.ContactSheet(
                site=site, png=contact_sheet(catalogue), caption=f"rows: {', '.join(plan.labels)}"
            )
            for site, catalogue in catalogues.items()
            if len(catalogue.of_side("train").label_N)
        ),
        warnings=_warnings(run),
        reproducibility=report_model.Reproducibility(
            randomness="simulation_seed",
            seed=run.federation.scenario.simulation.seed,
            versions={"wardround": __version__} | {name: version(name) for name in PACKAGES},
            command=run.command,
            machine=f"{platform.machine()}, Python {platform.python_version()}",
        ),
    )


def _evaluation(run: Run, test: HeldOut, validation: HeldOut) -> report_model.Evaluation:
    scores = _figures(run, test, validation)
    privately, alone = scores.of(run.models.federated), run.models.local_private
    return replace(
        scores.results("the test patients of all hospitals, one image each"),
        federated_released=_released(run),
        released_counts=_counts(run),
        gain={
            site: auroc_difference(
                privately[test.rows_of(site)],
                scores.of(vector)[test.rows_of(site)],
                test.label_N[test.rows_of(site)],
            )
            for site, vector in alone.items()
        },
        by_site={site: _by_site(run, scores, site) for site in run.federation.names},
    )


def _figures(run: Run, test: HeldOut, validation: HeldOut) -> Figures:
    return Figures(run.federation.plan, run.models, test=test, validation=validation)


def _external(run: Run, external: HeldOut, validation: HeldOut) -> report_model.Evaluation:
    return _figures(run, external, validation).results("a public test set, one image of each patient")


def _by_site(run: Run, scores: Figures, site: str) -> report_model.SiteEvaluation:
    models = run.models
    rows = scores.test.rows_of(site)

    def result(vector: npt.NDArray[np.float32] | None) -> report_model.ModelResult | None:
        return None if vector is None else scores.result(vector, rows)

    return report_model.SiteEvaluation(
        federated=result(models.federated),
        federated_without_privacy=result(models.federated_without_privacy),
        pooled=result(models.pooled),
        local=result(models.local.get(site)),
        local_private=result(models.local_private.get(site)),
    )


def _released(run: Run) -> report_model.ModelResult | None:
    counts = _counts(run)
    if counts is None:
        return None
    validation, test = np.array(counts.validation), np.array(counts.test)
    evaluation = run.federation.plan.evaluation
    return report_model.ModelResult(
        auroc=auroc_released(test, counts.noise_sd_cell),
        positives=float(test[1].sum()),
        negatives=float(test[0].sum()),
        roc=roc_released(test),
        operating_point=operating_point(
            validation,
            test,
            edges=evaluation.bin_edges,
            specificity=evaluation.specificity,
            noise_sd_cell=counts.noise_sd_cell,
        ),
    )


def _counts(run: Run) -> report_model.ReleasedCounts | None:
    outcome, plan = run.outcome, run.federation.plan
    if outcome.counts is None:
        return None
    validation, test = unpack(outcome.counts, plan)
    return report_model.ReleasedCounts(
        edges=plan.evaluation.bin_edges,
        validation=tuple(tuple(row) for row in validation.tolist()),
        test=tuple(tuple(row) for row in test.tolist()),
        noise_sd_cell=plan.evaluation.noise_multiplier * len(outcome.counted_sites) ** 0.5,
    )


def _privacy(run: Run, site: str) -> report_model.SitePrivacy:
    plan, cost = run.federation.plan, run.costs[site]
    return report_model.SitePrivacy(
        epsilon_spent=cost.spent.largest,
        delta=plan.privacy.target_delta,
        budget=max(plan.privacy.target_epsilon, plan.evaluation.epsilon),
        by_side={side: getattr(cost.spent, side) for side in SIDES},
        after_round=tuple(
            report_model.RoundEpsilon(round=record.number, epsilon=epsilon_after(plan, record))
            for record in run.outcome.records
        ),
    )


def epsilon_after(plan: StudyPlan, record: RoundRecord) -> float:
    """The largest epsilon of any side after a round in which the site spent, void or not."""
    spent = training_epsilon(plan, min(record.number, plan.rounds))
    if record.kind == "train":
        return spent
    return max(spent, epsilon([evaluate_event(plan)], delta=plan.privacy.target_delta))


def _round(record: RoundRecord) -> report_model.RoundReport:
    refusals = ", ".join(f"{site}: {code} ({exchange})" for exchange, site, code in record.refusals)
    return report_model.RoundReport(
        number=record.number,
        kind=record.kind,
        cohort=record.cohort,
        survivors=record.survivors,
        void=bool(record.void),
        reason="; ".join(part for part in (record.void, refusals) if part),
        attempts=record.attempts,
        seconds=record.seconds,
    )


def _traffic(records: list[RoundRecord]) -> dict[str, dict[str, report_model.Traffic]]:
    table: dict[str, dict[str, report_model.Traffic]] = {}
    for record in records:
        for item in record.traffic:
            row = table.setdefault(item.site, {})
            before = row.get(item.exchange, report_model.Traffic(sent=0, received=0))
            row[item.exchange] = report_model.Traffic(
                sent=before.sent + item.from_site_bytes, received=before.received + item.to_site_bytes
            )
    return table


def _protection(run: Run) -> report_model.Protection:
    plan = run.federation.plan
    return report_model.Protection(
        ring_bits=plan.aggregation.ring_bits,
        cohort=len(plan.sites),
        threshold=threshold(len(plan.sites)),
        max_colluders=run.federation.policy.max_colluders,
    )


def _seconds(run: Run) -> dict[str, float]:
    """Wall time by stage, the federation's by exchange; training happens within START."""
    seconds = {}
    for stage, taken in run.seconds.items():
        if stage != "federation":
            seconds[stage] = taken
            continue
        for record in run.outcome.records:
            for exchange, part in record.seconds.items():
                name = "start (with training)" if exchange == "start" else exchange
                seconds[name] = seconds.get(name, 0.0) + part
    return seconds


def _data(data: SiteData, plan: StudyPlan) -> report_model.SiteData:
    catalogue = data.catalogue
    rejects: dict[str, int] = {}
    for reject in data.rejects:
        rejects[reject.code] = rejects.get(reject.code, 0) + 1
    views = {side: catalogue.of_side(side) for side in SIDES}
    return report_model.SiteData(
        patients={side: len(view.patient_keys) for side, view in views.items()},
        images=len(catalogue.label_N),
        positives={side: len(np.unique(view.patient_N[view.label_N == 1])) for side, view in views.items()},
        rejects=rejects,
    )


def _warnings(run: Run) -> tuple[str, ...]:
    warnings = []
    if run.outcome.paused:
        warnings.append(f"The study was paused after two void rounds in a row ({run.outcome.paused}).")
    if run.outcome.counts is None:
        warnings.append("No evaluation was released: the EVALUATE round is void or was not reached.")
    return tuple(warnings)


def contact_sheet(catalogue: Catalogue) -> bytes:
    """Some training images as PNG: a row per class, evenly picked over the catalogue."""
    view = catalogue.of_side("train")
    rows = []
    for label in sorted(set(view.label_N.tolist())):
        of_class = np.flatnonzero(view.label_N == label)
        picked = of_class[np.linspace(0, len(of_class) - 1, CONTACT_COLUMNS).astype(int)]
        tiles = (view.images_NCHW[picked, 0] * 255).astype(np.uint8)
        rows.append(np.hstack([np.pad(tile, CONTACT_GAP_PX, constant_values=255) for tile in tiles]))
    sheet = Image.fromarray(np.vstack(rows))
    data = io.BytesIO()
    sheet.resize((2 * sheet.width, 2 * sheet.height), Image.Resampling.BICUBIC).save(data, format="PNG")
    return data.getvalue()
