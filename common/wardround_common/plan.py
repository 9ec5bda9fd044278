"""The study plan: everything that all sites must agree on before a scan is touched.

A plan is data. It names models and recipes that are built into the installed package and never carries
code. It is frozen, has one canonical encoding and one digest; every message of the study carries that
digest, and a site approves exactly that digest.

Everything that training divides by or weighs with is a constant of the plan: nothing counted among the
patients enters a released number without being charged to the ledger.

Not here: whether a plan is *acceptable* (``plan_checks``), who signed it (``trust``), how it reads in
plain words (``plan_text``).

Privacy: a plan holds no patient data; ``SitePlan.patients`` is a size class that a person states.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,39}$", description="lower-case identifier")]
Hex32 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$", description="32 bytes as lower-case hex")]
Day = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$", description="ISO 8601 calendar day")]
Positive = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(gt=0, le=1)]


class _Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the plan: frozen, by keyword only, no field that is not declared."""


class SitePlan(_Part, frozen=True, kw_only=True):
    """One hospital of the study."""

    name: Name
    patients: Annotated[int, Meta(ge=1, le=10_000_000)]
    """Size class: the number of training patients that a person at the site states, rounded. It sets the
    site's weight in the mean and its divisor (``sample_rate * patients``); it is never computed from the
    catalogue."""


class InputPlan(_Part, frozen=True, kw_only=True):
    """How a scan becomes a tensor ``x_CHW`` (C = 1, values 0 to 1)."""

    modality: Literal["CT", "CR", "DX", "MG", "MR"]
    size_px: Annotated[int, Meta(ge=16, le=512)]
    """Height and width of the tensor."""
    spacing_mm: Positive
    """Edge of a pixel of the tensor."""
    window: Literal["fixed", "file"]
    """``fixed``: ``window_center`` and ``window_width`` in modality units (CT: Hounsfield units).
    ``file``: the file's VOI window, else the range of BitsStored."""
    window_center: float = 0.0
    window_width: Annotated[float, Meta(ge=0)] = 0.0


class AugmentPlan(_Part, frozen=True, kw_only=True):
    """Random changes of an image before it is used, drawn from the round secret. 0 switches one off."""

    flip: bool = False
    rotate_deg: Annotated[float, Meta(ge=0, le=180)] = 0.0
    shear_deg: Annotated[float, Meta(ge=0, le=45)] = 0.0
    zoom: Annotated[float, Meta(ge=0, le=0.5)] = 0.0
    crop_px: Annotated[int, Meta(ge=0, le=64)] = 0
    contrast: Annotated[float, Meta(ge=0, le=0.9)] = 0.0


class ModelPlan(_Part, frozen=True, kw_only=True):
    """A model built into the package, and the seed of its initial values."""

    name: Name
    """``small``: group-norm CNN, weight-standardised, about 25 k parameters. ``scatter``: fixed
    scattering front end and a small head, about 4 k parameters; the better one under privacy."""
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0


class RecipePlan(_Part, frozen=True, kw_only=True):
    """What a site does between two exchanges."""

    learning_rate: Positive
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    """Momentum of the site's own optimiser; starts from zero in every round."""
    local_steps: Annotated[int, Meta(ge=1, le=10_000)]
    sample_rate: Share
    """Probability with which each patient takes part in a step (Poisson sampling)."""
    class_weights: tuple[Positive, ...] = ()
    """One factor per class on the loss of each sample; empty: all 1. Losses are summed."""
    augment: AugmentPlan = AugmentPlan()


class AlgorithmPlan(_Part, frozen=True, kw_only=True):
    """How the coordinator and every site turn the aggregate into the next state."""

    name: Literal["fedavg"] = "fedavg"
    server_momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    ema_decay: Annotated[float, Meta(ge=0, lt=1)] = 0.97
    """Moving average over rounds, decay ``min(ema_decay, (1 + t) / (10 + t))``."""


class PrivacyPlan(_Part, frozen=True, kw_only=True):
    """The promise to each patient, per site."""

    unit: Literal["patient"] = "patient"
    target_epsilon: Annotated[float, Meta(gt=0, le=50)]
    target_delta: Annotated[float, Meta(gt=0, lt=0.01)]
    noise_multiplier: Positive
    """Noise over sensitivity in every step; the lead calibrates it to the target over all steps of the
    study, every site computes the epsilon anew and refuses a plan that exceeds it."""
    max_grad_norm: Positive = 1.0
    """Clip C of one patient's gradient in one step (L2)."""
    grid_levels: Annotated[int, Meta(ge=1, le=2**24)] = 100
    """The clipped sum is rounded to multiples of ``C / (grid_levels * sqrt(d))``, d parameters."""


class AggregationPlan(_Part, frozen=True, kw_only=True):
    """Secure aggregation: ring and smallest cohort."""

    minimum_cohort: Annotated[int, Meta(ge=3, le=1000)] = 3
    ring_bits: Literal[32] = 32
    clip_log2: Annotated[int, Meta(ge=-20, le=20)] = 4
    """Every coordinate of an update is clipped to ``[-2**clip_log2, 2**clip_log2]``."""
    max_attempts: Annotated[int, Meta(ge=1, le=5)] = 5
    exchange_timeout_s: Annotated[float, Meta(gt=0, le=86_400)] = 600.0


class EvaluationPlan(_Part, frozen=True, kw_only=True):
    """What is counted on held-out patients after the last round, and at which price."""

    epsilon: Annotated[float, Meta(gt=0, le=50)]
    bin_edges: tuple[Share, ...] = (0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95)
    """Inner edges of the score histogram, increasing, in (0, 1); B bins have B - 1 edges."""
    specificity: Share = 0.9
    """Sensitivity is reported at this specificity."""
    noise_multiplier: Positive
    """Standard deviation of each site's noise on each cell, in patients; the lead calibrates it to
    ``epsilon`` (one Gaussian mechanism of L2 sensitivity 1)."""


class StudyPlan(_Part, frozen=True, kw_only=True):
    """The frozen description of one study."""

    version: Literal[1] = 1
    study: Name
    title: Annotated[str, Meta(min_length=1, max_length=200)]
    purpose: Annotated[str, Meta(min_length=1, max_length=2000)]
    expires: Day
    authority_key: Hex32
    lead_key: Hex32
    sites: Annotated[tuple[SitePlan, ...], Meta(min_length=1, max_length=1000)]
    task: Literal["classification"]
    labels: Annotated[tuple[Name, ...], Meta(min_length=2, max_length=2)]
    """Class names; the second is the positive one."""
    input: InputPlan
    model: ModelPlan
    recipe: RecipePlan
    rounds: Annotated[int, Meta(ge=1, le=10_000)]
    algorithm: AlgorithmPlan = AlgorithmPlan()
    privacy: PrivacyPlan
    aggregation: AggregationPlan = AggregationPlan()
    evaluation: EvaluationPlan

    @property
    def steps(self) -> int:
        """Noisy steps of the whole study at one site."""
        return self.rounds * self.recipe.local_steps

    def site(self, name: str) -> SitePlan | None:
        """The entry of site ``name``, or None where the plan does not name it."""
        return next((site for site in self.sites if site.name == name), None)

    def weight(self, name: str) -> float:
        """Site ``name``'s share of the mean over all sites of the plan (the shares add up to 1)."""
        total = sum(site.patients for site in self.sites)
        return next(site.patients for site in self.sites if site.name == name) / total
