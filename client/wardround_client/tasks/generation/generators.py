"""The two generators of ``wardround_common.tasks.generation.models``: numbers and a label to an image.

``wavelet`` knows the label in every layer. ``patches`` knows it only in small networks whose patches lie
anywhere on a body that is drawn without it, so that a label can be told by local findings alone.

Rules:

* Parameters, their order and their shapes are those of the layouts.
* No batch norm: nothing mixes the images of a batch, nothing is kept between batches.
* All randomness is in the latent vector, places included.

Privacy: no state besides parameters; they take no image.

References:
    de Vries et al., NeurIPS 2017 (normalisation conditioned on the class); Odena et al. 2016
    (nearest-neighbour upsampling against checkerboards); Jaderberg et al., NeurIPS 2015, section 3.3 (places
    by linear interpolation); Zhang, ICML 2019 (a blur against aliases).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from wardround_common.tasks.generation.models import (
    EMBEDDING,
    PATCH_LATENT,
    PATCH_PLACE,
    PATCH_WIDTHS,
    PATCHES,
    START,
    body_latent,
    generator_widths,
    patch_start,
)

_GROUPS = 4
_SLOPE = 0.2
_MARGIN = 0.15
"""No patch has its centre nearer to an edge than this share of the image."""
_PATCH_GAIN = 2.0
"""On what patches add before the sigmoid: their contrast has to grow in some hundred small steps."""


class Generator(nn.Module):
    """Latent vectors and labels to images.

    Args:
        latent: Length of the latent vector.
    """

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.latent = latent

    def forward(self, z_BL: Tensor, label_B: Tensor) -> Tensor:
        """Draw images, ``[B, C, size_px, size_px]``, values 0 to 1."""
        raise NotImplementedError


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


class WaveletGenerator(Generator):
    """A trunk in which every layer knows the label."""

    def __init__(self, *, size_px: int, channels: int, classes: int, latent: int) -> None:
        super().__init__(latent)
        widths = generator_widths(size_px)
        self.embedding = nn.Parameter(torch.empty(classes, EMBEDDING))
        self.start = nn.Linear(latent + EMBEDDING, widths[0] * START**2)
        self.start_norm = ClassNorm(classes, widths[0])
        self._steps = len(widths) - 1
        for number, (inputs, outputs) in enumerate(pairwise(widths), start=1):
            self.add_module(f"conv{number}", nn.Conv2d(inputs, outputs, 3, padding=1))
            self.add_module(f"conv{number}_norm", ClassNorm(classes, outputs))
        self.out = nn.Conv2d(widths[-1], channels, 3, padding=1)

    def forward(self, z_BL: Tensor, label_B: Tensor) -> Tensor:
        """See ``Generator``."""
        start = self.start(torch.cat([z_BL, self.embedding[label_B]], dim=1))
        x = self.start_norm(start.unflatten(1, (-1, START, START)), label_B)
        for number in range(1, self._steps + 1):
            x = functional.interpolate(functional.leaky_relu(x, _SLOPE), scale_factor=2, mode="nearest")
            x = self.get_submodule(f"conv{number}")(x)
            x = self.get_submodule(f"conv{number}_norm")(x, label_B)
        return torch.sigmoid(self.out(functional.leaky_relu(x, _SLOPE)))


class PatchGenerator(Generator):
    """A body without a label, and on it patches of the label, each at a place of its own."""

    def __init__(self, *, size_px: int, channels: int, classes: int, latent: int) -> None:
        super().__init__(latent)
        widths = generator_widths(size_px)
        self._body_latent, self._size_px, self._classes = body_latent(latent), size_px, classes
        self._patch_start, self._steps = patch_start(size_px), len(widths) - 1
        self.start = nn.Linear(self._body_latent, widths[0] * START**2)
        self.start_norm = nn.GroupNorm(_GROUPS, widths[0])
        for number, (inputs, outputs) in enumerate(pairwise(widths), start=1):
            self.add_module(f"conv{number}", nn.Conv2d(inputs, outputs, 3, padding=1))
            self.add_module(f"conv{number}_norm", nn.GroupNorm(_GROUPS, outputs))
        self.out = nn.Conv2d(widths[-1], channels, 3, padding=1)
        first, last = classes * PATCH_WIDTHS[0], classes * PATCH_WIDTHS[-1]
        self.patch_start = nn.Linear(PATCH_LATENT, first * self._patch_start**2)
        self.patch_start_norm = nn.GroupNorm(classes * _GROUPS, first)
        for number, (inputs, outputs) in enumerate(pairwise(PATCH_WIDTHS), start=1):
            convolution = nn.Conv2d(classes * inputs, classes * outputs, 3, padding=1, groups=classes)
            self.add_module(f"patch{number}", convolution)
            self.add_module(f"patch{number}_norm", nn.GroupNorm(classes * _GROUPS, classes * outputs))
        self.patch_out = nn.Conv2d(last, classes * channels, 3, padding=1, groups=classes)

    def forward(self, z_BL: Tensor, label_B: Tensor) -> Tensor:
        """See ``Generator``."""
        z_BPL = z_BL[:, self._body_latent :].unflatten(1, (PATCHES, PATCH_PLACE + PATCH_LATENT))
        patches = self._patches(z_BPL[..., PATCH_PLACE:], label_B)
        placed = placed_on(patches, z_BPL[..., :PATCH_PLACE], size_px=self._size_px)
        return torch.sigmoid(self._body(z_BL[:, : self._body_latent]) + _PATCH_GAIN * placed)

    def _body(self, z_BL: Tensor) -> Tensor:
        """The body before the sigmoid; smooth, so that fine texture is left to the patches."""
        x = self.start_norm(self.start(z_BL).unflatten(1, (-1, START, START)))
        return smoothed(self.out(functional.leaky_relu(self._grown("conv", self._steps, x), _SLOPE)))

    def _patches(self, z_BPL: Tensor, label_B: Tensor) -> Tensor:
        """Each image's patches of its label, ``[B, P, C, S, S]``, fading out at their edges."""
        start = self.patch_start(z_BPL.flatten(0, 1)).unflatten(1, (-1, self._patch_start, self._patch_start))
        x = self._grown("patch", len(PATCH_WIDTHS) - 1, self.patch_start_norm(start))
        x = self.patch_out(functional.leaky_relu(x, _SLOPE))
        x = x.unflatten(1, (self._classes, -1)).unflatten(0, z_BPL.shape[:2])
        window = _window(x.shape[-1]).to(x.device)
        own: Tensor = x[torch.arange(len(x), device=x.device), :, label_B]
        return own * window

    def _grown(self, name: str, steps: int, x: Tensor) -> Tensor:
        for number in range(1, steps + 1):
            x = functional.interpolate(functional.leaky_relu(x, _SLOPE), scale_factor=2, mode="nearest")
            x = self.get_submodule(f"{name}{number}_norm")(self.get_submodule(f"{name}{number}")(x))
        return x


def placed_on(patches_BPCSS: Tensor, z_BP2: Tensor, *, size_px: int) -> Tensor:
    """The sum of the patches on an empty image, each at its place.

    Args:
        patches_BPCSS: Patches of each image.
        z_BP2: Standard normal numbers: how far down and across; places are uniform inside the margin.
        size_px: Height and width of the image.

    Returns:
        ``float32[B, C, size_px, size_px]``; what lies beyond an edge is cut off.
    """
    side = patches_BPCSS.shape[-1]
    share_BP2 = _MARGIN + (1 - 2 * _MARGIN) * torch.special.ndtr(z_BP2)
    offset_BP2 = share_BP2 * size_px - side / 2
    pixel = torch.arange(size_px, dtype=torch.float32, device=z_BP2.device)
    apart = pixel[:, None] - pixel[:side] - offset_BP2[..., None, None]
    rows, columns = (1 - apart.abs()).clamp(min=0).unbind(2)
    placed: Tensor = (rows[:, :, None] @ patches_BPCSS @ columns[:, :, None].mT).sum(dim=1)
    return placed


def smoothed(x_BCHW: Tensor) -> Tensor:
    """Each pixel with its neighbours, in weights 1, 2, 1 along both axes; edges are repeated."""
    for axis in (2, 3):
        size = x_BCHW.shape[axis]
        wide = torch.cat([x_BCHW.narrow(axis, 0, 1), x_BCHW, x_BCHW.narrow(axis, size - 1, 1)], dim=axis)
        x_BCHW = (wide.narrow(axis, 0, size) + 2 * x_BCHW + wide.narrow(axis, 2, size)) / 4
    return x_BCHW


def _window(side: int) -> Tensor:
    """A parabola along both axes, zero beyond the edges."""
    place = (torch.arange(side) + 0.5) * (2 / side) - 1
    fade = 1 - place.square()
    return fade[:, None] * fade


GENERATORS: dict[str, Callable[..., Generator]] = {"wavelet": WaveletGenerator, "patches": PatchGenerator}
