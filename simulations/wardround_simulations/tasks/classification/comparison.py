"""The models that the federation is compared with, each trained in a process of its own.

Not here: how they are trained (``baselines``), how they score (``figures``).

Privacy: trains on catalogues of sites directly, as only a simulation can.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from wardround_client.catalogue import CATALOGUE_FILE, Catalogue
from wardround_client.sealing import Sealer
from wardround_common.plan import StudyPlan
from wardround_common.processes import process_pool
from wardround_simulations.federation import Federation
from wardround_simulations.live import Screen
from wardround_simulations.scenario import SimulationPlan
from wardround_simulations.sites import CATALOGUE

Vector = npt.NDArray[np.float32]
What = Literal["federated_without_privacy", "pooled", "local", "local_private"]


@dataclass(kw_only=True, slots=True)
class Models:
    """Parameters [P] of every model that is compared; None or absent where it was not trained."""

    federated: Vector
    federated_without_privacy: Vector | None = None
    pooled: Vector | None = None
    local: dict[str, Vector] = field(default_factory=dict)
    local_private: dict[str, Vector] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    what: What
    site: str
    plan: StudyPlan
    simulation: SimulationPlan
    secret: bytes
    catalogues: Mapping[str, tuple[Path, Sealer]]


def compare(federation: Federation, federated: Vector, screen: Screen) -> Models:
    """Train the baselines, as many at a time as the federation has workers.

    Args:
        federation: The federation, whose catalogues are written.
        federated: The federation's own model.
        screen: Shows how far it is.
    """
    models = Models(federated=federated)
    jobs = list(_jobs(federation)) if federation.scenario.simulation.baselines else []
    if not jobs:
        return models
    with screen.stage("models to compare with", total=len(jobs)) as progress:
        for done, (job, vector) in enumerate(_train_all(jobs, processes=federation.workers), start=1):
            _keep(models, job, vector)
            progress(done, len(jobs))
    return models


def _jobs(federation: Federation) -> Iterator[_Job]:
    """Largest first."""
    catalogues = {
        site: (federation.home(site) / CATALOGUE / CATALOGUE_FILE, federation.sealer(site))
        for site in federation.names
    }
    whats: list[tuple[What, str]] = [("federated_without_privacy", ""), ("pooled", "")]
    for site in sorted(federation.plan.sites, key=lambda site: -site.patients):
        whats += [("local_private", site.name), ("local", site.name)]
    for what, name in whats:
        yield _Job(
            what=what,
            site=name,
            plan=federation.plan,
            simulation=federation.scenario.simulation,
            secret=federation.scenario.secrets.baselines(),
            catalogues=catalogues if not name else {name: catalogues[name]},
        )


def _train_all(jobs: list[_Job], *, processes: int) -> Iterator[tuple[_Job, Vector]]:
    if processes == 0:
        yield from ((job, _train(job)) for job in jobs)
        return
    with process_pool(processes) as pool:
        futures: dict[Future[Vector], _Job] = {pool.submit(_train, job): job for job in jobs}
        try:
            while futures:
                for future in wait(futures, return_when=FIRST_COMPLETED).done:
                    yield futures.pop(future), future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _train(job: _Job) -> Vector:
    """Train one model; runs in a process of its own."""
    import torch

    from wardround_simulations.baselines import with_privacy, without_privacy

    torch.set_num_threads(1)
    train = {site: Catalogue.load(*sealed).of_side("train") for site, sealed in job.catalogues.items()}
    recipe, secret = job.simulation.non_private, job.secret
    if job.what == "federated_without_privacy":
        return without_privacy.federated_without_privacy(job.plan, train=train, recipe=recipe, secret=secret)
    if job.what == "pooled":
        return without_privacy.pooled_without_privacy(job.plan, train=train, recipe=recipe, secret=secret)
    if job.what == "local":
        return without_privacy.alone_without_privacy(
            job.plan, site=job.site, train=train[job.site], recipe=recipe, secret=secret
        )
    site = job.plan.site(job.site)
    assert site is not None  # jobs are made from the plan's sites
    return with_privacy.alone_with_privacy(
        job.plan, site=site, train=train[job.site], table=job.simulation.lone_private, secret=secret
    )


def _keep(models: Models, job: _Job, vector: Vector) -> None:
    if job.what == "local":
        models.local[job.site] = vector
    elif job.what == "local_private":
        models.local_private[job.site] = vector
    else:
        setattr(models, job.what, vector)
