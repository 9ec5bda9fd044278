"""The part of page and model card that only a classification has.

Privacy: writes what the report holds; exact figures are marked "simulation only, not private".
"""

from __future__ import annotations

from typing import Any, Final

from wardround_common.plan import StudyPlan
from wardround_server.report import charts
from wardround_server.report.album import Album
from wardround_server.report.model import Report
from wardround_server.report.tasks.classification import words
from wardround_server.report.tasks.classification.card import card_parts
from wardround_server.report.tasks.classification.forest import forest
from wardround_server.report.tasks.classification.histogram import histogram
from wardround_server.report.tasks.classification.results import Evaluation, ModelResult, results_of
from wardround_server.report.tasks.classification.roc import curves, roc
from wardround_server.report.tasks.classification.styles import STYLES
from wardround_server.report.tasks.generic import Generic
from wardround_server.report.tasks.interface import CardParts, Fragment, Part

_TEMPLATES: Final = "tasks/classification/templates/"
_DRAWING: Final = {"styles": STYLES, "swatch": charts.swatch, "said": words}

Context = dict[str, Any]


class Classification(Generic):
    """A `Section`: did joining help, ROC curves, the released evaluation, a further test set."""

    def facts(self, report: Report) -> tuple[tuple[str, str], ...]:
        """The positive class."""
        return (("finding", report.plan.labels[1]),)

    def first_card(self, report: Report) -> Fragment | None:
        """AUROC of the federated private model."""
        results = results_of(report)
        if results.headline is None:
            return None
        data = {"headline": results.headline, "evaluation": results.evaluation, "gauge": charts.gauge}
        return Fragment(template=_TEMPLATES + "first_card.html.j2", data=data | _DRAWING)

    def trained(self, report: Report) -> str:
        """One model that tells two classes apart."""
        return words.trained(report)

    def results(self, report: Report, album: Album) -> tuple[Part, ...]:
        """All models on the held-out patients: as dots, and as curves."""
        compared = _comparison(results_of(report).evaluation, report.plan)
        exact, found = report.simulated, []
        if compared["forest"]:
            found.append(_part("joining", "Did joining help?", compared, exact=exact))
        if compared["roc"]:
            points = _released_points(results_of(report).evaluation)
            found.append(_part("roc", "ROC curves", compared | {"released_points": points}, exact=exact))
        return tuple(found)

    def details(self, report: Report, album: Album) -> tuple[Part, ...]:
        """The released counts, and the models on a further test set."""
        results, found = results_of(report), []
        if drawn := _histogram(results.evaluation, report.plan.labels):
            evaluation = results.evaluation
            shown = {
                "evaluation": evaluation,
                "histogram": drawn,
                "counts": evaluation.released_counts,
                "released": evaluation.federated_released,
            }
            found.append(_part("released", "The released evaluation", shown))
        if results.external:
            compared = _comparison(results.external, report.plan)
            found.append(_part("external", "A further test set", compared, exact=True))
        return tuple(found)

    def leaves(self, report: Report) -> tuple[str, ...]:
        """Masked changes, messages, and the counts at the end."""
        return words.LEAVES

    def warnings(self, report: Report) -> tuple[str, ...]:
        """Small sites, counts that drown in noise."""
        return words.warnings(report)

    def missing(self, report: Report) -> tuple[str, ...]:
        """Exact figures, models of single sites, patients."""
        return words.MISSING

    def card(self, report: Report) -> CardParts:
        """A classifier of images."""
        return card_parts(report)


def _part(name: str, title: str, data: Context, *, exact: bool = False) -> Part:
    template = f"{_TEMPLATES}{name}.html.j2"
    return Part(id=name, title=title, template=template, data=data | _DRAWING, exact=exact)


def _comparison(evaluation: Evaluation, plan: StudyPlan) -> Context:
    """Everything about one test set: forest plot, ROC, and the rows of the table."""
    names = ("federated", "federated_released", "federated_without_privacy", "pooled")
    rows: list[tuple[str, str, ModelResult]] = [
        (name, "", model) for name in names if (model := getattr(evaluation, name))
    ]
    sites = [site.name for site in plan.sites]
    for site in sites:
        own = (("local_private", evaluation.local_private), ("local", evaluation.local))
        rows += [(name, site, models[site]) for name, models in own if site in models]
    sentences = [(site, words.joining(evaluation, site)) for site in sites]
    drawn = {name for name, _ in curves(evaluation)}
    return {
        "evaluation": evaluation,
        "rows": rows,
        "forest": forest(evaluation, plan.sites) if len(rows) > 1 else None,
        "roc": roc(evaluation),
        "roc_names": [name for name in STYLES if name in drawn],
        "sentences": [(site, sentence) for site, sentence in sentences if sentence],
        "by_site": [(site, evaluation.by_site[site]) for site in sites if site in evaluation.by_site],
    }


def _histogram(evaluation: Evaluation, labels: tuple[str, ...]) -> charts.Chart | None:
    if evaluation.released_counts is None:
        return None
    released = evaluation.federated_released
    point = released.operating_point if released else None
    return histogram(evaluation.released_counts, labels=labels, threshold=point.threshold if point else None)


def _released_points(evaluation: Evaluation) -> list[tuple[float, float, float]]:
    """Threshold, sensitivity and false alarms of each inner point of the released curve."""
    curve = evaluation.federated_released and evaluation.federated_released.roc
    if not (curve and evaluation.released_counts):
        return []
    inner = (curve.true_positive_rate[-2:0:-1], curve.false_positive_rate[-2:0:-1])
    return list(zip(evaluation.released_counts.edges, *inner, strict=True))
