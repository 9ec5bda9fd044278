"""The data of a report, as one tree of frozen structs; ``report.json`` is this tree.

Everything optional may be absent: a deployment has no exact figures, because single scores and exact counts
never leave a site. A simulation plays all hospitals at once and may fill every part.

Not here: how it is written in words (``words``), drawn (``charts``) or laid out (``page``).

Privacy: a field marked *simulation only* holds results computed from single patients' scores or from exact
counts. `Report.violations` names the ones that a deployment's report must not hold; the writer refuses them.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from wardround_common.evaluation import Estimate, OperatingPoint, RocCurve
from wardround_common.plan import StudyPlan


class ModelResult(Struct, frozen=True, kw_only=True):
    """How one model did on one set of test patients."""

    auroc: Estimate
    positives: float
    """Test patients of the positive class (noised where the counts are)."""
    negatives: float
    """Test patients of the other class (noised where the counts are)."""
    roc: RocCurve | None = None
    operating_point: OperatingPoint | None = None


class ReleasedCounts(Struct, frozen=True, kw_only=True):
    """The sum over the sites of the noised counts: rows are classes, columns bins by rising score."""

    edges: tuple[float, ...]
    validation: tuple[tuple[float, ...], ...]
    test: tuple[tuple[float, ...], ...]
    noise_sd_cell: float
    """Standard deviation of the noise on each cell of the sum, patients."""


class SiteEvaluation(Struct, frozen=True, kw_only=True):
    """The five models on one site's own test patients. Simulation only."""

    federated: ModelResult | None = None
    federated_without_privacy: ModelResult | None = None
    pooled: ModelResult | None = None
    local: ModelResult | None = None
    local_private: ModelResult | None = None


class Evaluation(Struct, frozen=True, kw_only=True):
    """All models on one set of test patients. All but ``federated_released`` is simulation only."""

    tested_on: str = ""
    """Who was tested, in words: "the held-out patients of all sites"."""
    federated_released: ModelResult | None = None
    """The federated model with privacy, from released counts."""
    released_counts: ReleasedCounts | None = None
    federated: ModelResult | None = None
    """Trained together, with privacy."""
    federated_without_privacy: ModelResult | None = None
    pooled: ModelResult | None = None
    """All scans in one place, no privacy."""
    local: dict[str, ModelResult] = {}
    """By site: alone, without privacy."""
    local_private: dict[str, ModelResult] = {}
    """By site: alone, with the same privacy."""
    gain: dict[str, Estimate] = {}
    """By site: AUROC of ``federated`` minus that of ``local_private``, paired on the same patients."""
    by_site: dict[str, SiteEvaluation] = {}


class RoundEpsilon(Struct, frozen=True, kw_only=True):
    """What a site had spent after a round."""

    round: int
    epsilon: float


class SitePrivacy(Struct, frozen=True, kw_only=True):
    """What the study cost the patients of one site."""

    epsilon_spent: float
    """The largest over training, validation and test patients (a patient is in one of them only)."""
    delta: float
    budget: float
    """Epsilon that the plan promises not to exceed."""
    by_side: dict[str, float] = {}
    """Epsilon spent by ``train``, ``validation`` and ``test`` patients."""
    after_round: tuple[RoundEpsilon, ...] = ()


class Privacy(Struct, frozen=True, kw_only=True):
    """The privacy cost of the study, by site."""

    sites: dict[str, SitePrivacy] = {}


class RoundReport(Struct, frozen=True, kw_only=True):
    """One round: who was in it and how it ended."""

    number: int
    kind: Literal["train", "evaluate"]
    cohort: tuple[str, ...]
    """Sites that sent HELLO."""
    survivors: tuple[str, ...]
    """Sites whose upload is in the sum."""
    void: bool = False
    reason: str = ""
    """Why it is void, or what went wrong on the way; an error code or a few words."""
    attempts: int = 1
    seconds: dict[str, float] = {}
    """By stage, in the order of the stages."""


class LearningCurve(Struct, frozen=True, kw_only=True):
    """A quantity over the rounds. Simulation only."""

    metric: str
    """Curves of one metric share a panel: "AUROC on test patients"."""
    series: str
    """Label at the end of the line: a model or a site."""
    rounds: tuple[int, ...]
    values: tuple[float, ...]


class Traffic(Struct, frozen=True, kw_only=True):
    """Bytes of one exchange at one site, over the whole study."""

    sent: int
    """From the site to the coordinator."""
    received: int
    """From the coordinator to the site."""


class SiteData(Struct, frozen=True, kw_only=True):
    """What one site brought. Simulation only: these are exact counts of patients."""

    patients: dict[str, int]
    """By side: ``train``, ``validation``, ``test``."""
    images: int
    positives: dict[str, int] = {}
    """Patients of the positive class, by side."""
    rejects: dict[str, int] = {}
    """Files that could not be used, by reason code."""
    description: str = ""


class ContactSheet(Struct, frozen=True, kw_only=True):
    """Some images as the model saw them. Simulation only."""

    site: str
    png: bytes
    caption: str = ""


class Protection(Struct, frozen=True, kw_only=True):
    """Facts of the secure aggregation."""

    ring_bits: int
    cohort: int
    """Sites in a full cohort."""
    threshold: int
    """Sites whose shares are needed to open a sum."""
    max_colluders: int
    """Sites that may work with the coordinator without opening anybody's update."""
    sums_verified: bool = False
    """True where the sites recomputed every sum themselves."""


class Reproducibility(Struct, frozen=True, kw_only=True):
    """What is needed to run it again."""

    randomness: Literal["operating_system", "simulation_seed"]
    seed: int | None = None
    versions: dict[str, str] = {}
    command: str = ""
    machine: str = ""


class Report(Struct, frozen=True, kw_only=True):
    """Everything that a report says."""

    schema: Literal[1] = 1
    setting: Literal["simulation", "deployment"]
    created: str
    """When, in words of the caller's choice (ISO 8601); the writer reads no clock."""
    plan: StudyPlan
    plan_digest: str
    plan_text: str = ""
    """The plan in plain words: paragraphs separated by empty lines."""
    parameters: int
    """Numbers that the model is made of."""
    evaluation: Evaluation = Evaluation()
    external: Evaluation | None = None
    """The same models on a further, public test set. Simulation only."""
    privacy: Privacy = Privacy()
    rounds: tuple[RoundReport, ...] = ()
    learning: tuple[LearningCurve, ...] = ()
    traffic: dict[str, dict[str, Traffic]] = {}
    """By site and exchange."""
    seconds: dict[str, float] = {}
    """By stage over the whole run; empty: the sum over the rounds."""
    protection: Protection | None = None
    data: dict[str, SiteData] = {}
    duplicates: str = ""
    """What was done about patients known at several sites."""
    contact_sheets: tuple[ContactSheet, ...] = ()
    warnings: tuple[str, ...] = ()
    reproducibility: Reproducibility
    model_license: str = "other"
    """Licence of the trained model, as in a Hugging Face model card."""

    @property
    def simulated(self) -> bool:
        """True where one program played all hospitals."""
        return self.setting == "simulation"

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites' names, in the order of the plan."""
        return tuple(site.name for site in self.plan.sites)

    @property
    def headline(self) -> ModelResult | None:
        """The federated model with privacy: exact in a simulation, else as released."""
        return self.evaluation.federated or self.evaluation.federated_released

    @property
    def stage_seconds(self) -> dict[str, float]:
        """Seconds by stage, from the whole run or added up over the rounds."""
        if self.seconds:
            return self.seconds
        stages = dict.fromkeys(stage for entry in self.rounds for stage in entry.seconds)
        return {stage: sum(entry.seconds.get(stage, 0.0) for entry in self.rounds) for stage in stages}

    @property
    def violations(self) -> tuple[str, ...]:
        """Fields that hold figures which a deployment must not have; always empty in a simulation."""
        exact = {
            "external": self.external is not None,
            "learning": bool(self.learning),
            "data": bool(self.data),
            "contact_sheets": bool(self.contact_sheets),
        }
        allowed = ("tested_on", "federated_released", "released_counts")
        exact |= {
            f"evaluation.{name}": bool(getattr(self.evaluation, name))
            for name in Evaluation.__struct_fields__
            if name not in allowed
        }
        return () if self.simulated else tuple(name for name, present in exact.items() if present)
