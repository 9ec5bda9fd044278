"""Lines over the rounds with their names at the end: learning curves, and what is left of the budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wardround_server.report.charts.svg import NARROW, Canvas, Chart, Scale, drawn, room_for, spread, ticks
from wardround_server.report.formats import epsilon, listed, rate
from wardround_server.report.model import LearningCurve, Privacy

TOP, FOOT, LEFT = 12.0, 46.0, 46.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One line."""

    label: str
    rounds: tuple[int, ...]
    values: tuple[float, ...]


def learning(metric: str, curves: list[LearningCurve], *, labels: Sequence[str]) -> Chart:
    """The curves of one metric in one panel; ``labels`` of all panels, so that they get one width."""
    lines = [Series(label=c.series, rounds=c.rounds, values=c.values) for c in curves if c.rounds]
    ends = "; ".join(f"{line.label} {line.values[-1]:.3f}" for line in lines)
    description = f"{metric} over the rounds. At the end: {ends}."
    low = min((value for line in lines for value in line.values), default=0.0)
    high = max((value for line in lines for value in line.values), default=1.0)
    pad = 0.06 * ((high - low) or 1.0)
    return drawn(
        description, lambda w: _draw(w, lines, labels=labels, span=(low - pad, high + pad), number=rate)
    )


def burn_down(privacy: Privacy) -> Chart | None:
    """Epsilon that is left of each site's budget; sites that spend alike share a line."""
    alike: dict[tuple[tuple[int, ...], tuple[float, ...]], list[str]] = {}
    for name, site in privacy.sites.items():
        if site.after_round:
            rounds = (0, *(entry.round for entry in site.after_round))
            left = (site.budget, *(max(site.budget - entry.epsilon, 0.0) for entry in site.after_round))
            alike.setdefault((rounds, left), []).append(name)
    lines = [
        Series(label=_together(names), rounds=rounds, values=left) for (rounds, left), names in alike.items()
    ]
    if not lines:
        return None
    left_over = "; ".join(f"{line.label} {line.values[-1]:.2f}" for line in lines)
    high, labels = max(max(line.values) for line in lines), [line.label for line in lines]
    description = f"Epsilon left of the budget after each round. At the end: {left_over}."
    return drawn(
        description, lambda w: _draw(w, lines, labels=labels, span=(0.0, high * 1.05), number=epsilon)
    )


def _together(names: list[str]) -> str:
    return listed(names) if len(names) <= 3 else f"{names[0]} and {len(names) - 1} others"


def _draw(
    width: float,
    lines: list[Series],
    *,
    labels: Sequence[str],
    span: tuple[float, float],
    number: Callable[[float], str],
) -> Canvas:
    narrow = width <= NARROW
    height = 220.0 if narrow else 270.0
    canvas = Canvas(width=width, height=height + (18 * len(lines) if narrow else 0))
    names = 14.0 if narrow else room_for(labels, most=300) + 62
    x = Scale(*_first_and_last(lines), LEFT, width - names)
    y = Scale(*span, height - FOOT, TOP)
    for value in ticks(*span, about=4):
        canvas.line(x.start, y(value), x.end, y(value), kind="grid")
        canvas.text(LEFT - 8, y(value) + 4, f"{value:g}", kind="t tick", anchor="end")
    for value in ticks(x.low, x.high, about=4 if narrow else 10):
        if value == int(value):
            canvas.text(x(value), height - FOOT + 18, f"{value:.0f}", kind="t tick", anchor="middle")
    canvas.line(x.start, y.start, x.end, y.start, kind="zero")
    canvas.text((x.start + x.end) / 2, height - 8, "round", kind="t axis", anchor="middle")
    for i, line in enumerate(lines):
        points = [(x(r), y(v)) for r, v in zip(line.rounds, line.values, strict=True)]
        canvas.polyline(points, kind=f"l s{i % 8}")
        canvas.marker(*points[-1], "circle", kind=f"m s{i % 8} full", radius=3.5)
    _names(canvas, lines, y=y, right=x.end, foot=height, number=number)
    return canvas


def _first_and_last(lines: list[Series]) -> tuple[float, float]:
    rounds = [number for line in lines for number in line.rounds]
    return float(min(rounds)), float(max(rounds))


def _names(
    canvas: Canvas,
    lines: list[Series],
    *,
    y: Scale,
    right: float,
    foot: float,
    number: Callable[[float], str],
) -> None:
    """Names at the ends of the lines, moved apart; on a narrow page below the picture."""
    if canvas.width <= NARROW:
        for i, line in enumerate(lines):
            base = foot + 18 * i + 10
            canvas.line(0, base - 4, 22, base - 4, kind=f"l s{i % 8}")
            canvas.text(30, base, line.label, room=canvas.width - 80)
            canvas.text(canvas.width, base, number(line.values[-1]), kind="t num", anchor="end")
        return
    heights = spread([y(line.values[-1]) for line in lines], gap=17, low=TOP + 4, high=y.start)
    for i, (line, height) in enumerate(zip(lines, heights, strict=True)):
        canvas.polyline([(right + 5, y(line.values[-1])), (right + 14, height)], kind=f"l s{i % 8} thin")
        words = f"{number(line.values[-1])}  {line.label}"
        canvas.text(right + 19, height + 4, words, kind="t num", room=canvas.width - right - 20)
