"""How the compared models look and what they are called: one shape, fill and hue for each.

Shape says where a model was trained (circle together, square alone, diamond all scans in one place), fill
says whether it is private (filled) or not (hollow), so that colour is never needed to tell them apart.
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


STYLES = {
    "federated": ModelStyle("Together, private", "circle", "m fed full", "l fed"),
    "federated_released": ModelStyle("Together, private, as released", "circle", "m rel full", "l rel dot"),
    "federated_without_privacy": ModelStyle(
        "Together, without privacy", "circle", "m fed open", "l fed dash"
    ),
    "pooled": ModelStyle("All scans in one place", "diamond", "m pool open", "l pool dash"),
    "local_private": ModelStyle("Alone, private", "square", "m own full", "l own thin"),
    "local": ModelStyle("Alone, without privacy", "square", "m own open", "l own thin dash"),
}
"""By the name that the model has in ``report.json``, in the order in which they are shown."""


def swatch(name: str, *, line: bool = False) -> Markup:
    """The model's symbol, small, for legends and tables."""
    style, canvas = STYLES[name], Canvas(width=26, height=14)
    if line:
        canvas.line(1, 7, 25, 7, kind=style.line)
    if not line or name == "federated_released":
        canvas.marker(13, 7, style.shape, kind=style.kind, radius=4)
    return canvas.render(style.label)
