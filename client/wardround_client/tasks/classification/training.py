"""A site's part of a TRAIN round: the plan's local steps of private SGD from the global vector.

Per step: draw patients, then one image of each, change it as the plan says, sum the weighted losses, clip
every patient's gradient, noise the sum, divide by the plan's constant, let the optimiser use it.

Rules:

* Every step is taken and noised, an empty batch included; nothing stops early, no loss is read.
* The optimiser starts from zero in every round: between rounds a site keeps no state of the study.
* Neither the number of patients or images nor anything counted among them enters the result, except through
  the noised sum.

Privacy: the update is a function of the start vector and of noised sums; it costs what the ledger was
charged for ``noisy_steps`` steps.

References:
    Abadi et al., CCS 2016, algorithm 1; McMahan et al., ICLR 2018 (federated averaging of private updates).
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from wardround_client.privacy.clipping import PrivateStep
from wardround_client.tasks.batches import PatientBatches
from wardround_client.tasks.classification.networks import Network
from wardround_client.tasks.determinism import deterministic
from wardround_client.tasks.interface import RuntimeFlags, Streams, TrainOutput
from wardround_common.plan import StudyPlan
from wardround_common.tasks.classification import ClassificationPlan


def train(
    plan: StudyPlan,
    *,
    network: Network,
    batches: PatientBatches,
    streams: Streams,
    divisor: float,
    flags: RuntimeFlags,
) -> TrainOutput:
    """Train ``network`` in place for the plan's local steps, with its privacy.

    Args:
        plan: The study's plan.
        network: Holds the global vector.
        batches: Draws the patients of each step.
        streams: The round's private randomness; purpose ``noise``.
        divisor: The plan's expected batch of this site.
        flags: Device and physical batch.

    Raises:
        PrivacyError: The network cannot be clipped.
    """
    start_P = network.vector()
    head, recipe = network.head.to(flags.device), plan.recipe
    optimizer = torch.optim.SGD(head.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum)
    weights_K = class_weights(plan).to(flags.device)
    step = PrivateStep(
        head,
        optimizer,
        loss_sum=partial(weighted_loss_sum, weights_K=weights_K),
        privacy=plan.privacy,
        divisor=divisor,
        physical_batch=flags.physical_batch,
    )
    with deterministic(flags.device):
        for number in range(recipe.local_steps):
            x_B, label_B = batches.draw(number)
            step(x_B.to(flags.device), label_B.to(flags.device), noise=streams("noise", number))
    return TrainOutput(update_P=network.vector() - start_P, noisy_steps=step.optimizer.noisy_steps)


def class_weights(plan: StudyPlan) -> Tensor:
    """The plan's factor on the loss of each class, float32 [K]."""
    return torch.tensor(ClassificationPlan.of(plan).class_weights or [1.0] * len(plan.labels))


def weighted_loss_sum(logits_BL: Tensor, label_B: Tensor, *, weights_K: Tensor) -> Tensor:
    """Cross-entropy of each row times its class weight, summed: a row's gradient depends on no other row.

    Args:
        logits_BL: Logits of classes 1 to K - 1; that of class 0 is zero.
        label_B: Classes.
        weights_K: The plan's class weights.
    """
    losses_B = functional.cross_entropy(functional.pad(logits_BL, (1, 0)), label_B, reduction="none")
    return (losses_B * weights_K[label_B]).sum()
