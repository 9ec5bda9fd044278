"""The generator's step: it learns from the discriminator, and from nothing else.

Nothing in here can take an image of a patient: a step is a function of the two networks, constants of the
plan and a stream. An import contract keeps catalogue, sampler and clip out of this module.

Privacy: post-processing of the discriminator, whose parameters came out of noised sums: it costs nothing,
however many steps are taken.

References:
    Goodfellow et al., NeurIPS 2014, algorithm 1 (non-saturating loss); Dwork and Roth 2014, proposition 2.1
    (post-processing); Odena et al., ICML 2017 (a term for the class).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from wardround_client.tasks.generation.drawing import labels, latents
from wardround_client.tasks.generation.generators import Generator
from wardround_client.tasks.generation.wavelets import look
from wardround_common.streams import Stream
from wardround_common.tasks.generation import GenerationPlan

Score = Callable[[Tensor], Tensor]

_BETAS = (0.5, 0.99)


class Teacher:
    """Draws images and lets a generator learn what a discriminator says about them.

    Args:
        fields: Images per step, weight of the class term, learning rate.
        prior: Share of each label among the images.
        generator: Learns in place.
        head: The discriminator behind its front end; it is read and not changed.
    """

    def __init__(
        self, fields: GenerationPlan, *, prior: tuple[float, ...], generator: Generator, head: nn.Module
    ) -> None:
        self._fields: Final = fields
        self._prior: Final = prior
        self._generator: Final = generator
        self._head: Final = head
        self._optimizer: Final = torch.optim.Adam(
            generator.parameters(), lr=fields.generator_learning_rate, betas=_BETAS
        )

    def images(self, stream: Stream) -> tuple[Tensor, Tensor]:
        """Images that the generator draws now and their labels; nothing is learned through them."""
        z_BL, label_B = self._draws(stream)
        with torch.no_grad():
            return self._generator(z_BL, label_B), label_B

    def step(self, stream: Stream) -> None:
        """One step of the generator towards images that the discriminator takes for real ones."""
        z_BL, label_B = self._draws(stream)
        scores_BK = self._head(look(self._generator(z_BL, label_B)))
        loss = realness(scores_BK, label_B) + self._fields.class_loss * of_class(scores_BK, label_B)
        parameters = list(self._generator.parameters())
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss.mean(), parameters), strict=True):
            parameter.grad = gradient
        self._optimizer.step()

    def _draws(self, stream: Stream) -> tuple[Tensor, Tensor]:
        device = next(self._generator.parameters()).device
        z_BL = latents(stream, self._fields.fakes, length=self._fields.latent)
        return z_BL.to(device), labels(stream, self._fields.fakes, prior=self._prior).to(device)


def realness(scores_BK: Tensor, label_B: Tensor) -> Tensor:
    """Loss of each row for not looking real: -log of the probability that it is a real image of its label."""
    return functional.softplus(-_own(scores_BK, label_B))


def fakeness(scores_BK: Tensor, label_B: Tensor) -> Tensor:
    """Loss of each row for looking real."""
    return functional.softplus(_own(scores_BK, label_B))


def of_class(scores_BK: Tensor, label_B: Tensor) -> Tensor:
    """Loss of each row for looking like another label."""
    return functional.cross_entropy(scores_BK, label_B, reduction="none")


def _own(scores_BK: Tensor, label_B: Tensor) -> Tensor:
    return scores_BK.gather(1, label_B[:, None])[:, 0]
