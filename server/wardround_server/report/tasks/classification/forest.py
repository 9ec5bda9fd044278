"""One row per classifier: the picture that answers "did joining help this site?"."""

from __future__ import annotations

from collections.abc import Sequence

from wardround_common.plan import SitePlan
from wardround_server.report.charts import Chart, Group, Row
from wardround_server.report.charts import forest as drawn_forest
from wardround_server.report.formats import rate, things
from wardround_server.report.tasks.classification.results import Evaluation, ModelResult
from wardround_server.report.tasks.classification.styles import STYLES


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
    best = found[0].rows[0]
    description = (
        f"Dot plot of the AUROC of {sum(len(group.rows) for group in found)} models with 95 % intervals; "
        f"{best.style.label} {rate(best.estimate.value)}. The table below holds the same numbers."
    )
    band = reference.auroc if reference and reference.auroc.known else None
    return drawn_forest(found, description=description, band=band)


def _rows(models: Sequence[tuple[str, ModelResult | None]]) -> tuple[Row, ...]:
    return tuple(Row(style=STYLES[name], estimate=model.auroc) for name, model in models if model)
