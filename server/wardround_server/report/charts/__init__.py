"""Pictures of a report as inline SVG, made by hand: small, the same every time, legible on any page.

Not here: pictures that one task alone needs (``tasks.<name>``).
"""

from wardround_server.report.charts.bars import gauge, spent, stages, traffic
from wardround_server.report.charts.cohorts import cohorts, drawn_rounds, state
from wardround_server.report.charts.forest import Axis, Group, Row, forest
from wardround_server.report.charts.lines import burn_down, learning
from wardround_server.report.charts.styles import ModelStyle, swatch
from wardround_server.report.charts.svg import Chart

__all__ = [
    "Axis",
    "Chart",
    "Group",
    "ModelStyle",
    "Row",
    "burn_down",
    "cohorts",
    "drawn_rounds",
    "forest",
    "gauge",
    "learning",
    "spent",
    "stages",
    "state",
    "swatch",
    "traffic",
]
