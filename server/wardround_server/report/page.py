"""The page: picks what a report holds, draws it, and fills the template.

A section whose data are absent is left out; the contents list follows. The page holds everything it
needs (style, pictures), runs no script and names no address, so that it can be mailed, archived and opened
on a machine without a network.

Privacy: writes what the report holds. All text goes through Jinja's or the SVG writer's escaping.
"""

from __future__ import annotations

import base64
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from wardround_common.plan import StudyPlan
from wardround_server.report import charts, formats, words
from wardround_server.report.model import ContactSheet, Evaluation, LearningCurve, ModelResult, Report

Context = dict[str, Any]


def render(report: Report) -> str:
    """The page as HTML; the same bytes for the same report."""
    template = environment().get_template("report.html.j2")
    return template.render(report=report, plan=report.plan, **_context(report))


@cache
def environment() -> Environment:
    """Jinja with escaping, strict about names, and with the report's number formats as filters."""
    made = Environment(
        loader=PackageLoader("wardround_server.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    names = (
        "rate",
        "interval",
        "signed",
        "epsilon",
        "delta",
        "times",
        "count",
        "percent",
        "size",
        "duration",
    )
    made.filters |= {name: getattr(formats, name) for name in names}
    made.filters |= {"listed": formats.listed, "things": formats.things}
    return made


def _context(report: Report) -> Context:
    comparison = _comparison(report.evaluation, report.plan)
    context: Context = {
        "style": Markup(_source("style.css")),
        "words": words,
        "gauge": charts.gauge,
        "spent_bar": charts.spent,
        "swatch": charts.swatch,
        "styles": charts.STYLES,
        "dearest": max(report.privacy.sites.values(), key=lambda s: s.epsilon_spent, default=None),
        "comparison": comparison,
        "external": report.external and _comparison(report.external, report.plan),
        "learning": _learning(report.learning),
        "histogram": _histogram(report.evaluation, report.plan.labels),
        "released_points": _released_points(report.evaluation),
        "cohorts": charts.cohorts(report.rounds, report.sites),
        "drawn_rounds": charts.drawn_rounds(report.rounds, report.sites),
        "unusual": [
            entry for entry in report.rounds if _unusual(entry.survivors, report.sites) or entry.void
        ],
        "burn_down": charts.burn_down(report.privacy),
        "exchanges": (exchanges := _exchanges(report)),
        "traffic": charts.traffic(report.traffic, exchanges) if report.traffic else None,
        "stages": charts.stages(report.stage_seconds) if report.stage_seconds else None,
        "sheets": _sheets(report.contact_sheets),
        "plan_parts": _paragraphs(report.plan_text),
    }
    return context | {"contents": _contents(report, context)}


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
    return {
        "evaluation": evaluation,
        "rows": rows,
        "forest": charts.forest(evaluation, plan.sites) if len(rows) > 1 else None,
        "roc": charts.roc(evaluation),
        "roc_names": [name for name in charts.STYLES if name in {n for n, _ in charts.curves(evaluation)}],
        "sentences": [(site, sentence) for site, sentence in sentences if sentence],
        "own_patients": [(site, evaluation.by_site[site]) for site in sites if site in evaluation.by_site],
    }


def _learning(curves: tuple[LearningCurve, ...]) -> list[tuple[str, charts.Chart, list[LearningCurve]]]:
    by_metric: dict[str, list[LearningCurve]] = {}
    for curve in curves:
        if curve.rounds and len(curve.rounds) == len(curve.values):
            by_metric.setdefault(curve.metric, []).append(curve)
    labels = [curve.series for curve in curves]
    return [
        (metric, charts.learning(metric, found, labels=labels), found) for metric, found in by_metric.items()
    ]


def _histogram(evaluation: Evaluation, labels: tuple[str, ...]) -> charts.Chart | None:
    if evaluation.released_counts is None:
        return None
    released = evaluation.federated_released
    point = released.operating_point if released else None
    return charts.histogram(
        evaluation.released_counts, labels=labels, threshold=point.threshold if point else None
    )


def _released_points(evaluation: Evaluation) -> list[tuple[float, float, float]]:
    """Threshold, sensitivity and false alarms of each inner point of the released curve."""
    curve = evaluation.federated_released and evaluation.federated_released.roc
    if not (curve and evaluation.released_counts):
        return []
    inner = (curve.true_positive_rate[-2:0:-1], curve.false_positive_rate[-2:0:-1])
    return list(zip(evaluation.released_counts.edges, *inner, strict=True))


def _exchanges(report: Report) -> tuple[str, ...]:
    """The exchanges in the order in which the sites name them."""
    return tuple(dict.fromkeys(name for entries in report.traffic.values() for name in entries))


def _unusual(survivors: tuple[str, ...], sites: tuple[str, ...]) -> bool:
    return not set(survivors) >= set(sites)


def _sheets(sheets: tuple[ContactSheet, ...]) -> list[tuple[ContactSheet, str]]:
    """The sheets that fit into the page, as data addresses."""
    kept, total = [], 0
    for sheet in sheets:
        total += len(sheet.png)
        if total <= words.MOST_SHEETS_BYTES:
            kept.append((sheet, "data:image/png;base64," + base64.b64encode(sheet.png).decode()))
    return kept


def _paragraphs(text: str) -> list[tuple[str, str]]:
    """Paragraphs of the plan's text; what stands before a colon in the first words becomes a heading."""
    found = []
    for paragraph in filter(None, (part.strip() for part in text.split("\n\n"))):
        head, colon, rest = paragraph.partition(": ")
        short = colon and len(head) <= 40 and "\n" not in head
        found.append((head, rest) if short else ("", paragraph))
    return found


def _contents(report: Report, context: Context) -> list[tuple[str, str]]:
    """Sections that the page will have: (id, title)."""
    present = [
        ("summary", "Summary", True),
        ("joining", "Did joining help?", context["comparison"]["forest"]),
        ("roc", "ROC curves", context["comparison"]["roc"]),
        ("learning", "Learning curves", context["learning"]),
        ("released", "The released evaluation", context["histogram"]),
        ("external", "A further test set", report.external),
        ("budget", "Privacy budget", report.privacy.sites),
        ("protection", "How it was protected", True),
        ("bytes", "Bytes", context["traffic"]),
        ("rounds", "Rounds", context["cohorts"]),
        ("time", "Time", context["stages"]),
        ("images", "What the model saw", report.data or context["sheets"]),
        ("plan", "The plan", report.plan_text),
        ("reproduce", "Reproduce", True),
    ]
    return [(key, title) for key, title, shown in present if shown]


def _source(name: str) -> str:
    loader = environment().loader
    assert loader is not None
    return loader.get_source(environment(), name)[0]
