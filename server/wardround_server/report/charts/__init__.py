"""Pictures of a report as inline SVG, made by hand: small, the same every time, legible on any page."""

from wardround_server.report.charts.bars import gauge, spent, stages, traffic
from wardround_server.report.charts.cohorts import cohorts, drawn_rounds, state
from wardround_server.report.charts.forest import forest, groups
from wardround_server.report.charts.histogram import histogram
from wardround_server.report.charts.lines import burn_down, learning
from wardround_server.report.charts.models import STYLES, swatch
from wardround_server.report.charts.roc import curves, roc
from wardround_server.report.charts.svg import Chart

__all__ = [
    "STYLES",
    "Chart",
    "burn_down",
    "cohorts",
    "curves",
    "drawn_rounds",
    "forest",
    "gauge",
    "groups",
    "histogram",
    "learning",
    "roc",
    "spent",
    "stages",
    "state",
    "swatch",
    "traffic",
]
