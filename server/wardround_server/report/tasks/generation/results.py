"""What the evaluation of a generator gave: pictures of its images, and what they are worth.

Not here: how it is written in words (``words``), drawn (``charts``) or laid out (``section``).

Privacy: synthetic images are drawn from what was released, so they cost nothing more. Whatever compares them
with patients' images is *simulation only*; `GenerationResults.exact` names what is filled of it.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from wardround_common.evaluation import Estimate
from wardround_server.report.model import Report, Results

_COMPARED: Final = (
    "train_synthetic_test_real",
    "train_real_test_real",
    "class_mean_baseline",
    "without_privacy",
    "external",
    "agreement",
    "diversity",
    "nearest",
)
"""Fields of a `Generation` that only a simulation may fill."""


class Judged(Struct, frozen=True, kw_only=True):
    """How a classifier did on real test patients."""

    auroc: Estimate
    positives: float
    """Test patients of the positive class."""
    negatives: float
    """Test patients of the other class."""


class Diversity(Struct, frozen=True, kw_only=True):
    """Mean distance between two images of a class: root mean square of the difference, grey levels 0 to 1."""

    samples: float
    real: float


class Nearest(Struct, frozen=True, kw_only=True):
    """Distance of each synthetic image to the real image that is nearest (root mean square, as above)."""

    to_train: tuple[float, float, float]
    """Quartiles over the synthetic images: to training images."""
    to_held_out: tuple[float, float, float]
    """The same to as many held-out images."""
    nearer_to_train: Estimate
    """Share of the synthetic images that are nearer to a training image; 0.5: no copying."""


class Picture(Struct, frozen=True, kw_only=True):
    """A picture of several images."""

    png: bytes
    caption: str = ""
    alt: str = ""
    """What it shows, for whoever does not see it."""


class LabelPictures(Struct, frozen=True, kw_only=True):
    """Images of one class."""

    label: str
    samples: Picture
    """Synthetic ones."""
    real: Picture | None = None
    """Patients' images. Simulation only."""


class OverRounds(Struct, frozen=True, kw_only=True):
    """What the same latent vectors give after a round."""

    round: int
    picture: Picture


class Generation(Struct, frozen=True, kw_only=True):
    """Everything about one generator."""

    tested_on: str = ""
    """Who was tested, in words: "the held-out patients of all sites"."""
    train_synthetic_test_real: Judged | None = None
    """A classifier that was trained on synthetic images alone. Simulation only, as the next seven."""
    train_real_test_real: Judged | None = None
    """The same classifier trained on the sites' real images, without privacy."""
    class_mean_baseline: Judged | None = None
    """The same classifier trained on class means with noise on each pixel, without privacy."""
    without_privacy: Judged | None = None
    """The same classifier trained on images of a generator that the sites trained without privacy."""
    external: dict[str, Judged] = {}
    """The same four, by their names, on a public test set."""
    agreement: dict[str, Estimate] = {}
    """By label: share of synthetic images to which a classifier trained on real ones gives that label."""
    diversity: dict[str, Diversity] = {}
    """By label."""
    nearest: Nearest | None = None
    classes: tuple[LabelPictures, ...] = ()
    over_rounds: tuple[OverRounds, ...] = ()
    """The same latent vectors after some of the rounds."""
    interpolation: tuple[LabelPictures, ...] = ()
    """Between two latent vectors, a row per label."""


class GenerationResults(Results, frozen=True, kw_only=True):
    """What is known of the generator."""

    generation: Generation = Generation()

    @property
    def exact(self) -> tuple[str, ...]:
        """Names of the filled fields that only a simulation may fill."""
        made = self.generation
        names = [name for name in _COMPARED if getattr(made, name)]
        pictures = {"classes.real": made.classes, "interpolation.real": made.interpolation}
        names += [name for name, shown in pictures.items() if any(entry.real for entry in shown)]
        return tuple(f"generation.{name}" for name in names)


def results_of(report: Report) -> Generation:
    """The report's results where they are those of a generator, else empty ones."""
    return report.results.generation if isinstance(report.results, GenerationResults) else Generation()
