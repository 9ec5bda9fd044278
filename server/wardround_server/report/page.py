"""The page: picks what a report holds, draws it, and fills the templates.

The page is a list of sections; a task adds its own (``tasks``). A section whose data are absent is left out
and the contents list follows. The page holds everything it needs (style, pictures), runs no script and names
no address, so that it can be mailed, archived and opened on a machine without a network.

Privacy: writes what the report holds. All text goes through Jinja's or the SVG writer's escaping.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from wardround_server.report import charts, formats, words
from wardround_server.report.album import Album
from wardround_server.report.model import LearningCurve, Report, RoundReport
from wardround_server.report.tasks import load_section
from wardround_server.report.tasks.interface import Fragment, Part, Section

Context = dict[str, Any]

_FORMATS: Final = (
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
    "listed",
    "things",
)

_SIDES: Final = {
    "train": "Training patients",
    "validation": "Validation patients",
    "test": "Test patients",
}


def render(report: Report) -> str:
    """The page as HTML; the same bytes for the same report."""
    section, album = load_section(report.plan.task.name), Album()
    parts = list(_parts(report, section, album))
    bodies = [(part, _filled(report, part.template, part.data)) for part in parts]
    data = {"style": Markup(_source("templates/style.css")), "bodies": bodies, "facts": section.facts(report)}
    return str(_filled(report, "templates/report.html.j2", data))


@cache
def environment() -> Environment:
    """Jinja with escaping, strict about names, and with the report's number formats as filters."""
    made = Environment(
        loader=PackageLoader("wardround_server.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {name: getattr(formats, name) for name in _FORMATS}
    return made


def _parts(report: Report, section: Section, album: Album) -> Iterator[Part]:
    """The sections that this report fills, in the order of the page."""
    yield _part("summary", "Summary", _summary(report, section))
    yield from section.results(report, album)
    if learning := _learning(report.learning):
        yield _part("learning", "Learning curves", {"learning": learning}, exact=True)
    yield from section.details(report, album)
    if report.privacy.sites:
        yield _part("budget", "Privacy budget", _budget(report))
    protected = {"leaves": section.leaves(report), "stays": section.stays(report)}
    yield _part("protection", "How it was protected", protected)
    if report.traffic:
        yield _part("bytes", "Bytes", _traffic(report))
    if drawn := charts.cohorts(report.rounds, report.sites):
        yield _part("rounds", "Rounds", _rounds(report) | {"cohorts": drawn})
    if report.stage_seconds:
        yield _part("time", "Time", {"stages": charts.stages(report.stage_seconds)})
    sheets = [(sheet, album.show(sheet.png)) for sheet in report.contact_sheets]
    if report.data or sheets:
        yield _part("images", "What the model saw", _images(report) | {"sheets": sheets}, exact=True)
    if report.plan_text:
        yield _part("plan", "The plan", {"plan_parts": _paragraphs(report.plan_text)})
    yield _part("reproduce", "Reproduce", {})


def _part(name: str, title: str, data: Context, *, exact: bool = False) -> Part:
    template = f"templates/sections/{name}.html.j2"
    return Part(id=name, title=title, template=template, data=data, exact=exact)


def _filled(report: Report, template: str, data: Mapping[str, Any]) -> Markup:
    names = {"report": report, "plan": report.plan, "words": words, **data}
    return Markup(environment().get_template(template).render(names))


def _summary(report: Report, section: Section) -> Context:
    first: Fragment | None = section.first_card(report)
    return {
        "first_card": first and _filled(report, first.template, first.data),
        "dearest": max(report.privacy.sites.values(), key=lambda s: s.epsilon_spent, default=None),
        "spent_bar": charts.spent,
        "unusual": _unusual(report),
        "trained": section.trained(report),
        "warnings": (*words.warnings(report), *section.warnings(report)),
        "missing": () if report.simulated else section.missing(report),
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


def _budget(report: Report) -> Context:
    used = {side for site in report.privacy.sites.values() for side in site.by_side} or set(_SIDES)
    return {
        "sides": [(side, title) for side, title in _SIDES.items() if side in used],
        "burn_down": charts.burn_down(report.privacy),
        "promises": report.plan.task.promises(report.plan),
        "by_study": words.by_study(report),
    }


def _traffic(report: Report) -> Context:
    """Bytes, by exchange in the order in which the sites name them."""
    exchanges = tuple(dict.fromkeys(name for entries in report.traffic.values() for name in entries))
    return {"exchanges": exchanges, "traffic": charts.traffic(report.traffic, exchanges)}


def _rounds(report: Report) -> Context:
    return {
        "drawn_rounds": charts.drawn_rounds(report.rounds, report.sites),
        "unusual": _unusual(report),
        "kinds": {entry.kind for entry in report.rounds},
    }


def _unusual(report: Report) -> list[RoundReport]:
    """Rounds that were void or missed a site."""
    everyone = set(report.sites)
    return [entry for entry in report.rounds if entry.void or not set(entry.survivors) >= everyone]


def _images(report: Report) -> Context:
    return {"counted": any(site.positives for site in report.data.values())}


def _paragraphs(text: str) -> list[tuple[str, str]]:
    """Paragraphs of the plan's text; what stands before a colon in the first words becomes a heading."""
    found = []
    for paragraph in filter(None, (part.strip() for part in text.split("\n\n"))):
        head, colon, rest = paragraph.partition(": ")
        short = colon and len(head) <= 40 and "\n" not in head
        found.append((head, rest) if short else ("", paragraph))
    return found


def _source(name: str) -> str:
    loader = environment().loader
    assert loader is not None
    return loader.get_source(environment(), name)[0]
