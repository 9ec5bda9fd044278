"""What the page and the model card need to know from a task.

The page and the card know rounds, budget, bytes and time; a `Section` gives them what only its task has.

Rules:

* A section reads the report and nothing else; the same report gives the same words.
* It works with whatever the report lacks: a failed study and a deployment have a page too.
* Templates are named by their path in the package ``wardround_server.report``.
* Everything exact carries ``exact=True`` or the pill of ``parts.html.j2``.

Privacy: repeats what the report holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from wardround_server.report.album import Album
from wardround_server.report.model import Report


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A section of the page.

    Attributes:
        id: Where the list of contents points to; unique on the page.
        title: Its heading.
        template: What stands below the heading.
        data: Names for the template, beside ``report``, ``plan`` and ``words``.
        exact: True where all of it is simulation only.
    """

    id: str
    title: str
    template: str
    data: Mapping[str, Any] = field(default_factory=dict)
    exact: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Fragment:
    """A piece of the page without a heading of its own: a template and names for it."""

    template: str
    data: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """A number that model hubs list: what was measured, on what, and in words."""

    metric: str
    value: str
    name: str
    dataset: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CardParts:
    """What a model card says about a model of this task; plain text, which the card escapes.

    Attributes:
        pipeline: The hub's name of the task, or nothing.
        tags: Further tags.
        metrics: The hub's names of the metrics.
        measures: What was measured, for the head of the card.
        notes: Paragraphs with what a reader must know first: bold words and the rest.
        uses: Bullets: intended use, input, output.
        columns: Heads of the table of results.
        rows: Its rows; none: not evaluated.
        privacy: Further sentences about what the guarantee covers.
        limits: Bullets.
    """

    pipeline: str = ""
    tags: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    measures: tuple[Measure, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    uses: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    privacy: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()


class Section(Protocol):
    """A task's part of the report."""

    def facts(self, report: Report) -> tuple[tuple[str, str], ...]:
        """Facts for the head of the page, each a name and a value: what the study looks for or draws."""
        ...

    def first_card(self, report: Report) -> Fragment | None:
        """The first card of the summary: how good the result is."""
        ...

    def trained(self, report: Report) -> str:
        """What was trained, on what, how often, in plain sentences."""
        ...

    def results(self, report: Report, album: Album) -> tuple[Part, ...]:
        """Sections that follow the summary."""
        ...

    def details(self, report: Report, album: Album) -> tuple[Part, ...]:
        """Sections that follow the learning curves."""
        ...

    def leaves(self, report: Report) -> tuple[str, ...]:
        """What left a site, a phrase each."""
        ...

    def stays(self, report: Report) -> tuple[str, ...]:
        """What never left a site, a phrase each."""
        ...

    def warnings(self, report: Report) -> tuple[str, ...]:
        """What a reader of the results must keep in mind, a sentence each."""
        ...

    def missing(self, report: Report) -> tuple[str, ...]:
        """What a deployment's report does not show, and why."""
        ...

    def card(self, report: Report) -> CardParts:
        """What the model card says about a model of this task."""
        ...
