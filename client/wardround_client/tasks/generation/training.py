"""A site's part of a TRAIN round: private steps of the discriminator, and between them the generator's.

Per discriminator step: draw patients, one image of each, clip every patient's gradient of the loss on real
images, noise the sum, divide by the plan's constant; then add the gradient on generated images, whose number
and labels are constants of the plan. After every ``discriminator_steps`` of them one step of the generator
(``teacher``).

Rules:

* Every discriminator step is taken and noised, an empty batch included; nothing stops early, no loss is read.
* Generated images are drawn anew after each step of the generator. Their gradients are clipped as patients'
  are, so that both sides of the loss weigh alike; they are not noised.
* The optimisers start from zero in every round.

Privacy: the update and the kept discriminator are functions of the start and of noised sums; they cost what
the ledger was charged for ``noisy_steps`` steps.

References:
    Abadi et al., CCS 2016, algorithm 1; Bie et al., TMLR 2023 (more discriminator steps per generator step).
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wardround_client.privacy.clipping import PrivateStep
from wardround_client.tasks.batches import PatientBatches
from wardround_client.tasks.determinism import deterministic
from wardround_client.tasks.generation.networks import Networks, front_end
from wardround_client.tasks.generation.teacher import Teacher, fakeness, of_class, realness
from wardround_client.tasks.interface import NOTHING, RuntimeFlags, Streams, TrainOutput
from wardround_common.plan import StudyPlan
from wardround_common.tasks.generation import GenerationPlan


def train(
    plan: StudyPlan,
    *,
    networks: Networks,
    batches: PatientBatches,
    streams: Streams,
    divisor: float,
    flags: RuntimeFlags,
) -> TrainOutput:
    """Train ``networks`` in place for the plan's local steps.

    Args:
        plan: The study's plan.
        networks: Hold the global vector, or the generator's and the discriminator that was kept here.
        batches: Draws the patients of each discriminator step.
        streams: The round's private randomness; purposes ``noise``, ``fakes`` and ``generator``.
        divisor: The plan's expected batch of this site.
        flags: Device and physical batch.

    Raises:
        PrivacyError: The discriminator cannot be clipped.
    """
    fields, recipe = GenerationPlan.of(plan), plan.recipe
    generator_start, head_start = _vectors(networks)
    generator, head = networks.generator.to(flags.device), networks.head.to(flags.device)
    teacher = Teacher(fields, prior=fields.prior(plan), generator=generator, head=head)
    private = PrivateStep(
        head,
        torch.optim.SGD(head.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum),
        loss_sum=partial(loss_on_patients, class_loss=fields.class_loss),
        privacy=plan.privacy,
        divisor=divisor,
        physical_batch=flags.physical_batch,
    )
    with deterministic(flags.device):
        for number in range(recipe.local_steps):
            place = number % fields.discriminator_steps
            if place == 0:
                images, fake_labels = teacher.images(streams("fakes", number))
                fakes = front_end(images)
            x_B, label_B = batches.draw(number)
            private(
                x_B.to(flags.device),
                label_B.to(flags.device),
                noise=streams("noise", number),
                public=private.public_gradients(fakes, fake_labels, loss_sum=loss_on_fakes),
            )
            if place == fields.discriminator_steps - 1:
                with private.unhooked():
                    teacher.step(streams("generator", number))
    generator_end, head_end = _vectors(networks)
    kept = fields.shared == "generator"
    updates = [generator_end - generator_start] + ([] if kept else [head_end - head_start])
    return TrainOutput(
        update_P=np.concatenate(updates),
        noisy_steps=private.optimizer.noisy_steps,
        local_L=head_end if kept else NOTHING,
    )


def loss_on_patients(scores_BK: Tensor, label_B: Tensor, *, class_loss: float) -> Tensor:
    """The discriminator's loss on real images, summed: a row's gradient depends on no other row."""
    return (realness(scores_BK, label_B) + class_loss * of_class(scores_BK, label_B)).sum()


def loss_on_fakes(scores_BK: Tensor, label_B: Tensor) -> Tensor:
    """The discriminator's loss on generated images, summed."""
    return fakeness(scores_BK, label_B).sum()


def _vectors(networks: Networks) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return networks.generator_parameters.vector(), networks.head_parameters.vector()
