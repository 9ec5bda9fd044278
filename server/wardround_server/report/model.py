"""The data of a report, as one tree of frozen structs; ``report.json`` is this tree.

Here is what a study of any task has. What a task's evaluation gives is a `Results` of the task
(``tasks.<name>.results``), whose fields stand in ``report.json`` beside the others.

Everything optional may be absent: a deployment has no exact figures, because single scores and exact counts
never leave a site. A simulation plays all hospitals at once and may fill every part.

Not here: how it is written in words (``words``), drawn (``charts``) or laid out (``page``).

Privacy: a field marked *simulation only* holds results computed from single patients' scores or from exact
counts. `Report.violations` names the ones that a deployment's report must not hold; the writer refuses them.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from wardround_common.plan import StudyPlan


class Results(Struct, frozen=True, kw_only=True):
    """What a task's evaluation gave. Its fields stand at the top level of ``report.json``."""

    @property
    def exact(self) -> tuple[str, ...]:
        """Names of the fields that only a simulation may fill, where they are filled.

        A task that does not say better has no field that a deployment may fill.
        """
        return self.__struct_fields__


class RoundEpsilon(Struct, frozen=True, kw_only=True):
    """What a site had spent after a round."""

    round: int
    epsilon: float


class StudySpend(Struct, frozen=True, kw_only=True):
    """What one study cost the patients of a site, by the site's ledger."""

    study: str
    task: str
    epsilon: float
    delta: float


class Lifetime(Struct, frozen=True, kw_only=True):
    """What all studies together cost the patients of a site, by its ledger, and what it allows."""

    epsilon: float
    delta: float
    limit: float
    """Epsilon that the site permits over all studies."""


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
    studies: tuple[StudySpend, ...] = ()
    """Every study so far, oldest first, this one included. These do not add up: see ``lifetime``."""
    lifetime: Lifetime | None = None


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
    results: Results | None = None
    """What the task's evaluation gave; None where nothing was evaluated."""
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
    def stage_seconds(self) -> dict[str, float]:
        """Seconds by stage, from the whole run or added up over the rounds."""
        if self.seconds:
            return self.seconds
        stages = dict.fromkeys(stage for entry in self.rounds for stage in entry.seconds)
        return {stage: sum(entry.seconds.get(stage, 0.0) for entry in self.rounds) for stage in stages}

    @property
    def violations(self) -> tuple[str, ...]:
        """Fields that hold figures which a deployment must not have; always empty in a simulation."""
        if self.simulated:
            return ()
        parts = [name for name in ("learning", "data", "contact_sheets") if getattr(self, name)]
        return (*(self.results.exact if self.results else ()), *parts)
