"""The released counts: bars per class and score bin, with the noise as error bars."""

from __future__ import annotations

from wardround_common.evaluation.estimate import Z_95
from wardround_server.report.charts.svg import NARROW, Canvas, Chart, Scale, drawn, ticks
from wardround_server.report.formats import count
from wardround_server.report.tasks.classification.results import ReleasedCounts

LEFT, TOP, FOOT, GAP = 36.0, 30.0, 50.0, 44.0


def histogram(counts: ReleasedCounts, *, labels: tuple[str, ...], threshold: float | None) -> Chart:
    """Validation and test patients in two panels; a dashed line marks the threshold."""
    panels = [
        (_title("Validation", labels, counts.validation), counts.validation),
        (_title("Test", labels, counts.test), counts.test),
    ]
    description = (
        f"Noised counts of patients by score and class, 95 % of the noise within "
        f"{Z_95 * counts.noise_sd_cell:.1f} patients. {'; '.join(name for name, _ in panels)}."
    )
    reach = Z_95 * counts.noise_sd_cell
    cells = [value for _, rows in panels for row in rows for value in row]
    span = (min(0.0, *(value - reach for value in cells)), max(value + reach for value in cells))
    return drawn(description, lambda width: _draw(width, counts, panels, span=span, threshold=threshold))


def _title(side: str, labels: tuple[str, ...], rows: tuple[tuple[float, ...], ...]) -> str:
    sums = [f"{count(sum(row))} {label}" for label, row in zip(labels, rows, strict=True)]
    return f"{side}: about {', '.join(sums)}"


def _draw(
    width: float,
    counts: ReleasedCounts,
    panels: list[tuple[str, tuple[tuple[float, ...], ...]]],
    *,
    span: tuple[float, float],
    threshold: float | None,
) -> Canvas:
    narrow = width <= NARROW
    height = 240.0 if narrow else 290.0
    canvas = Canvas(width=width, height=2 * height if narrow else height)
    each = width if narrow else (width - GAP) / 2
    for i, (name, rows) in enumerate(panels):
        left, top = (0.0, i * height) if narrow else (i * (each + GAP), 0.0)
        x = Scale(0.0, len(rows[0]), left + LEFT, left + each - 6)
        y = Scale(*span, top + height - FOOT, top + TOP + 6)
        canvas.text(left, top + 14, name, kind="t strong", room=each)
        _axes(canvas, x, y, counts.edges)
        _bars(canvas, x, y, rows=rows, reach=Z_95 * counts.noise_sd_cell)
        if threshold in counts.edges:
            at = x(counts.edges.index(threshold) + 1)
            canvas.line(at, y.end, at, y.start, kind="l threshold")
    return canvas


def _axes(canvas: Canvas, x: Scale, y: Scale, edges: tuple[float, ...]) -> None:
    for value in ticks(y.low, y.high, about=5):
        canvas.line(x.start, y(value), x.end, y(value), kind="grid zero" if value == 0 else "grid")
        canvas.text(x.start - 6, y(value) + 4, count(value), kind="t tick", anchor="end")
    for i, edge in enumerate((0.0, *edges, 1.0)):
        canvas.text(x(i), y.start + 17, f"{edge:g}".replace("0.", "."), kind="t tick", anchor="middle")
    canvas.text((x.start + x.end) / 2, y.start + 37, "score of the model", kind="t axis", anchor="middle")


def _bars(canvas: Canvas, x: Scale, y: Scale, *, rows: tuple[tuple[float, ...], ...], reach: float) -> None:
    bar = 0.36 * (x(1) - x(0))
    for i in range(len(rows[0])):
        for k, row in enumerate(rows):
            middle, value = x(i + 0.5) + (k - 0.5) * (bar + 2), row[i]
            left, top, height = middle - bar / 2, y(max(value, 0.0)), abs(y(value) - y(0))
            tip = f"{value:.1f} patients, noise ±{reach:.1f}"
            canvas.rect(left, top, width=bar, height=height, kind=f"bar c{k}", tip=tip)
            canvas.line(middle, y(value - reach), middle, y(value + reach), kind="error")
            for end in (value - reach, value + reach):
                canvas.line(middle - 3, y(end), middle + 3, y(end), kind="error")
