"""A very small SVG writer: shapes with classes, so that the page's style sheet colours them.

No colour is set here: light, dark and print differ in the style sheet only. Every chart is drawn twice, for
a wide and for a narrow page, instead of being scaled until its letters cannot be read.

Privacy: draws what it is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from markupsafe import Markup, escape

WIDE, NARROW = 844.0, 340.0
"""Widths in CSS pixels at which charts are drawn."""

LETTER = 6.4
"""Assumed mean width of a letter at 12.5 px, a little too wide for most fonts."""

Anchor = Literal["start", "middle", "end"]
Marker = Literal["circle", "square", "diamond", "cross"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """One picture for two widths, with the sentence that a screen reader says instead."""

    description: str
    wide: Markup
    narrow: Markup


def drawn(description: str, draw: Callable[[float], Canvas]) -> Chart:
    """Draw once wide and once narrow."""
    wide, narrow = (draw(width).render(description) for width in (WIDE, NARROW))
    return Chart(description=description, wide=wide, narrow=narrow)


@dataclass(kw_only=True, slots=True)
class Canvas:
    """Shapes in drawing order; coordinates in CSS pixels, y downwards."""

    width: float
    height: float
    parts: list[Markup] = field(default_factory=list)

    def line(self, x1: float, y1: float, x2: float, y2: float, *, kind: str) -> None:
        """A straight line of class ``kind``."""
        self._add('<path class="{}" d="M{} {}L{} {}"/>', kind, _n(x1), _n(y1), _n(x2), _n(y2))

    def polyline(self, points: Sequence[tuple[float, float]], *, kind: str) -> None:
        """An open line through points."""
        path = "L".join(f"{_n(x)} {_n(y)}" for x, y in points)
        self._add('<path class="{}" d="M{}"/>', kind, path)

    def rect(self, x: float, y: float, *, width: float, height: float, kind: str, tip: str = "") -> None:
        """A rectangle; ``tip`` shows when a pointer rests on it."""
        attributes = (_n(x), _n(y), _n(max(width, 0.0)), _n(max(height, 0.0)))
        shape = Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"').format(kind, *attributes)
        self.parts.append(shape + (Markup("><title>{}</title></rect>").format(tip) if tip else Markup("/>")))

    def text(
        self, x: float, y: float, words: str, *, kind: str = "t", anchor: Anchor = "start", room: float = 1e9
    ) -> None:
        """Words on the baseline ``y``; cut with an ellipsis where they exceed ``room`` pixels."""
        shown = clipped(words, room / (1.15 if "strong" in kind else 1.0))
        tip = Markup("<title>{}</title>").format(words) if shown != words else Markup("")
        where = "" if anchor == "start" else Markup(' text-anchor="{}"').format(anchor)
        self._add('<text class="{}" x="{}" y="{}"{}>{}{}</text>', kind, _n(x), _n(y), where, shown, tip)

    def marker(self, x: float, y: float, shape: Marker, *, kind: str, radius: float = 5.0) -> None:
        """A point symbol."""
        r = radius
        if shape == "circle":
            self._add('<circle class="{}" cx="{}" cy="{}" r="{}"/>', kind, _n(x), _n(y), _n(r))
        elif shape == "square":
            self.rect(x - 0.9 * r, y - 0.9 * r, width=1.8 * r, height=1.8 * r, kind=kind)
        elif shape == "diamond":
            corners = ((x, y - 1.25 * r), (x + 1.25 * r, y), (x, y + 1.25 * r), (x - 1.25 * r, y))
            path = "L".join(f"{_n(a)} {_n(b)}" for a, b in corners)
            self._add('<path class="{}" d="M{}Z"/>', kind, path)
        else:
            self.line(x - r, y - r, x + r, y + r, kind=kind)
            self.line(x - r, y + r, x + r, y - r, kind=kind)

    def render(self, description: str) -> Markup:
        """The ``<svg>`` element."""
        head = Markup('<svg viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img" aria-label="{2}">')
        return (
            head.format(_n(self.width), _n(self.height), description)
            + Markup("").join(self.parts)
            + Markup("</svg>")
        )

    def _add(self, template: str, *values: object) -> None:
        self.parts.append(Markup(template).format(*(escape(value) for value in values)))


@dataclass(frozen=True, slots=True)
class Scale:
    """A straight map from data to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Pixels of a value."""
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.start + share * (self.end - self.start)


def ticks(low: float, high: float, *, about: int) -> list[float]:
    """Round numbers from ``low`` to ``high``, about as many as wished."""
    if high <= low:
        return [low]
    raw = (high - low) / max(about, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def spread(wanted: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """Positions near the wanted ones that keep ``gap`` between neighbours and stay inside."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = [0.0] * len(wanted)
    floor = low
    for i in order:
        placed[i] = max(wanted[i], floor)
        floor = placed[i] + gap
    ceiling = high
    for i in reversed(order):
        placed[i] = min(placed[i], ceiling)
        ceiling = placed[i] - gap
    return placed


def room_for(names: Sequence[str], *, most: float) -> float:
    """Width of a column of labels, its gap included."""
    return min(max((len(name) for name in names), default=0) * LETTER + 16, most)


def clipped(words: str, room: float) -> str:
    """The words, or their beginning and an ellipsis where they need more than ``room`` pixels."""
    letters = max(int(room / LETTER), 2)
    return words if len(words) <= letters else words[: letters - 1].rstrip() + "…"


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
