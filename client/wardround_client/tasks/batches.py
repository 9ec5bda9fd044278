"""The batch of a step: patients drawn by Poisson sampling, one image of each, ready for the network's head.

Without augmentation the front end's output depends on the image alone, so it is computed once for all images
of a side and kept in memory. Kept or computed anew, the bits are the same: a
front end computes every row by itself.

Privacy: who is in a batch and how many is part of the mechanism and stays inside it; features are as private
as the images and are dropped when the images are.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wardround_client.catalogue import Catalogue
from wardround_client.privacy.sampler import PatientImages, choose_images, sample_patients
from wardround_client.tasks.augmentation import augment, is_off
from wardround_client.tasks.interface import Streams
from wardround_common.plan import RecipePlan

FrontEnd = Callable[[Tensor], Tensor]
"""What comes before the trainable part of a network: without parameters, each image by itself."""
Images = NDArray[np.float32]


class FeatureCache:
    """A front end's output for whole image arrays, for as long as these live."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, FrontEnd], tuple[weakref.ref[Images], Tensor]] = {}

    def features(self, images_NCHW: Images, front_end: FrontEnd) -> Tensor:
        """``front_end(images)``, computed on the first call for this very array, which must not change."""
        key = (id(images_NCHW), front_end)
        kept = self._kept.get(key)
        if kept is None or kept[0]() is not images_NCHW:
            reference = weakref.ref(images_NCHW, lambda _: self._kept.pop(key, None))
            kept = self._kept[key] = (reference, front_end(torch.tensor(images_NCHW)))
        return kept[1]


class PatientBatches:
    """The batches of one round at one site.

    Args:
        recipe: Sample rate and augmentation of the plan.
        data: The train side.
        streams: The round's private randomness; purposes ``patients``, ``images`` and ``augment``.
        front_end: What comes before the trainable part, if anything does.
        cache: Keeps the front end's output where augmentation is off.
    """

    def __init__(
        self,
        recipe: RecipePlan,
        *,
        data: Catalogue,
        streams: Streams,
        front_end: FrontEnd | None,
        cache: FeatureCache,
    ) -> None:
        self._recipe: Final = recipe
        self._data: Final = data
        self._streams: Final = streams
        self._front_end: Final = front_end
        self._cache: Final = cache
        self._images: Final = PatientImages.of(data.patient_N, patients=len(data.patient_keys))

    def draw(self, step: int) -> tuple[Tensor, Tensor]:
        """Features and labels of the patients of a step, one row each; possibly no rows."""
        drawn_B = sample_patients(
            self._streams("patients", step),
            patients=len(self._data.patient_keys),
            sample_rate=self._recipe.sample_rate,
        )
        rows_B = choose_images(self._streams("images", step), drawn_B, images=self._images)
        return self._features(rows_B, step), torch.from_numpy(self._data.label_N[rows_B])

    def _features(self, rows_B: NDArray[np.int64], step: int) -> Tensor:
        images_NCHW, plan = self._data.images_NCHW, self._recipe.augment
        if self._front_end is not None and is_off(plan):
            return self._cache.features(images_NCHW, self._front_end)[torch.from_numpy(rows_B)]
        images_BCHW = torch.from_numpy(images_NCHW[rows_B])
        if not is_off(plan):
            images_BCHW = augment(images_BCHW, plan, self._streams("augment", step))
        return images_BCHW if self._front_end is None else self._front_end(images_BCHW)
