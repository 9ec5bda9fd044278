"""The parts of a plan that every task has in common, and the base of those that a task adds.

Not here: the plan as a whole (``plan``), the fields of one task (``tasks``).

Privacy: a plan holds no patient data; ``SitePlan.patients`` is a size class that a person states.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,39}\Z", description="lower-case identifier")]
Hex32 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z", description="32 bytes as lower-case hex")]
Day = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\Z", description="ISO 8601 calendar day")]
CipherName = Literal["aes-256-ctr", "chacha20"]
Positive = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(gt=0, le=1)]


class Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the plan: frozen, by keyword only, no field that is not declared."""


class SitePlan(Part, frozen=True, kw_only=True):
    """One hospital of the study."""

    name: Name
    patients: Annotated[int, Meta(ge=1, le=10_000_000)]
    """Size class: the number of training patients that a person at the site states, rounded. It sets the
    site's weight in the mean and its divisor (``sample_rate * patients``); it is never computed from the
    catalogue."""


class InputPlan(Part, frozen=True, kw_only=True):
    """How a scan becomes a tensor ``x_CHW`` (C = ``channels``, values 0 to 1)."""

    modality: Literal["CT", "CR", "DX", "GM", "MG", "MR", "XC"]
    """``GM``: photographs through a microscope. ``XC``: photographs by a camera, dermoscopy included."""
    channels: Literal[1, 3] = 1
    """1: grey values. 3: red, green, blue, as the file states them, 0 to 255 as 0 to 1."""
    size_px: Annotated[int, Meta(ge=16, le=512)]
    """Height and width of the tensor."""
    spacing_mm: Annotated[float, Meta(ge=0)]
    """Edge of a pixel of the tensor; files without a pixel spacing are refused. 0 (``XC`` only, whose files
    rarely have one): no common scale; the shorter side of each image fills ``size_px``, and the longer one
    is cut at both ends."""
    window: Literal["fixed", "file"]
    """``fixed``: ``window_center`` and ``window_width`` in modality units (CT: Hounsfield units).
    ``file``: the file's VOI window, else the range of BitsStored; colours have no window."""
    window_center: float = 0.0
    window_width: Annotated[float, Meta(ge=0)] = 0.0

    @property
    def size(self) -> str:
        """Pixels and scale in words: "64 x 64 pixels at 4.5 mm"."""
        scale = (
            f"at {self.spacing_mm:g} mm" if self.spacing_mm else "of the middle square, whatever its scale"
        )
        return f"{self.size_px} x {self.size_px} pixels {scale}"

    @property
    def described(self) -> str:
        """The image in words: "CT image of 64 x 64 pixels at 4.5 mm"."""
        return f"{self.modality}{' colour' if self.channels == 3 else ''} image of {self.size}"


class AugmentPlan(Part, frozen=True, kw_only=True):
    """Random changes of an image before it is used, drawn from the round secret. 0 switches one off."""

    flip: bool = False
    rotate_deg: Annotated[float, Meta(ge=0, le=180)] = 0.0
    shear_deg: Annotated[float, Meta(ge=0, le=45)] = 0.0
    zoom: Annotated[float, Meta(ge=0, le=0.5)] = 0.0
    crop_px: Annotated[int, Meta(ge=0, le=64)] = 0
    contrast: Annotated[float, Meta(ge=0, le=0.9)] = 0.0


class ModelPlan(Part, frozen=True, kw_only=True):
    """A model built into the package, and the seed of its initial values."""

    name: Name
    """Which names there are depends on the task."""
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0


class RecipePlan(Part, frozen=True, kw_only=True):
    """What a site does between two exchanges."""

    learning_rate: Positive
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    """Momentum of the site's own optimiser; starts from zero in every round."""
    local_steps: Annotated[int, Meta(ge=1, le=10_000)]
    """Noisy steps of a round: each releases one noised sum over patients."""
    sample_rate: Share
    """Probability with which each patient takes part in a step (Poisson sampling)."""
    augment: AugmentPlan = AugmentPlan()


class AlgorithmPlan(Part, frozen=True, kw_only=True):
    """How the coordinator and every site turn the aggregate into the next state."""

    name: Literal["fedavg"] = "fedavg"
    server_momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.0


class PrivacyPlan(Part, frozen=True, kw_only=True):
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


class AggregationPlan(Part, frozen=True, kw_only=True):
    """Secure aggregation: who must be there, how an update becomes masked words, and who checks the sum."""

    minimum_cohort: Annotated[int, Meta(ge=3, le=1000)] = 3
    ring_bits: Literal[16, 32] = 32
    """Bits of a masked number. 16 halves what travels and rounds at random, without bias, to coarser steps.
    Counts of an evaluation always have 32."""
    quantiser: Literal["exact", "fast"] = "exact"
    """How an update is rounded in a ring of 32 bits. ``exact``: in float64, to all levels of the ring.
    ``fast``: in float32, to 22 bits and a sign at each site."""
    clip_log2: Annotated[int, Meta(ge=-20, le=20)] = 4
    """Every coordinate of an update is clipped to ``[-2**clip_log2, 2**clip_log2]``; where ``clips`` is
    ``last``, in the first round only."""
    clips: Literal["plan", "last"] = "plan"
    """``plan``: one clip for all tensors, in all rounds. ``last``: a clip for each tensor, a power of two
    above what the last accepted aggregate suggests."""
    cipher: CipherName = "aes-256-ctr"
    """What masks are made with."""
    mask_degree: Annotated[int, Meta(ge=4, le=1000, multiple_of=2)] = 12
    """With how many others a site of a cohort of more than 12 shares masks. Up to 12: with all."""
    verify: Literal["auto", "full", "sum"] = "auto"
    """``full``: every site gets the round's signed uploads and OPENs and adds them up itself. ``sum``: it
    checks the sum's range and what it leads to. ``auto``: ``full`` while sites x 4 bytes x parameters is at
    most 100 MB."""
    round_deadline_s: Annotated[float, Meta(gt=0, le=604_800)] = 3600.0
    """How long a round may wait for missing sites before it is void."""
    max_attempts: Annotated[int, Meta(ge=1, le=5)] = 5
    exchange_timeout_s: Annotated[float, Meta(gt=0, le=86_400)] = 600.0


class EvaluationPlan(Part, frozen=True, kw_only=True):
    """The price of counting held-out patients after the last round; what is counted is the task's."""

    epsilon: Annotated[float, Meta(gt=0, le=50)]
    noise_multiplier: Positive
    """Standard deviation of each site's noise on each cell, in patients; the lead calibrates it to
    ``epsilon`` (one Gaussian mechanism of L2 sensitivity 1)."""
