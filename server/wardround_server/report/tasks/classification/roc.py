"""ROC curves: exact ones as lines, the released one as points at the bin edges."""

from __future__ import annotations

from wardround_common.evaluation import RocCurve
from wardround_server.report.charts.svg import NARROW, Canvas, Chart, Scale, drawn
from wardround_server.report.tasks.classification.results import Evaluation, ModelResult
from wardround_server.report.tasks.classification.styles import STYLES

LEFT, TOP, FOOT, WIDTH = 46.0, 28.0, 48.0, 440.0


def curves(evaluation: Evaluation) -> list[tuple[str, ModelResult]]:
    """Models that have a curve, those of single sites first, so that they lie at the back."""
    single = [("local_private", model) for model in evaluation.local_private.values()]
    names = ("pooled", "federated_without_privacy", "federated", "federated_released")
    shared = [(name, getattr(evaluation, name)) for name in names]
    return [(name, model) for name, model in [*single, *shared] if model and model.roc]


def roc(evaluation: Evaluation) -> Chart | None:
    """All curves in one square; a cross marks the operating points of the federated private model."""
    found = curves(evaluation)
    if not found:
        return None
    labels = dict.fromkeys(STYLES[name].label.lower() for name, _ in found)
    description = f"ROC curves: {', '.join(labels)}. The AUROC of each stands in the table beside it."
    return drawn(description, lambda width: _draw(NARROW if width <= NARROW else WIDTH, found))


def _draw(width: float, found: list[tuple[str, ModelResult]]) -> Canvas:
    side = width - LEFT - 10
    canvas = Canvas(width=width, height=TOP + side + FOOT)
    x = Scale(0.0, 1.0, LEFT, LEFT + side)
    y = Scale(0.0, 1.0, TOP + side, TOP)
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        canvas.line(x(value), y(0), x(value), y(1), kind="grid")
        canvas.line(x(0), y(value), x(1), y(value), kind="grid")
        canvas.text(x(value), y(0) + 17, f"{100 * value:.0f} %", kind="t tick", anchor="middle")
        canvas.text(LEFT - 7, y(value) + 4, f"{100 * value:.0f} %", kind="t tick", anchor="end")
    canvas.line(x(0), y(0), x(1), y(1), kind="l none dot")
    canvas.text(LEFT + side / 2, y(0) + 38, "False alarms (1 - specificity)", kind="t axis", anchor="middle")
    canvas.text(0, 12, "Sensitivity", kind="t axis")
    for name, model in found:
        if model.roc:
            _curve(canvas, x, y, name=name, curve=model.roc)
    for name, model in found:
        if name in ("federated", "federated_released") and model.operating_point:
            point = model.operating_point
            at = (x(1 - point.specificity.value), y(point.sensitivity.value))
            canvas.marker(*at, "cross", kind="cross", radius=6)
    return canvas


def _curve(canvas: Canvas, x: Scale, y: Scale, *, name: str, curve: RocCurve) -> None:
    rates = zip(curve.false_positive_rate, curve.true_positive_rate, strict=True)
    points = [(x(false), y(true)) for false, true in rates]
    canvas.polyline(points, kind=STYLES[name].line)
    if STYLES[name].dotted:
        for point in points[1:-1]:
            canvas.marker(*point, "circle", kind=STYLES[name].kind, radius=3.5)
