"""Dots with intervals, one row each, under headings: how several models, or several sets, compare."""

from __future__ import annotations

from dataclasses import dataclass

from wardround_common.evaluation import Estimate
from wardround_server.report.charts.styles import ModelStyle
from wardround_server.report.charts.svg import NARROW, Anchor, Canvas, Chart, Scale, drawn, ticks
from wardround_server.report.formats import interval, rate

TOP, ROW, GROUP, FOOT = 6.0, 25.0, 30.0, 46.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One model on one line."""

    style: ModelStyle
    estimate: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Rows under a heading."""

    heading: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """What the rows measure, and how far the axis reaches to the right."""

    label: str = "AUROC with 95 % interval"
    high: float = 1.0
    step: float = 0.05
    """The axis begins at a multiple of this."""


def forest(
    groups: tuple[Group, ...], *, description: str, band: Estimate | None = None, axis: Axis | None = None
) -> Chart:
    """Every row's estimate with its interval; ``band`` is drawn behind all rows for comparison."""
    return drawn(description, lambda width: _draw(width, groups, band, axis or Axis()))


def _draw(width: float, groups: tuple[Group, ...], band: Estimate | None, axis: Axis) -> Canvas:
    narrow = width <= NARROW
    row = ROW + 14 if narrow else ROW
    height = TOP + sum(GROUP + row * len(group.rows) for group in groups) + FOOT
    canvas = Canvas(width=width, height=height)
    known = [r.estimate.low for group in groups for r in group.rows if r.estimate.known]
    low = min(known, default=0.5) // axis.step * axis.step
    scale = Scale(low, axis.high, 8 if narrow else 236, width - (12 if narrow else 176))
    bottom = height - FOOT + 4
    _frame(canvas, scale, band, bottom=bottom, label=axis.label)
    y = TOP
    for group in groups:
        canvas.text(0, y + 19, group.heading, kind="t strong over", room=width)
        canvas.line(0, y + GROUP - 4, width, y + GROUP - 4, kind="rule")
        y += GROUP
        for entry in group.rows:
            _row(canvas, scale, entry, y=y, narrow=narrow)
            y += row
    return canvas


def _frame(canvas: Canvas, scale: Scale, band: Estimate | None, *, bottom: float, label: str) -> None:
    if band:
        left, right = scale(max(band.low, scale.low)), scale(band.high)
        canvas.rect(left, TOP + GROUP - 4, width=right - left, height=bottom - TOP - GROUP + 4, kind="band")
    for value in ticks(scale.low, scale.high, about=5):
        canvas.line(scale(value), TOP + GROUP - 4, scale(value), bottom, kind="grid")
        anchor: Anchor = "end" if value == scale.high and canvas.width <= NARROW else "middle"
        canvas.text(scale(value), bottom + 16, f"{value:.2f}", kind="t tick", anchor=anchor)
    middle = (scale.start + scale.end) / 2
    canvas.text(middle, bottom + 34, label, kind="t axis", anchor="middle")


def _row(canvas: Canvas, scale: Scale, entry: Row, *, y: float, narrow: bool) -> None:
    style, estimate = entry.style, entry.estimate
    base, middle = (y + 13, y + 27) if narrow else (y + 16, y + 12)
    canvas.text(
        0 if narrow else 14, base, style.label, kind="t over", room=canvas.width - 146 if narrow else 220
    )
    canvas.text(canvas.width, base, interval(estimate), kind="t soft over", anchor="end")
    if estimate.known:
        canvas.text(canvas.width - 104, base, rate(estimate.value), kind="t over", anchor="end")
    left, right = scale(max(estimate.low, scale.low)), scale(min(estimate.high, scale.high))
    canvas.line(left, middle, right, middle, kind=style.whisker if estimate.known else "l none dash")
    if estimate.known:
        canvas.marker(scale(estimate.value), middle, style.shape, kind=style.kind)
