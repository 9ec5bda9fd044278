"""Horizontal bars: bytes by site and exchange, seconds by stage, and the small gauges of the cards."""

from __future__ import annotations

from markupsafe import Markup

from wardround_common.evaluation import Estimate
from wardround_server.report.charts.svg import NARROW, Canvas, Chart, Scale, drawn, room_for
from wardround_server.report.formats import duration, interval, listed, rate, size
from wardround_server.report.model import Traffic


def traffic(by_site: dict[str, dict[str, Traffic]], exchanges: tuple[str, ...]) -> Chart:
    """Bytes sent and received, two stacked bars per site, segments in the order of the exchanges."""
    sent = {site: sum(entry.sent for entry in entries.values()) for site, entries in by_site.items()}
    words = "; ".join(f"{site} sent {size(total)}" for site, total in sent.items())
    return drawn(f"Bytes by site and exchange. {words}.", lambda width: _traffic(width, by_site, exchanges))


def stages(seconds: dict[str, float]) -> Chart:
    """One bar per stage."""
    words = listed([f"{stage} {duration(value)}" for stage, value in seconds.items()])
    return drawn(f"Time by stage: {words}.", lambda width: _stages(width, seconds))


def gauge(estimate: Estimate) -> Markup:
    """A small bar from 0.5 to 1 with the interval and the value."""
    canvas = Canvas(width=200, height=30)
    low = 0.5 if estimate.low >= 0.5 else 0.0
    x = Scale(low, 1.0, 2, 198)
    canvas.rect(2, 6, width=196, height=6, kind="track")
    left = x(max(estimate.low, low))
    canvas.rect(left, 6, width=x(estimate.high) - left, height=6, kind="range")
    canvas.marker(x(estimate.value), 9, "circle", kind="m fed full")
    canvas.text(2, 25, f"{low:g}", kind="t small")
    canvas.text(198, 25, "1", kind="t small", anchor="end")
    return canvas.render(f"{rate(estimate.value)}, interval {interval(estimate)}")


def spent(epsilon: float, budget: float) -> Markup:
    """A small bar: how much of the budget is spent."""
    canvas = Canvas(width=200, height=30)
    share = min(epsilon / budget, 1.0) if budget > 0 else 1.0
    canvas.rect(2, 6, width=196, height=6, kind="track")
    canvas.rect(2, 6, width=196 * share, height=6, kind="filled")
    canvas.text(2, 25, "0", kind="t small")
    canvas.text(198, 25, f"budget {budget:g}", kind="t small", anchor="end")
    return canvas.render(f"{100 * share:.0f} % of the budget of {budget:g} is spent")


def _traffic(width: float, by_site: dict[str, dict[str, Traffic]], exchanges: tuple[str, ...]) -> Canvas:
    narrow = width <= NARROW
    bar, step = 14.0, 56.0 if not narrow else 74.0
    canvas = Canvas(width=width, height=step * len(by_site) + 2)
    totals = [
        sum(getattr(e, way) for e in s.values()) for s in by_site.values() for way in ("sent", "received")
    ]
    names = 0.0 if narrow else room_for(list(by_site), most=220)
    x = Scale(0.0, max(*totals, 1), names + 66, width - (72 if narrow else 86))
    for k, (site, entries) in enumerate(by_site.items()):
        top = k * step
        canvas.text(0, top + (12 if narrow else 24), site, kind="t strong", room=width if narrow else names)
        for j, way in enumerate(("sent", "received")):
            y = top + (20 if narrow else 4) + j * (bar + 7)
            canvas.text(x.start - 8, y + 11, way, kind="t", anchor="end")
            at = 0
            for i, exchange in enumerate(exchanges):
                amount = getattr(entries[exchange], way) if exchange in entries else 0
                tip = f"{site}, {exchange}, {way}: {size(amount)}"
                left, right = x(at), x(at + amount)
                canvas.rect(left, y, width=right - left, height=bar, kind=f"seg x{i % 6} {way}", tip=tip)
                at += amount
            canvas.text(x(at) + 7, y + 11, size(at), kind="t num")
    return canvas


def _stages(width: float, seconds: dict[str, float]) -> Canvas:
    narrow = width <= NARROW
    step = 40.0 if narrow else 28.0
    canvas = Canvas(width=width, height=step * len(seconds))
    names = 0.0 if narrow else room_for(list(seconds), most=236)
    x = Scale(0.0, max(*seconds.values(), 1e-9), names, width - 86)
    for k, (stage, value) in enumerate(seconds.items()):
        top = k * step
        canvas.text(0, top + (12 if narrow else 17), stage, room=width if narrow else names - 8)
        y = top + (18 if narrow else 6)
        canvas.rect(x.start, y, width=max(x(value) - x.start, 1), height=14, kind="seg x2")
        canvas.text(x(value) + 7, y + 11, duration(value), kind="t num")
    return canvas
