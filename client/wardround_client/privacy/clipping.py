"""The clip: every patient's gradient is bounded, summed, noised on the plan's grid, and only then used.

Opacus supplies the gradient of every row (``GradSampleModule``) and the order of a step (``DPOptimizer``:
clip, accumulate, noise, scale, step, with skip signals for physical batches). Four of its parts are
replaced: norms and sums are float64, a row without a finite gradient counts as zero, the noise is the
integer noise of ``noise`` from the site's own stream, and the divisor is a constant of the plan. Its
``make_private`` is not used: it would draw images where the promise is about patients, and divide by how
many there are.

Rules:

* One row of a batch is one patient. Losses are summed over rows; a factor per class belongs to the row's
  loss, before the clip.
* A step is taken, noised and counted whatever was drawn, an empty batch included.
* A network in which rows meet, or that remembers rows, is refused when it is wrapped.
* Nothing here draws a random number except from the noise stream of the step.

Privacy: ``p.grad`` after ``step`` is the released sum over the plan's divisor: what follows (momentum, the
update, any number of further steps on *it*) costs nothing. ``grad_sample`` and the clipped sum are private
and never leave this module.

References:
    Abadi et al., CCS 2016, algorithm 1; Yousefpour et al. 2021 (Opacus); ``noise`` for the grid.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NoReturn

import numpy as np
import numpy.typing as npt
import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from wardround_client.privacy.noise import grid_sum
from wardround_common.errors import PrivacyError
from wardround_common.plan import PrivacyPlan
from wardround_common.streams import Stream

LossSum = Callable[[Tensor, Tensor], Tensor]

_TINY: Final = 1e-300
FloatVector = npt.NDArray[np.float64]


class PatientOptimizer(DPOptimizer):  # type: ignore[misc]  # Opacus has no types
    """Opacus' optimiser with the plan's clip, noise and divisor.

    Formal guarantees: the sum that ``step`` releases is a Gaussian mechanism of ``noise_multiplier`` for
    adding or removing one row: each row's term has a norm of at most ``max_grad_norm`` (up to float64
    rounding, inside ``noise.CLIP_SLACK``).

    ==========================  ======================================================
    edge case                   result
    ==========================  ======================================================
    empty batch                 the zero sum, noised; counted
    row with NaN or infinity    counts as the zero vector
    several physical batches    one step; summed in float64
    second step, same gradient  refused: a gradient is gone once it is summed
    ==========================  ======================================================

    Args:
        optimizer: The optimiser that uses the noised gradient.
        privacy: Clip, noise multiplier and grid of the plan.
        divisor: The plan's expected batch: sample rate times the site's stated patients.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, *, privacy: PrivacyPlan, divisor: float) -> None:
        super().__init__(
            optimizer,
            noise_multiplier=privacy.noise_multiplier,
            max_grad_norm=privacy.max_grad_norm,
            expected_batch_size=None,
            loss_reduction="sum",
        )
        self.noisy_steps = 0
        self._grid_levels = privacy.grid_levels
        self._divisor = divisor
        self._noise: Stream | None = None
        self._public: tuple[Tensor, ...] = ()
        self._clipped_sum: FloatVector = np.zeros(sum(p.numel() for p in self.params))

    @property
    def clipped_sum(self) -> FloatVector:
        """Sum of the clipped gradients since the last step (private)."""
        return self._clipped_sum

    def use_noise(self, stream: Stream) -> None:
        """Give the stream from which the next step, and no other, takes its noise."""
        self._noise = stream

    def add_public(self, gradients: Sequence[Tensor]) -> None:
        """Give gradients that the next step, and no other, adds to the noised and divided sum.

        Nothing of a patient may be in them but what was released: they are neither clipped nor noised.

        Args:
            gradients: One for each parameter, in the order of the network's; none: nothing is added.
        """
        self._public = tuple(gradients)

    def clip_and_accumulate(self) -> None:
        """Clip every row of the physical batch and add them to the sum, in float64."""
        self._clipped_sum += torch.cat(self.take_clipped()).cpu().numpy()

    def take_clipped(self) -> list[Tensor]:
        """The sum over the rows of the last backward pass, each clipped, per parameter, flat, float64.

        Takes the rows' gradients away: they are used once.
        """
        rows = [samples.flatten(1).double() for samples in self.grad_samples]
        norm_B = torch.stack([g.square().sum(dim=1) for g in rows]).sum(dim=0).sqrt()
        usable_B = torch.isfinite(norm_B)
        factor_B = (self.max_grad_norm / norm_B[usable_B].clamp(min=_TINY)).clamp(max=1.0)
        for parameter in self.params:
            parameter.grad_sample = None
        return [factor_B @ g[usable_B] for g in rows]

    def add_noise(self) -> None:
        """Release the sum: on the plan's grid, with integer noise."""
        stream, self._noise = self._noise, None
        if stream is None:
            raise RuntimeError("every step needs a noise stream of its own")
        released_P = grid_sum(
            stream,
            self._clipped_sum,
            max_grad_norm=self.max_grad_norm,
            grid_levels=self._grid_levels,
            noise_multiplier=self.noise_multiplier,
        )
        self._clipped_sum = np.zeros_like(released_P)
        pieces = torch.from_numpy(released_P).split([p.numel() for p in self.params])
        for parameter, piece in zip(self.params, pieces, strict=True):
            parameter.grad = piece.to(parameter).view_as(parameter)
        self.noisy_steps += 1

    def scale_grad(self) -> None:
        """Divide by the plan's constant, never by how many were drawn, and add what no patient is in."""
        public, self._public = self._public, ()
        for parameter in self.params:
            parameter.grad /= self._divisor
        for parameter, gradient in zip(self.params, public, strict=bool(public)):
            parameter.grad += gradient


class PrivateStep:
    """One network, one optimiser, and the only way to step: through clip and noise.

    Args:
        network: The trainable module; wrapped once, for all steps of a round.
        optimizer: Uses the noised gradient; holds exactly the network's parameters.
        loss_sum: Outputs and targets of some rows to the sum of their losses.
        privacy: Clip, noise multiplier and grid of the plan.
        divisor: The plan's expected batch.
        physical_batch: Rows per forward pass. It changes memory and time, not the mechanism: most rows have
            the same bits in whatever batch, some differ by float32 rounding (3e-7 of their norm, measured;
            ``noise.CLIP_SLACK`` pays for it), and then a coordinate may round to the next grid level.

    Raises:
        PrivacyError: ``privacy.unclippable`` where the gradient of one row cannot be bounded.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        loss_sum: LossSum,
        privacy: PrivacyPlan,
        divisor: float,
        physical_batch: int,
    ) -> None:
        check_clippable(network, optimizer)
        self._network = GradSampleModule(network, loss_reduction="sum", strict=True)
        self.optimizer = PatientOptimizer(optimizer, privacy=privacy, divisor=divisor)
        self._loss_sum = loss_sum
        self._physical_batch = physical_batch

    def __call__(
        self, x_B: Tensor, target_B: Tensor, *, noise: Stream, public: Sequence[Tensor] = ()
    ) -> None:
        """Take one step on a batch.

        Args:
            x_B: Inputs, one row per patient; may have no rows.
            target_B: What ``loss_sum`` compares their outputs with.
            noise: The noise stream of this step; used for nothing else.
            public: Gradients of a loss that no patient is in, one for each parameter; added to the noised
                sum after it is divided.
        """
        self.optimizer.use_noise(noise)
        self.optimizer.add_public(public)
        parts = list(zip(x_B.split(self._physical_batch), target_B.split(self._physical_batch), strict=True))
        for number, (x, target) in enumerate(parts, start=1):
            self.optimizer.signal_skip_step(do_skip=number < len(parts))
            with _without_hook_warning():
                self._loss_sum(self._network(x), target).backward()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)

    def public_gradients(self, x_B: Tensor, target_B: Tensor, *, loss_sum: LossSum) -> tuple[Tensor, ...]:
        """The mean of clipped gradients on rows in which no patient is, one tensor for each parameter.

        They are clipped as patients' are, so that both weigh alike in the loss; they are not noised.

        Args:
            x_B: Inputs, at least one row.
            target_B: What ``loss_sum`` compares their outputs with.
            loss_sum: Outputs and targets to the sum of their losses.
        """
        with _without_hook_warning():
            loss_sum(self._network(x_B), target_B).backward()
        clipped = self.optimizer.take_clipped()
        self.optimizer.zero_grad(set_to_none=True)
        pairs = zip(self.optimizer.params, clipped, strict=True)
        return tuple((total / len(x_B)).to(p).view_as(p) for p, total in pairs)

    @contextmanager
    def unhooked(self) -> Iterator[None]:
        """Inside, a pass through the network leaves no gradient of any row."""
        self._network.disable_hooks()
        try:
            yield
        finally:
            self._network.enable_hooks()


@contextmanager
def _without_hook_warning() -> Iterator[None]:
    """The warning that a first layer has no gradient of its input, where Opacus reads none."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        yield


def check_clippable(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Return only if every row's gradient is its own and every trained parameter is noised.

    Raises:
        PrivacyError: ``privacy.unclippable``, naming the first module or parameter that is not so.
    """
    for name, module in network.named_modules():
        if problem := _problem(module):
            _refuse(f"module '{name}' ({type(module).__name__}) {problem}")
    trained = {id(p) for p in network.parameters() if p.requires_grad}
    if trained != {id(p) for group in optimizer.param_groups for p in group["params"]}:
        _refuse("the optimiser's parameters are not the network's trainable ones")


def _problem(module: nn.Module) -> str | None:
    """Why the gradient of one row through ``module`` itself cannot be bounded; None where it can."""
    if isinstance(module, _NormBase):
        return "normalises with other patients' values or keeps them"
    if next(module.buffers(recurse=False), None) is not None:
        return "has a buffer, which a forward pass may change"
    if isinstance(module, _DropoutNd):
        return "draws from torch's generator"
    if getattr(module, "padding_mode", "zeros") != "zeros":
        return "pads in a way that Opacus' gradient leaves out"
    has_parameters = next(module.parameters(recurse=False), None) is not None
    if has_parameters and type(module) not in GradSampleModule.GRAD_SAMPLERS:
        return "has parameters but no gradient per patient"
    return None


def _refuse(reason: str) -> NoReturn:
    raise PrivacyError(
        f"expected a network whose gradient splits into patients: {reason}",
        remedy="Use group norm, zero padding and layers with a registered gradient per patient.",
        code="privacy.unclippable",
    )
