"""From the outcome of a study to its report, as far as a coordinator knows it.

A simulation adds to this what only it knows (``wardround_simulations.results``). A deployment has no exact
figures: its results come from the released counts, and its privacy costs from the plan.

Not here: the page (``report``).

Rules:

* A site's ledger stays at the site. What is reported as spent is what the rounds that were begun cost by the
  plan, which no ledger exceeds.

Privacy: sums, names of sites, sizes, times, codes.
"""

from __future__ import annotations

import datetime
import platform
from collections.abc import Sequence
from importlib.metadata import version

from wardround_common import __version__
from wardround_common.accounting import epsilon, evaluate_event, training_epsilon
from wardround_common.models import layout_of
from wardround_common.plan import StudyPlan
from wardround_common.plan_text import explain
from wardround_common.secagg.thresholds import threshold
from wardround_common.trust import plan_digest
from wardround_server.control import PAUSED, STOPPED
from wardround_server.observer import RoundRecord
from wardround_server.outcome import StudyOutcome
from wardround_server.report import model as report_model
from wardround_server.report.tasks.classification.released import released_results
from wardround_server.study import FORK

PACKAGES = ("flwr", "cryptography", "numpy")


def deployment_report(plan: StudyPlan, outcome: StudyOutcome, *, command: str) -> report_model.Report:
    """The report of a deployed study.

    Args:
        plan: Its plan.
        outcome: How it ended.
        command: The command line.
    """
    return report_model.Report(
        setting="deployment",
        created=datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds"),
        plan=plan,
        plan_digest=plan_digest(plan).hex(),
        plan_text=explain(plan),
        parameters=layout_of(plan).size,
        results=released_results(plan, outcome.counts, sites=len(outcome.counted_sites)),
        privacy=report_model.Privacy(sites={site.name: _by_plan(plan, outcome) for site in plan.sites}),
        rounds=rounds_of(outcome.records),
        traffic=traffic_of(outcome.records),
        seconds=seconds_of(outcome.records),
        protection=protection_of(plan, max_colluders=1),
        warnings=warnings_of(plan, outcome),
        reproducibility=report_model.Reproducibility(
            randomness="operating_system",
            versions={"wardround": __version__} | {name: version(name) for name in PACKAGES},
            command=command,
            machine=f"{platform.machine()}, Python {platform.python_version()}",
        ),
    )


def _by_plan(plan: StudyPlan, outcome: StudyOutcome) -> report_model.SitePrivacy:
    after = tuple(
        report_model.RoundEpsilon(round=record.number, epsilon=epsilon_after(plan, record))
        for record in outcome.records
    )
    return report_model.SitePrivacy(
        epsilon_spent=max((one.epsilon for one in after), default=0.0),
        delta=plan.privacy.target_delta,
        budget=budget_of(plan),
        after_round=after,
    )


def budget_of(plan: StudyPlan) -> float:
    """Epsilon that the plan promises not to exceed."""
    return max(plan.privacy.target_epsilon, plan.evaluation.epsilon if plan.evaluation else 0.0)


def epsilon_after(plan: StudyPlan, record: RoundRecord) -> float:
    """The largest epsilon of any side after a round in which the site spent, void or not."""
    spent = training_epsilon(plan, min(record.number, plan.rounds))
    counted = evaluate_event(plan)
    if record.kind == "train" or counted is None:
        return spent
    return max(spent, epsilon([counted], delta=plan.privacy.target_delta))


def rounds_of(records: Sequence[RoundRecord]) -> tuple[report_model.RoundReport, ...]:
    """The rounds as the report shows them."""
    return tuple(_round(record) for record in records)


def _round(record: RoundRecord) -> report_model.RoundReport:
    refusals = ", ".join(f"{site}: {code} ({exchange})" for exchange, site, code in record.refusals)
    blamed = ", ".join(f"{site} broke the protocol: {code}" for site, code in sorted(record.blamed.items()))
    return report_model.RoundReport(
        number=record.number,
        kind=record.kind,
        cohort=record.cohort,
        survivors=record.survivors,
        void=bool(record.void),
        reason="; ".join(part for part in (record.void, blamed, refusals) if part),
        attempts=record.attempts,
        seconds=record.seconds,
    )


def traffic_of(records: Sequence[RoundRecord]) -> dict[str, dict[str, report_model.Traffic]]:
    """Bytes by site and exchange."""
    table: dict[str, dict[str, report_model.Traffic]] = {}
    for record in records:
        for item in record.traffic:
            row = table.setdefault(item.site, {})
            before = row.get(item.exchange, report_model.Traffic(sent=0, received=0))
            row[item.exchange] = report_model.Traffic(
                sent=before.sent + item.from_site_bytes, received=before.received + item.to_site_bytes
            )
    return table


def seconds_of(records: Sequence[RoundRecord]) -> dict[str, float]:
    """Wall time by exchange; training happens within START."""
    seconds: dict[str, float] = {}
    for record in records:
        for exchange, part in record.seconds.items():
            name = "start (with training)" if exchange == "start" else exchange
            seconds[name] = seconds.get(name, 0.0) + part
    return seconds


def protection_of(plan: StudyPlan, *, max_colluders: int) -> report_model.Protection:
    """Facts of the secure aggregation."""
    return report_model.Protection(
        ring_bits=plan.aggregation.ring_bits,
        cohort=len(plan.sites),
        threshold=threshold(len(plan.sites)),
        max_colluders=max_colluders,
    )


def warnings_of(plan: StudyPlan, outcome: StudyOutcome) -> tuple[str, ...]:
    """What a reader must know first."""
    warnings = []
    if outcome.paused == FORK:
        warnings.append(f"The study was paused: sites accepted different results ({FORK}).")
    elif outcome.paused == STOPPED:
        warnings.append(f"The study was stopped by people after {len(outcome.records)} rounds.")
    elif outcome.paused == PAUSED:
        warnings.append("The study was paused by people when this was written.")
    elif outcome.paused:
        warnings.append(f"The study was paused after two void rounds in a row ({outcome.paused}).")
    if not outcome.releasable:
        accepted = ", ".join(outcome.accepted_by) or "no site"
        warnings.append(f"No model is released: too few sites accepted it ({accepted}).")
    if outcome.counts is None and plan.evaluation is not None:
        warnings.append("No evaluation was released: the EVALUATE round is void or was not reached.")
    return tuple(warnings)
