import pytest

from wardround_common.identity import SigningKey
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

AUTHORITY = SigningKey.from_seed(bytes([1]) * 32)
LEAD = SigningKey.from_seed(bytes([2]) * 32)


@pytest.fixture
def plan() -> StudyPlan:
    return StudyPlan(
        study="chest",
        title="Nodules in chest CT",
        purpose="Find nodules.",
        expires="2099-12-31",
        authority_key=AUTHORITY.public.hex(),
        lead_key=LEAD.public.hex(),
        sites=(
            SitePlan(name="alder", patients=400),
            SitePlan(name="birch", patients=300),
            SitePlan(name="cedar", patients=100),
        ),
        task=ClassificationPlan(),
        labels=("normal", "nodule"),
        input=InputPlan(
            modality="CT",
            size_px=64,
            spacing_mm=5.0,
            window="fixed",
            window_center=-400.0,
            window_width=1500.0,
        ),
        model=ModelPlan(name="scatter"),
        recipe=RecipePlan(learning_rate=2.0, local_steps=5, sample_rate=0.2),
        rounds=16,
        privacy=PrivacyPlan(target_epsilon=8.0, target_delta=1e-5, noise_multiplier=2.0),
        evaluation=EvaluationPlan(epsilon=8.0, noise_multiplier=0.7),
    )
