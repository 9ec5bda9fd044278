"""From the outcome of a simulated study to its report.

Not here: the page (``wardround_server.report``), training of the models that are compared (``comparison``).

Privacy: everything exact in here is labelled "simulation only, not private" by the report.
"""

from __future__ import annotations

import datetime
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

from wardround_client.catalogue import SIDES, Catalogue
from wardround_common import __version__
from wardround_common.layout import Layout
from wardround_common.models import layout_of
from wardround_common.plan import StudyPlan
from wardround_common.plan_text import explain
from wardround_common.trust import plan_digest
from wardround_server.report import model as report_model
from wardround_server.reporting import (
    budget_of,
    epsilon_after,
    protection_of,
    rounds_of,
    seconds_of,
    traffic_of,
    warnings_of,
)
from wardround_server.study import StudyOutcome
from wardround_simulations.federation import Federation, SiteCost, SiteData
from wardround_simulations.pictures import tiles

CONTACT_COLUMNS = 6
PACKAGES = ("flwr", "torch", "opacus", "pydicom", "cryptography", "pandas", "numpy")


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """Everything that a report is made of.

    Attributes:
        federation: The federation.
        outcome: How the study ended.
        data: What each site read.
        costs: What each site's ledger says.
        results: What the task's judge found.
        learning: What it measured after each round.
        seconds: Wall time by stage.
        command: The command line.
    """

    federation: Federation
    outcome: StudyOutcome
    data: Mapping[str, SiteData]
    costs: Mapping[str, SiteCost]
    results: report_model.Results | None
    learning: tuple[report_model.LearningCurve, ...]
    seconds: Mapping[str, float]
    command: str


def build_report(run: Run) -> report_model.Report:
    """The report of a run."""
    plan = run.federation.plan
    layout: Layout = layout_of(plan)
    catalogues = {site: data.catalogue for site, data in run.data.items()}
    return report_model.Report(
        setting="simulation",
        created=datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds"),
        plan=plan,
        plan_digest=plan_digest(plan).hex(),
        plan_text=explain(plan),
        parameters=layout.size,
        results=run.results,
        privacy=report_model.Privacy(sites={site: _privacy(run, site) for site in run.federation.names}),
        rounds=rounds_of(run.outcome.records),
        learning=run.learning,
        traffic=traffic_of(run.outcome.records),
        seconds=_seconds(run),
        protection=protection_of(plan, max_colluders=run.federation.policy.max_colluders),
        data={site: _data(data, plan) for site, data in run.data.items()},
        contact_sheets=tuple(
            report_model.ContactSheet(
                site=site, png=contact_sheet(catalogue), caption=f"rows: {', '.join(plan.labels)}"
            )
            for site, catalogue in catalogues.items()
            if len(catalogue.of_side("train").label_N)
        ),
        warnings=warnings_of(plan, run.outcome),
        reproducibility=report_model.Reproducibility(
            randomness="simulation_seed",
            seed=run.federation.scenario.simulation.seed,
            versions={"wardround": __version__} | {name: version(name) for name in PACKAGES},
            command=run.command,
            machine=f"{platform.machine()}, Python {platform.python_version()}",
        ),
    )


def _privacy(run: Run, site: str) -> report_model.SitePrivacy:
    plan, cost = run.federation.plan, run.costs[site]
    return report_model.SitePrivacy(
        epsilon_spent=cost.spent.largest,
        delta=plan.privacy.target_delta,
        budget=budget_of(plan),
        by_side={side: getattr(cost.spent, side) for side in SIDES},
        after_round=tuple(
            report_model.RoundEpsilon(round=record.number, epsilon=epsilon_after(plan, record))
            for record in run.outcome.records
        ),
        studies=tuple(
            report_model.StudySpend(study=one.study, task=one.task, epsilon=one.epsilon, delta=one.delta)
            for one in cost.studies
        ),
        lifetime=report_model.Lifetime(
            epsilon=cost.lifetime_epsilon,
            delta=cost.lifetime_delta,
            limit=run.federation.policy.lifetime_epsilon,
        ),
    )


def _seconds(run: Run) -> dict[str, float]:
    """Wall time by stage, the federation's by exchange; training happens within START."""
    seconds: dict[str, float] = {}
    for stage, taken in run.seconds.items():
        seconds |= seconds_of(run.outcome.records) if stage == "federation" else {stage: taken}
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


def contact_sheet(catalogue: Catalogue) -> bytes:
    """Some training images as PNG: a row per class, evenly picked over the catalogue."""
    view = catalogue.of_side("train")
    rows = []
    for label in sorted(set(view.label_N.tolist())):
        of_class = np.flatnonzero(view.label_N == label)
        picked = of_class[np.linspace(0, len(of_class) - 1, CONTACT_COLUMNS).astype(int)]
        rows.append(view.images_NCHW[picked])
    return tiles(rows)
