"""The plan and the patients of the simulator's benchmark; the patients are random numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wardround_client.catalogue import CATALOGUE_FILE, Catalogue, Row
from wardround_common.canonical import digest
from wardround_common.plan import (
    EvaluationPlan,
    InputPlan,
    ModelPlan,
    PrivacyPlan,
    RecipePlan,
    SitePlan,
    StudyPlan,
)
from wardround_common.tasks.classification import ClassificationPlan
from wardround_simulations.federation import Federation
from wardround_simulations.scenario import EXPIRES, Scenario, SimulationPlan
from wardround_simulations.secrets import Secrets
from wardround_simulations.sites import CATALOGUE

SEED = 3


def bench_federation(out: Path) -> Federation:
    """Three sites, three rounds, two workers."""
    scenario = Scenario(plan=bench_plan(), simulation=SimulationPlan(seed=SEED, baselines=False))
    return Federation(scenario=scenario, out=out, workers=2)


def bench_plan() -> StudyPlan:
    """A plan for the model ``bench`` of ``benchmarks.models``."""
    secrets = Secrets(SEED)
    return StudyPlan(
        study="bench",
        title="Benchmark",
        purpose="Times everything but training.",
        expires=EXPIRES,
        authority_key=secrets.key("authority").public.hex(),
        lead_key=secrets.key("lead").public.hex(),
        sites=tuple(SitePlan(name=name, patients=100) for name in ("alder", "birch", "cedar")),
        task=ClassificationPlan(),
        labels=("normal", "nodule"),
        input=InputPlan(
            modality="CT", size_px=16, spacing_mm=1.0, window="fixed", window_center=0.0, window_width=1.0
        ),
        model=ModelPlan(name="bench"),
        recipe=RecipePlan(learning_rate=1.0, local_steps=1, sample_rate=0.5),
        rounds=3,
        privacy=PrivacyPlan(target_epsilon=8.0, target_delta=1e-4, noise_multiplier=2.0),
        evaluation=EvaluationPlan(epsilon=8.0, noise_multiplier=2.0),
    )


def write_catalogues(federation: Federation) -> None:
    """Fifty patients with one small image each, for every site."""
    rng = np.random.default_rng(SEED)
    for site in federation.names:
        rows = [
            Row(
                patient_key=digest("bench patient", site.encode(), bytes([i])),
                scan_key=digest("bench scan", site.encode(), bytes([i])),
                label=i % 2,
                image_CHW=rng.random((1, 16, 16), dtype=np.float32),
            )
            for i in range(50)
        ]
        store = federation.home(site) / CATALOGUE
        store.mkdir(parents=True, mode=0o700)
        Catalogue.of(rows).save(store / CATALOGUE_FILE, federation.sealer(site))
