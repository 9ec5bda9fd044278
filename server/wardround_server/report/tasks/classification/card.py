"""What the model card of a classifier says.

Privacy: repeats numbers of the report; exact ones are named as such.
"""

from __future__ import annotations

from typing import Final

from wardround_server.report.formats import interval, rate
from wardround_server.report.model import Report
from wardround_server.report.tasks.classification.results import results_of
from wardround_server.report.tasks.classification.words import patients_of
from wardround_server.report.tasks.generic import size_in_words
from wardround_server.report.tasks.interface import CardParts, Measure

_ROWS: Final = {
    "federated": "together, private (exact; simulation only, not private)",
    "federated_released": "together, private (from released, noised counts)",
    "federated_without_privacy": "together, without privacy (simulation only)",
    "pooled": "all scans in one place (simulation only)",
}


def card_parts(report: Report) -> CardParts:
    """Task, results, intended use and limits."""
    external = results_of(report).external
    elsewhere = f" and on {external.tested_on or 'one further test set'}" if external else ""
    return CardParts(
        pipeline="image-classification",
        metrics=("roc_auc",),
        measures=_measures(report),
        uses=_uses(report),
        columns=("model", "AUROC (95 % interval)", "patients"),
        rows=_rows(report),
        privacy=report.plan.task.promises(report.plan),
        limits=(
            f"Tested on held-out patients of the same sites{elsewhere} only; other scanners, populations and "
            f"protocols may give other figures.",
        ),
    )


def _uses(report: Report) -> tuple[str, ...]:
    source, (other, positive) = report.plan.input, report.plan.labels
    window = "the window that each file states"
    if source.window == "fixed":
        window = f"window centre {source.window_center:g} and width {source.window_width:g}"
    return (
        f"Research on {source.modality} images like those of the sites, to tell '{positive}' from '{other}'.",
        f"Input: {size_in_words(report)}, {window}.",
        f"Output: a score from 0 to 1 for '{positive}'. It is not a calibrated probability.",
    )


def _measures(report: Report) -> tuple[Measure, ...]:
    results = results_of(report)
    if results.headline is None or not results.headline.auroc.known:
        return ()
    exact, counted = "AUROC (exact, simulation only, not private)", "AUROC (from released, noised counts)"
    return (
        Measure(
            metric="roc_auc",
            value=rate(results.headline.auroc.value),
            name=exact if results.evaluation.federated else counted,
            dataset=results.evaluation.tested_on or "held-out patients of all sites",
        ),
    )


def _rows(report: Report) -> tuple[tuple[str, ...], ...]:
    evaluation, found = results_of(report).evaluation, []
    for name, label in _ROWS.items():
        if model := getattr(evaluation, name):
            auroc = model.auroc
            value = f"{rate(auroc.value)} ({interval(auroc)})" if auroc.known else "not known"
            found.append((label, value, patients_of(model, noised=name == "federated_released")))
    return tuple(found) if results_of(report).headline else ()
