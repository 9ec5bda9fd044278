from pathlib import Path

import pytest

from wardround_client.ledger import Claim, Ledger, Limits, Spend
from wardround_common.accounting import evaluate_event, train_event
from wardround_common.messages import Kind
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
from wardround_common.trust import plan_digest

ROUNDS, STEPS = 4, 5


def digest(number: int) -> bytes:
    return number.to_bytes(32, "big")


def people(*sides: int, first: int = 1000) -> list[tuple[bytes, int]]:
    """One patient per side given, with keys that count up from ``first``."""
    return [(digest(first + i), side) for i, side in enumerate(sides)]


class Site:
    """A site's ledger on disk, and the claims that an honest round would make."""

    digest = staticmethod(digest)
    people = staticmethod(people)

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger.sqlite"
        self.head_path = folder / "head"
        self.limits = Limits(largest_epsilon=10.0, lifetime_epsilon=40.0, lifetime_delta=1e-5)
        self.ledger = self.open()

    def open(self, **changes) -> Ledger:
        return Ledger(self.path, **({"limits": self.limits, "head_path": self.head_path} | changes))

    def reopen(self, **changes) -> Ledger:
        self.ledger.shut()
        self.ledger = self.open(**changes)
        return self.ledger

    def approve(self, plan: StudyPlan, snapshot: bytes):
        return self.ledger.approve(plan, plan_digest(plan), snapshot=snapshot)

    def spend(
        self, plan: StudyPlan, number: int, snapshot: bytes, *, kind: Kind = "train", **changes
    ) -> Spend:
        return self.ledger.spend(self.claim(plan, number, snapshot, kind=kind, **changes))

    def claim(
        self, plan: StudyPlan, number: int, snapshot: bytes, *, kind: Kind = "train", **changes
    ) -> Claim:
        event = train_event(plan, STEPS) if kind == "train" else evaluate_event(plan)
        fields = {
            "study": plan.study,
            "plan_digest": plan_digest(plan),
            "round": number,
            "kind": kind,
            "snapshot": snapshot,
            "event": event,
            "D": digest(number),
            "secret_id": bytes([number]) * 16,
        }
        return Claim(**(fields | changes))

    def run(self, plan: StudyPlan, snapshot: bytes) -> None:
        """Approve a study and run it to its end."""
        self.approve(plan, snapshot)
        for number in range(1, ROUNDS + 1):
            self.ledger.output(self.spend(plan, number, snapshot), digest(number))
        self.spend(plan, ROUNDS + 1, snapshot, kind="evaluate")
        self.ledger.close(plan.study)


def _make_plan(
    study: str = "chest", *, noise: float = 3.0, target: float = 3.0, counts: float = 2.0
) -> StudyPlan:
    """A plan of 20 steps; at the default noise every patient pays 2.0 (Renyi: 2.2)."""
    return StudyPlan(
        study=study,
        title="Nodules in chest X-rays",
        purpose="Find nodules.",
        expires="2099-12-31",
        authority_key="1" * 64,
        lead_key="2" * 64,
        sites=(SitePlan(name="alder", patients=400),),
        task=ClassificationPlan(),
        labels=("normal", "nodule"),
        input=InputPlan(modality="DX", size_px=64, spacing_mm=5.0, window="file"),
        model=ModelPlan(name="scatter"),
        recipe=RecipePlan(learning_rate=2.0, local_steps=STEPS, sample_rate=0.3),
        rounds=ROUNDS,
        privacy=PrivacyPlan(target_epsilon=target, target_delta=1e-5, noise_multiplier=noise),
        evaluation=EvaluationPlan(epsilon=3.0, noise_multiplier=counts),
    )


@pytest.fixture
def site(tmp_path):
    found = Site(tmp_path)
    yield found
    found.ledger.shut()


@pytest.fixture
def make_plan():
    return _make_plan


@pytest.fixture
def plan() -> StudyPlan:
    return _make_plan()


@pytest.fixture
def snapshot(site) -> bytes:
    """A registered snapshot of five training, two validation and two test patients."""
    site.ledger.register(digest(1), people(0, 0, 0, 0, 0, 1, 1, 2, 2))
    return digest(1)
