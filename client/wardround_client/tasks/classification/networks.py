"""The classifiers of ``wardround_common.tasks.classification.models`` in torch.

A network is a trainable module (``head``), before which there may be a fixed front end without parameters.
What a front end returns depends on one image each, so a site computes it once per image.

Rules:

* Parameters, their order and their shapes are those of the layout: one vector means the same to every
  site, and to the coordinator, which has no torch.
* Group norm and weight standardisation: nothing mixes the patients of a batch, nothing is kept between
  batches.

Privacy: no state besides parameters.

References:
    Wu and He, ECCV 2018 (group norm); Tramer and Boneh, ICLR 2021, section 3 (small heads under privacy).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from wardround_client.tasks.batches import FrontEnd
from wardround_client.tasks.classification.scattering import MAPS, scatter
from wardround_client.tasks.layers import StandardisedConv2d
from wardround_client.tasks.parameters import Parameters, without_values
from wardround_common.models import layout_of
from wardround_common.plan import StudyPlan
from wardround_common.tasks.classification.models import GRID

_GROUPS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """A classifier: ``head(front_end(images_BCHW))`` are the logits of classes 1 to K - 1.

    Attributes:
        front_end: What comes before the trainable part; None where the head reads images.
        head: The trainable module.
        parameters: The head's, as a vector.
    """

    front_end: FrontEnd | None
    head: nn.Module
    parameters: Parameters

    def load(self, vector_P: NDArray[np.float32]) -> None:
        """Set all parameters from ``vector_P``."""
        self.parameters.load(vector_P)

    def vector(self) -> NDArray[np.float32]:
        """All parameters, as ``float32[P]`` of its own memory."""
        return self.parameters.vector()


def build(plan: StudyPlan) -> Network:
    """The network of the plan's model, with uninitialised parameters.

    Raises:
        ConfigError: The package has no model of that name.
    """
    layout = layout_of(plan)
    front_end, make_head = NETWORKS[plan.model.name]
    head = without_values(lambda: make_head(plan.input.channels, len(plan.labels) - 1))
    return Network(front_end=front_end, head=head, parameters=Parameters(head, layout))


def _scatter_head(channels: int, logits: int) -> nn.Module:
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv1=StandardisedConv2d(MAPS * channels, 32, 3),
            conv1_norm=nn.GroupNorm(1, 32),
            relu1=nn.ReLU(),
            pool1=nn.AdaptiveMaxPool2d(GRID),
            flatten=nn.Flatten(),
            head=nn.Linear(32 * GRID**2, logits),
        )
    )


def _small_head(channels: int, logits: int) -> nn.Module:
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            centre=_Centre(),
            conv1=StandardisedConv2d(channels, 16, 5, stride=2),
            conv1_norm=nn.GroupNorm(_GROUPS, 16),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=StandardisedConv2d(16, 32, 3),
            conv2_norm=nn.GroupNorm(_GROUPS, 32),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            conv3=StandardisedConv2d(32, 64, 3),
            conv3_norm=nn.GroupNorm(_GROUPS, 64),
            relu3=nn.ReLU(),
            pool3=nn.AdaptiveMaxPool2d(GRID),
            flatten=nn.Flatten(),
            head=nn.Linear(64 * GRID**2, logits),
        )
    )


class _Centre(nn.Module):
    """Values 0 to 1 to values -1 to 1."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW * 2 - 1


NETWORKS: dict[str, tuple[FrontEnd | None, Callable[[int, int], nn.Module]]] = {
    "scatter": (scatter, _scatter_head),
    "small": (None, _small_head),
}
