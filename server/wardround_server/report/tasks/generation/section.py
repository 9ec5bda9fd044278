"""The part of the page that only a generator has.

Privacy: synthetic images stand as they are; everything that compares them with patients' images is marked
"simulation only, not private".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from wardround_server.report.album import Album
from wardround_server.report.charts import gauge, swatch
from wardround_server.report.model import Report
from wardround_server.report.tasks.generation import charts, words
from wardround_server.report.tasks.generation.card import card_parts
from wardround_server.report.tasks.generation.results import Generation, Judged, Picture, results_of
from wardround_server.report.tasks.generation.styles import STYLES
from wardround_server.report.tasks.generic import Generic
from wardround_server.report.tasks.interface import CardParts, Fragment, Part
from wardround_server.report.words import some

_TEMPLATES: Final = "tasks/generation/templates/"

Context = dict[str, Any]


class Generating(Generic):
    """A `Section`: the synthetic images, what they are worth, whether they are copies."""

    def facts(self, report: Report) -> tuple[tuple[str, str], ...]:
        """The classes that it draws."""
        return (("draws", some(report.plan.labels)),)

    def first_card(self, report: Report) -> Fragment | None:
        """AUROC of a classifier trained on synthetic images, beside its two rivals; or what is drawn."""
        made = results_of(report)
        data = {"made": made, "judged": made.train_synthetic_test_real, "gauge": gauge, "said": words}
        return Fragment(template=_TEMPLATES + "first_card.html.j2", data=data)

    def results(self, report: Report, album: Album) -> tuple[Part, ...]:
        """What was trained, the images, and what they are worth."""
        made = results_of(report)
        found = [_part("trained", "What was trained")]
        if made.classes:
            found.append(_part("synthetic", "The synthetic images", _classes(made, album)))
        if made.over_rounds:
            shown = [(entry.round, entry.picture) for entry in made.over_rounds]
            found.append(_part("over-rounds", "Over the rounds", _pictures(shown, album)))
        if made.interpolation:
            shown_rows = [(entry.label, entry.samples) for entry in made.interpolation]
            found.append(_part("between", "Between two latents", _pictures(shown_rows, album)))
        if judged := _judged(made):
            data = _worth(made, judged)
            found.append(_part("worth", "What they are worth as training data", data, exact=True))
        if made.diversity or made.nearest:
            found.append(_part("copies", "Variety and copies", _copies(made), exact=True))
        return tuple(found)

    def warnings(self, report: Report) -> tuple[str, ...]:
        """Images that are worth nothing, carry wrong labels, are all alike or are copies."""
        return words.warnings(report)

    def missing(self, report: Report) -> tuple[str, ...]:
        """Comparisons with patients' images."""
        return words.MISSING

    def card(self, report: Report) -> CardParts:
        """A generator of synthetic images."""
        return card_parts(report)


def _part(name: str, title: str, data: Mapping[str, Any] | None = None, *, exact: bool = False) -> Part:
    template = f"{_TEMPLATES}{name}.html.j2"
    return Part(id=name, title=title, template=template, data=data or {}, exact=exact)


def _classes(made: Generation, album: Album) -> Context:
    """By class: synthetic images, and real ones beside them where there are any."""
    pairs = [
        (entry, album.show(entry.samples.png), album.show(entry.real.png) if entry.real else "")
        for entry in made.classes
    ]
    wanted = sum(2 if entry.real else 1 for entry in made.classes)
    shown = sum(bool(ours) + bool(real) for _, ours, real in pairs)
    return {"pairs": [pair for pair in pairs if pair[1] or pair[2]], "left_out": wanted - shown}


def _pictures(named: Iterable[tuple[object, Picture]], album: Album) -> Context:
    """Pictures with their names, as far as there is room."""
    shown = [(name, picture, album.show(picture.png)) for name, picture in named]
    kept = [entry for entry in shown if entry[2]]
    return {"pictures": kept, "left_out": len(shown) - len(kept)}


def _judged(made: Generation) -> dict[str, Judged]:
    """The training sets that were tried on the sites' test patients, in the order of the page."""
    return {name: judged for name in STYLES if (judged := getattr(made, name))}


def _worth(made: Generation, judged: dict[str, Judged]) -> Context:
    external = {name: made.external[name] for name in STYLES if name in made.external}
    return {
        "made": made,
        "judged": judged,
        "forest": charts.worth(judged),
        "external": external,
        "external_forest": charts.worth(external),
        "styles": STYLES,
        "swatch": swatch,
        "said": words,
    }


def _copies(made: Generation) -> Context:
    return {
        "diversity": made.diversity,
        "nearest": made.nearest,
        "chart": charts.nearest(made.nearest) if made.nearest else None,
        "said": words,
    }
