"""Small federations in this process: production sites, coordinator and codec; updates known beforehand."""

import dataclasses
from collections.abc import Callable

import numpy as np

from wardround_client.catalogue import CATALOGUE_FILE, Catalogue, Row
from wardround_client.policy import SitePolicy
from wardround_client.tasks.interface import TrainOutput
from wardround_common.canonical import digest
from wardround_common.models import layout_of
from wardround_common.plan import (
    AggregationPlan,
    EvaluationPlan,
    InputPlan,
    ModelPlan,
    PrivacyPlan,
    RecipePlan,
    SitePlan,
    StudyPlan,
)
from wardround_common.tasks.classification import ClassificationPlan
from wardround_server.observer import Silent
from wardround_simulations.federation import Federation, run_study
from wardround_simulations.grid import unchanged
from wardround_simulations.scenario import EXPIRES, Scenario, SimulationPlan
from wardround_simulations.secrets import Secrets
from wardround_simulations.sites import CATALOGUE, make_site

SEED = 11
NAMES = ("alder", "birch", "cedar", "doum", "elm", "fir", "ginkgo", "hazel", "ilex", "juniper")


def update_of(plan: StudyPlan, site: str, state: np.ndarray) -> np.ndarray:
    """The update of a site in the known task: depends on the site and on the state that it starts from."""
    seed = int.from_bytes(digest("test update", site.encode(), state.tobytes())[:8], "big")
    return np.random.default_rng(seed).normal(0, 0.3, layout_of(plan).size).astype(np.float32)


class KnownTask:
    """Updates that a test can compute too, and counts of what it is given."""

    def train_round(self, plan, *, site, start, local_L, data, streams, flags):
        return TrainOutput(update_P=update_of(plan, site, start), noisy_steps=plan.recipe.local_steps)

    def evaluate(self, plan, *, vector, validation, test):
        counts = np.zeros(plan.task.cells, np.int64)
        counts[0], counts[-1] = len(validation.patient_keys), len(test.patient_keys)
        return counts


def make_known_site(spec: bytes):
    return make_site(spec, task=lambda name: KnownTask())


def make_plan(n: int, **changes) -> StudyPlan:
    secrets = Secrets(SEED)
    fields = {
        "study": "test",
        "title": "A small study",
        "purpose": "Tests.",
        "expires": EXPIRES,
        "authority_key": secrets.key("authority").public.hex(),
        "lead_key": secrets.key("lead").public.hex(),
        "sites": tuple(SitePlan(name=name, patients=100 + 50 * i) for i, name in enumerate(NAMES[:n])),
        "task": ClassificationPlan(),
        "labels": ("normal", "nodule"),
        "input": InputPlan(
            modality="CT",
            size_px=32,
            spacing_mm=1.0,
            window="fixed",
            window_center=0.0,
            window_width=1.0,
        ),
        "model": ModelPlan(name="scatter"),
        "recipe": RecipePlan(learning_rate=1.0, local_steps=2, sample_rate=0.3),
        "rounds": 3,
        "privacy": PrivacyPlan(target_epsilon=8.0, target_delta=1e-4, noise_multiplier=2.0),
        "evaluation": EvaluationPlan(epsilon=8.0, noise_multiplier=2.0),
        "aggregation": AggregationPlan(exchange_timeout_s=60.0),
    }
    return StudyPlan(**(fields | changes))


def catalogue_of(site: str, *, patients: int = 40, salt: int = 0) -> Catalogue:
    rng = np.random.default_rng([SEED, salt, *site.encode()])
    rows = []
    for i in range(patients):
        image = rng.random((1, 32, 32), dtype=np.float32) * 0.5
        image[0, 8:16, 8:16] += 0.4 * (i % 2)
        key = digest("patient", site.encode(), bytes([salt, i]))
        rows.append(Row(patient_key=key, scan_key=digest("scan", key), label=i % 2, image_CHW=image))
    return Catalogue.of(rows)


@dataclasses.dataclass
class World:
    """A federation whose catalogues are written, ready to run."""

    federation: Federation

    def run(self, *, wire=unchanged, factory: Callable = make_known_site, observer=None):
        return run_study(self.federation, observer or Silent(), wire=wire, factory=factory)


def make_world(
    tmp_path, n=3, *, max_colluders=1, policy=None, workers=0, patients=None, salts=None, out="out", **changes
) -> World:
    scenario = Scenario(plan=make_plan(n, **changes), simulation=SimulationPlan(seed=SEED, baselines=False))
    federation = Federation(
        scenario=scenario,
        out=tmp_path / out,
        policy=policy or SitePolicy(max_colluders=max_colluders),
        workers=workers,
    )
    for site in federation.names:
        store = federation.home(site) / CATALOGUE
        store.mkdir(parents=True, mode=0o700, exist_ok=True)
        catalogue = catalogue_of(
            site, patients=(patients or {}).get(site, 40), salt=(salts or {}).get(site, 0)
        )
        catalogue.save(store / CATALOGUE_FILE, federation.sealer(site))
    return World(federation)
