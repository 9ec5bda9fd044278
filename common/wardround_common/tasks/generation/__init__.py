"""Generation: a conditional generator that draws images of a label, taught by a private discriminator.

Only the discriminator sees patients, through clipped and noised sums; the generator learns from the
discriminator alone, which is post-processing and costs nothing.

Privacy: functions of the plan alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta

from wardround_common.layout import Layout, TensorSpec
from wardround_common.plan_parts import Positive, Share
from wardround_common.tasks.generation.models import DISCRIMINATORS, GENERATORS, LEAST_LATENT, SIZES_PX
from wardround_common.tasks.interface import Planned, TaskPlan, unknown_model

__all__ = ["DISCRIMINATOR", "GENERATOR", "GenerationPlan"]

GENERATOR = "generator."
DISCRIMINATOR = "discriminator."
"""Prefixes of the tensors' names."""


class GenerationPlan(TaskPlan, frozen=True, kw_only=True, tag="generation", tag_field="name"):
    """What a generation adds to the plan. ``recipe`` is the discriminator's: its steps are the noisy ones.

    Everything here is a constant: nothing follows the size or the labels of a batch of patients.
    """

    latent: Annotated[int, Meta(ge=2, le=512)] = 64
    """Length of the latent vector; each model has a least one."""
    discriminator_steps: Annotated[int, Meta(ge=1, le=1000)]
    """Discriminator steps per generator step; ``recipe.local_steps`` is a multiple."""
    fakes: Annotated[int, Meta(ge=1, le=4096)]
    """Generated images in each step of either network."""
    label_prior: tuple[Share, ...] = ()
    """Share of each label among the generated images; empty: all alike."""
    class_loss: Annotated[float, Meta(ge=0, le=100)] = 1.0
    """Weight of telling the labels apart beside telling real from generated, in both networks' losses."""
    generator_learning_rate: Positive = 2e-3
    ema_decay: Annotated[float, Meta(ge=0, lt=1)]
    """Moving average of the generator, decay per generator step."""
    shared: Literal["both", "generator"] = "both"
    """``both``: sites send updates of generator and discriminator. ``generator``: each site keeps a
    discriminator of its own, and nothing of it leaves."""

    def prior(self, plan: Planned) -> tuple[float, ...]:
        """The share of each label, adding up to 1."""
        return self.label_prior or (1.0 / len(plan.labels),) * len(plan.labels)

    def problems(self, plan: Planned) -> Iterator[tuple[str, str]]:
        """See ``TaskPlan.problems``."""
        if plan.input.size_px not in SIZES_PX:
            sizes = " or ".join(map(str, SIZES_PX))
            yield "input.size_px", f"a generator draws images of {sizes} pixels, got {plan.input.size_px}"
        if plan.recipe.local_steps % self.discriminator_steps:
            yield (
                "task.discriminator_steps",
                f"expected a divisor of recipe.local_steps ({plan.recipe.local_steps}), got "
                f"{self.discriminator_steps}",
            )
        least = LEAST_LATENT.get(plan.model.name, 0)
        if self.latent < least:
            yield "task.latent", f"model '{plan.model.name}' takes at least {least}, got {self.latent}"
        prior = self.label_prior
        if prior and (len(prior) != len(plan.labels) or not math.isclose(math.fsum(prior), 1, abs_tol=1e-6)):
            yield "task.label_prior", f"expected {len(plan.labels)} shares that add up to 1, or none"

    def layout(self, plan: Planned) -> Layout:
        """See ``TaskPlan.layout``: the generator, and the discriminator where it is shared."""
        generator = self.generator_layout(plan)
        kept = self.shared == "generator"
        return generator if kept else Layout((*generator.tensors, *self.discriminator_layout(plan).tensors))

    def generator_layout(self, plan: Planned) -> Layout:
        """The generator's tensors; the vector of ``layout`` begins with them.

        Raises:
            ConfigError: ``plan.unknown_model``.
        """
        make = GENERATORS.get(plan.model.name)
        if make is None:
            raise unknown_model(plan.model.name, known=tuple(GENERATORS))
        return _prefixed(GENERATOR, make(plan, self.latent))

    def discriminator_layout(self, plan: Planned) -> Layout:
        """The discriminator's trainable tensors.

        Raises:
            ConfigError: ``plan.unknown_model``.
        """
        make = DISCRIMINATORS.get(plan.model.name)
        if make is None:
            raise unknown_model(plan.model.name, known=tuple(DISCRIMINATORS))
        return _prefixed(DISCRIMINATOR, make(plan))

    def generator_steps(self, plan: Planned) -> int:
        """Generator steps of a round."""
        return plan.recipe.local_steps // self.discriminator_steps

    def average_decay(self, plan: Planned) -> float:
        """See ``TaskPlan.average_decay``: products only, so that every machine has the same bits."""
        return math.prod([self.ema_decay] * self.generator_steps(plan))

    def trains(self, plan: Planned) -> str:
        """See ``TaskPlan.trains``."""
        generator, discriminator = self.generator_layout(plan), self.discriminator_layout(plan)
        return (
            f"A generator ('{plan.model.name}', {generator.size:,} parameters) that draws a synthetic "
            f"{plan.input.described} for a label "
            f"({', '.join(plan.labels)}), taught by a discriminator ({discriminator.size:,} parameters) that "
            f"takes {self.discriminator_steps} steps on patients for each step of the generator"
        )

    def leaves(self, plan: Planned) -> tuple[str, ...]:
        """See ``TaskPlan.leaves``."""
        if self.shared == "generator":
            return (
                "the masked change of the generator, once per round; the discriminator stays at the site",
            )
        return ("the masked change of generator and discriminator, once per round",)

    def promises(self, plan: Planned) -> tuple[str, ...]:
        """See ``TaskPlan.promises``."""
        where = (
            "and it leaves the site only masked, in the sum"
            if self.shared == "both"
            else "and it stays at the site: nobody else sees it"
        )
        return (
            f"Discriminator: the one network that sees patients. Each of its steps uses a clipped and "
            f"noised sum over patients drawn at random, so it keeps the promise of (epsilon, delta) itself, "
            f"{where}.",
            "Generator: never sees a patient's image; it learns from the discriminator alone. By "
            "post-processing it keeps the same promise, and so does every image that it draws, however many.",
        )


def _prefixed(prefix: str, specs: Iterator[TensorSpec]) -> Layout:
    return Layout(tuple(_named(prefix, spec) for spec in specs))


def _named(prefix: str, spec: TensorSpec) -> TensorSpec:
    return TensorSpec(
        name=prefix + spec.name, shape=spec.shape, init=spec.init, fan_in=spec.fan_in, gain=spec.gain
    )
