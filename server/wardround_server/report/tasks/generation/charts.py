"""Pictures of a generator's figures: what its images are worth, and how near they lie to real ones.

Privacy: draws what it is given; all of it is simulation only.
"""

from __future__ import annotations

from collections.abc import Mapping

from wardround_common.evaluation import Estimate
from wardround_server.report.charts import Axis, Chart, Group, Row, forest
from wardround_server.report.formats import rate
from wardround_server.report.tasks.generation.results import Judged, Nearest
from wardround_server.report.tasks.generation.styles import NEAREST, STYLES

_STEP = 0.02
"""The axis of distances begins and ends at multiples of this."""


def worth(judged: Mapping[str, Judged]) -> Chart | None:
    """AUROC by training set with its interval; the band is that of the synthetic images."""
    rows = tuple(
        Row(style=style, estimate=judged[name].auroc) for name, style in STYLES.items() if name in judged
    )
    if not rows:
        return None
    words = "; ".join(f"{row.style.label.lower()} {rate(row.estimate.value)}" for row in rows)
    synthetic = judged.get("train_synthetic_test_real")
    return forest(
        (Group(heading="A classifier trained on", rows=rows),),
        description=f"Dot plot of the AUROC by training set, with 95 % intervals: {words}.",
        band=synthetic.auroc if synthetic and synthetic.auroc.known else None,
    )


def nearest(found: Nearest) -> Chart:
    """Median and middle half of the distances, to training and to held-out images."""
    quartiles = {name: getattr(found, name) for name in NEAREST}
    rows = tuple(
        Row(style=style, estimate=Estimate(value=middle, low=low, high=high))
        for (name, style) in NEAREST.items()
        for low, middle, high in (quartiles[name],)
    )
    words = "; ".join(f"{row.style.label.lower()} {rate(row.estimate.value)}" for row in rows)
    top = max(high for _, _, high in quartiles.values())
    return forest(
        (Group(heading="From a synthetic image to the nearest of the", rows=rows),),
        description=f"Distances of synthetic images to the nearest real image, medians: {words}.",
        axis=Axis(
            label="distance, grey levels from 0 to 1: median and middle half",
            high=(top // _STEP + 1) * _STEP,
            step=_STEP,
        ),
    )
