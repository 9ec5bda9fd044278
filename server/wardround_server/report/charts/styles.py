"""How a compared model looks: one shape, fill and hue for each, so that colour is never needed alone.

Not here: which models a task compares (``tasks.<name>``).
"""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from wardround_server.report.charts.svg import Canvas, Marker


@dataclass(frozen=True, slots=True)
class ModelStyle:
    """Name and looks of one kind of model."""

    label: str
    shape: Marker
    kind: str
    """Class of the marker."""
    line: str
    """Class of a line."""
    dotted: bool = False
    """True where the line has a marker at each of its points."""

    @property
    def whisker(self) -> str:
        """Class of the line of an interval."""
        return self.line.replace(" thin", "").replace(" dash", "")


def swatch(style: ModelStyle, *, line: bool = False) -> Markup:
    """The model's symbol, small, for legends and tables."""
    canvas = Canvas(width=26, height=14)
    if line:
        canvas.line(1, 7, 25, 7, kind=style.line)
    if not line or style.dotted:
        canvas.marker(13, 7, style.shape, kind=style.kind, radius=4)
    return canvas.render(style.label)
