"""The two networks of ``wardround_common.tasks.generation.models`` in torch.

The discriminator is a fixed front end (``wavelets``) and a trainable head that gives one score per label: how
much the image looks like a real one of that label (a projection discriminator). ``generators`` draw an image
from a latent vector and a label.

Rules:

* Parameters, their order and their shapes are those of the layouts.
* No batch norm: nothing mixes the images of a batch, nothing is kept between batches.

Privacy: no state besides parameters.

References:
    Miyato and Koyama, ICLR 2018 (projection discriminator).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wardround_client.tasks.generation.generators import GENERATORS, Generator
from wardround_client.tasks.generation.wavelets import look
from wardround_client.tasks.layers import StandardisedConv2d
from wardround_client.tasks.parameters import Parameters, without_values
from wardround_common.plan import StudyPlan
from wardround_common.tasks.generation import GenerationPlan
from wardround_common.tasks.generation.models import (
    HEAD_GRID,
    HEAD_WIDTH,
    front_end_maps,
)

_SLOPE = 0.2
_ROWS = 64
"""Images in one pass of the front end; an image has the same maps in whatever company."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Networks:
    """The networks of a plan, with uninitialised parameters.

    Attributes:
        generator: Draws.
        generator_parameters: Reads and sets its parameters.
        head: The discriminator behind its front end: ``head(look(images))`` are the scores [B, K].
        head_parameters: Reads and sets the head's parameters.
    """

    generator: Generator
    generator_parameters: Parameters
    head: nn.Module
    head_parameters: Parameters


def build(plan: StudyPlan) -> Networks:
    """The networks of the plan's model.

    Raises:
        ConfigError: The package has no model of that name, or the plan is of another task.
    """
    fields, classes = GenerationPlan.of(plan), len(plan.labels)
    generator_layout, head_layout = fields.generator_layout(plan), fields.discriminator_layout(plan)
    generator = without_values(
        lambda: GENERATORS[plan.model.name](
            size_px=plan.input.size_px, channels=plan.input.channels, classes=classes, latent=fields.latent
        )
    )
    head = without_values(lambda: _head(plan.input.channels, classes))
    return Networks(
        generator=generator,
        generator_parameters=Parameters(generator, generator_layout),
        head=head,
        head_parameters=Parameters(head, head_layout),
    )


def front_end(x_BCHW: Tensor) -> Tensor:
    """What the discriminator looks at, of images that nothing is learned through; bounded in memory."""
    with torch.no_grad():
        return torch.cat([look(part) for part in x_BCHW.split(_ROWS)])


def _head(channels: int, classes: int) -> nn.Module:
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv1=StandardisedConv2d(front_end_maps(channels), HEAD_WIDTH, 3),
            conv1_norm=nn.GroupNorm(1, HEAD_WIDTH),
            relu1=nn.LeakyReLU(_SLOPE),
            pool1=nn.AdaptiveAvgPool2d(HEAD_GRID),
            flatten=nn.Flatten(),
            head=nn.Linear(HEAD_WIDTH * HEAD_GRID**2, classes),
        )
    )
