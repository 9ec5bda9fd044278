"""The two networks of ``wardround_common.tasks.generation.models`` in torch.

The discriminator is a fixed front end (``wavelets``) and a trainable head that gives one score per label: how
much the image looks like a real one of that label (a projection discriminator). The generator draws an image
from a latent vector and a label.

Rules:

* Parameters, their order and their shapes are those of the layouts.
* No batch norm: nothing mixes the images of a batch, nothing is kept between batches.

Privacy: no state besides parameters.

References:
    Miyato and Koyama, ICLR 2018 (projection discriminator); de Vries et al., NeurIPS 2017 (normalisation
    conditioned on the class); Odena et al. 2016 (nearest-neighbour upsampling against checkerboards).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from wardround_client.tasks.generation.wavelets import look
from wardround_client.tasks.layers import StandardisedConv2d
from wardround_client.tasks.parameters import Parameters, without_values
from wardround_common.plan import StudyPlan
from wardround_common.tasks.generation import GenerationPlan
from wardround_common.tasks.generation.models import (
    EMBEDDING,
    HEAD_GRID,
    HEAD_WIDTH,
    START,
    front_end_maps,
    generator_widths,
)

_GROUPS = 4
_SLOPE = 0.2
_ROWS = 64
"""Images in one pass of the front end; an image has the same maps in whatever company."""


class ClassNorm(nn.Module):
    """Group norm whose scale and shift belong to the label.

    Args:
        classes: Number of labels.
        channels: Channels, a multiple of 4.
    """

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, channels))
        self.bias = nn.Parameter(torch.empty(classes, channels))

    def forward(self, x_BCHW: Tensor, label_B: Tensor) -> Tensor:
        """Normalise every image by itself."""
        x_BCHW = functional.group_norm(x_BCHW, _GROUPS)
        return x_BCHW * self.weight[label_B][:, :, None, None] + self.bias[label_B][:, :, None, None]


class Generator(nn.Module):
    """Latent vectors and labels to images."""

    def __init__(self, *, size_px: int, channels: int, classes: int, latent: int) -> None:
        super().__init__()
        widths = generator_widths(size_px)
        self.latent = latent
        self.embedding = nn.Parameter(torch.empty(classes, EMBEDDING))
        self.start = nn.Linear(latent + EMBEDDING, widths[0] * START**2)
        self.start_norm = ClassNorm(classes, widths[0])
        self._steps = len(widths) - 1
        for number, (inputs, outputs) in enumerate(pairwise(widths), start=1):
            self.add_module(f"conv{number}", nn.Conv2d(inputs, outputs, 3, padding=1))
            self.add_module(f"conv{number}_norm", ClassNorm(classes, outputs))
        self.out = nn.Conv2d(widths[-1], channels, 3, padding=1)

    def forward(self, z_BL: Tensor, label_B: Tensor) -> Tensor:
        """Draw images, ``[B, C, size_px, size_px]``, values 0 to 1."""
        start = self.start(torch.cat([z_BL, self.embedding[label_B]], dim=1))
        x = self.start_norm(start.unflatten(1, (-1, START, START)), label_B)
        for number in range(1, self._steps + 1):
            x = functional.interpolate(functional.leaky_relu(x, _SLOPE), scale_factor=2, mode="nearest")
            x = self.get_submodule(f"conv{number}")(x)
            x = self.get_submodule(f"conv{number}_norm")(x, label_B)
        return torch.sigmoid(self.out(functional.leaky_relu(x, _SLOPE)))


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
        lambda: Generator(
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
