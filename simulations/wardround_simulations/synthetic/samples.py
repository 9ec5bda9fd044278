"""What is written: generated images with their labels, and the plan that they were generated under.

Privacy: see the package; nothing here describes a person.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wardround_common.plan import InputPlan

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Samples:
    """Generated images.

    Attributes:
        images_NCHW: float32, values 0 to 1; one channel (grey) or three (red, green, blue).
        label_N: int64, indices in ``labels``.
        labels: Names of the classes, as in a plan.
        input: What the images imitate: modality, spacing and window.
        title: One line about the study.
        plan_digest: 32 bytes as lower-case hex.

    Raises:
        ValueError: They do not fit together.
    """

    images_NCHW: npt.NDArray[np.float32]
    label_N: npt.NDArray[np.int64]
    labels: tuple[str, ...]
    input: InputPlan
    title: str
    plan_digest: str

    def __post_init__(self) -> None:
        images = self.images_NCHW
        if images.ndim != 4 or images.shape[1] not in (1, 3) or not images.size:
            raise ValueError(f"expected images of shape [N, 1 or 3, H, W], got {images.shape}")
        if self.label_N.shape != (len(images),):
            raise ValueError(f"expected one label for each of {len(images)}, got shape {self.label_N.shape}")
        if not 0 <= self.label_N.min() <= self.label_N.max() < len(self.labels):
            raise ValueError(f"expected labels below {len(self.labels)}")
        if not 0 <= images.min() <= images.max() <= 1:
            raise ValueError("expected values from 0 to 1")
        if not all(map(_NAME.fullmatch, self.labels)) or len(set(self.labels)) < len(self.labels):
            raise ValueError(f"expected different lower-case names of labels, got {self.labels}")
        if not _DIGEST.fullmatch(self.plan_digest):
            raise ValueError("expected the plan's digest as 64 hex digits")

    def numbered(self) -> Iterator[Sample]:
        """The images in their order, each with its number within its label."""
        seen = [0] * len(self.labels)
        for image_CHW, label in zip(self.images_NCHW, self.label_N.tolist(), strict=True):
            seen[label] += 1
            yield Sample(image_CHW=image_CHW, label=self.labels[label], number=seen[label])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sample:
    """One generated image; ``number`` counts from 1 within its label."""

    image_CHW: npt.NDArray[np.float32]
    label: str
    number: int

    @property
    def name(self) -> str:
        """Its name among the files, without suffix."""
        return f"{self.label}_{self.number:04d}"
