"""Dots with intervals, one row per model: the picture that answers "did joining help this site?"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wardround_common.evaluation import Estimate
from wardround_common.plan import SitePlan
from wardround_server.report.charts.models import STYLES
from wardround_server.report.charts.svg import NARROW, Anchor, Canvas, Chart, Scale, drawn, ticks
from wardround_server.report.formats import interval, rate, things
from wardround_server.report.model import Evaluation, ModelResult

TOP, ROW, GROUP, FOOT = 6.0, 25.0, 30.0, 46.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One model on one line."""

    name: str
    estimate: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Rows under a heading."""

    heading: str
    rows: tuple[Row, ...]


def groups(evaluation: Evaluation, sites: tuple[SitePlan, ...]) -> tuple[Group, ...]:
    """The models that the evaluation holds: first those of all sites, then each site's own two."""
    together = ("federated", "federated_released", "federated_without_privacy", "pooled")
    shared = [(name, getattr(evaluation, name)) for name in together]
    found = [Group(heading="All sites together", rows=_rows(shared))]
    for site in sites:
        own = [(name, getattr(evaluation, name).get(site.name)) for name in ("local_private", "local")]
        heading = f"{site.name}, {things(site.patients, 'training patient')} (stated)"
        found.append(Group(heading=heading, rows=_rows(own)))
    return tuple(group for group in found if group.rows)


def forest(evaluation: Evaluation, sites: tuple[SitePlan, ...]) -> Chart | None:
    """AUROC of every model with its interval; the band is that of the federated private model."""
    found = groups(evaluation, sites)
    if not found:
        return None
    reference = evaluation.federated or evaluation.federated_released
    band = reference.auroc if reference and reference.auroc.known else None
    best = found[0].rows[0]
    description = (
        f"Dot plot of the AUROC of {sum(len(group.rows) for group in found)} models with 95 % intervals; "
        f"{STYLES[best.name].label} {rate(best.estimate.value)}. The table below holds the same numbers."
    )
    return drawn(description, lambda width: _draw(width, found, band))


def _rows(models: Sequence[tuple[str, ModelResult | None]]) -> tuple[Row, ...]:
    return tuple(Row(name=name, estimate=model.auroc) for name, model in models if model)


def _draw(width: float, found: tuple[Group, ...], band: Estimate | None) -> Canvas:
    narrow = width <= NARROW
    row = ROW + 14 if narrow else ROW
    height = TOP + sum(GROUP + row * len(group.rows) for group in found) + FOOT
    canvas = Canvas(width=width, height=height)
    known = [r.estimate.low for group in found for r in group.rows if r.estimate.known]
    low = min(known, default=0.5) // 0.05 * 0.05
    scale = Scale(low, 1.0, 8 if narrow else 236, width - (12 if narrow else 176))
    bottom = height - FOOT + 4
    _frame(canvas, scale, band, bottom)
    y = TOP
    for group in found:
        canvas.text(0, y + 19, group.heading, kind="t strong over", room=width)
        canvas.line(0, y + GROUP - 4, width, y + GROUP - 4, kind="rule")
        y += GROUP
        for entry in group.rows:
            _row(canvas, scale, entry, y=y, narrow=narrow)
            y += row
    return canvas


def _frame(canvas: Canvas, scale: Scale, band: Estimate | None, bottom: float) -> None:
    if band:
        left, right = scale(max(band.low, scale.low)), scale(band.high)
        canvas.rect(left, TOP + GROUP - 4, width=right - left, height=bottom - TOP - GROUP + 4, kind="band")
    for value in ticks(scale.low, scale.high, about=5):
        canvas.line(scale(value), TOP + GROUP - 4, scale(value), bottom, kind="grid")
        anchor: Anchor = "end" if value == 1.0 and canvas.width <= NARROW else "middle"
        canvas.text(scale(value), bottom + 16, f"{value:.2f}", kind="t tick", anchor=anchor)
    middle = (scale.start + scale.end) / 2
    canvas.text(middle, bottom + 34, "AUROC with 95 % interval", kind="t axis", anchor="middle")


def _row(canvas: Canvas, scale: Scale, entry: Row, *, y: float, narrow: bool) -> None:
    style, estimate = STYLES[entry.name], entry.estimate
    base, middle = (y + 13, y + 27) if narrow else (y + 16, y + 12)
    canvas.text(
        0 if narrow else 14, base, style.label, kind="t over", room=canvas.width - 146 if narrow else 220
    )
    canvas.text(canvas.width, base, interval(estimate), kind="t soft over", anchor="end")
    if estimate.known:
        canvas.text(canvas.width - 104, base, rate(estimate.value), kind="t over", anchor="end")
    whisker = style.line.replace(" thin", "").replace(" dash", "")
    left, right = scale(max(estimate.low, scale.low)), scale(estimate.high)
    canvas.line(left, middle, right, middle, kind=whisker if estimate.known else "l none dash")
    if estimate.known:
        canvas.marker(scale(estimate.value), middle, style.shape, kind=style.kind)
