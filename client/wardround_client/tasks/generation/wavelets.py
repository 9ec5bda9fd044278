"""What the discriminator looks at: moduli of wavelets and coarse pixels; fixed, without parameters.

An image becomes an 8 x 8 grid. Per channel 12 maps say how much fine structure there is (the modulus of a
small Morlet wavelet at four angles, at full, half and quarter resolution, averaged and in logarithms), and
16 maps are the image itself at 32 x 32 pixels, 4 x 4 of them in each cell. Privacy is then spent on a small
head.

Rules:

* Every row depends on its own image alone.
* Differentiable: the generator learns through it.
* Nothing is fitted to patients; the constants are rounded from phantoms.

Privacy: features are as private as the image; they stay in memory.

References:
    Bruna and Mallat, PAMI 2013, sections 2.1 and 3.1; Tramer and Boneh, ICLR 2021 (fixed features under
    differential privacy).
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from wardround_common.tasks.generation.models import ANGLES, COARSE, GRID, SCALES

_HALF = 3
_SIGMA, _FREQUENCY = 0.8, 0.75 * math.pi
_BLUR = 0.4
"""Standard deviation of the local averages, in cells of the grid."""
_LOG_FLOOR = 0.03
_CENTRE, _SPREAD = -3.0, 0.4
_COARSE_GAIN = 4.0
_TINY = 1e-6
"""Keeps the modulus differentiable at zero."""


def look(x_BCHW: Tensor) -> Tensor:
    """The maps of every image.

    Args:
        x_BCHW: float32, values 0 to 1, 32 or 64 pixels square; may have no rows.

    Returns:
        ``float32[B, 28 C, 8, 8]``, about -3 to 3: wavelet maps of all channels, then their coarse pixels.
    """
    rows, channels, size, _ = x_BCHW.shape
    level, maps = x_BCHW.reshape(rows * channels, 1, size, size), []
    for _ in range(SCALES):
        maps.append((torch.log(_moduli(level) + _LOG_FLOOR) - _CENTRE) / _SPREAD)
        level = functional.avg_pool2d(level, 2)
    wavelets = torch.cat(maps, dim=1).reshape(rows, channels * SCALES * ANGLES, GRID, GRID)
    coarse = functional.avg_pool2d(x_BCHW, size // (GRID * COARSE))
    cells = coarse.reshape(rows, channels, GRID, COARSE, GRID, COARSE).permute(0, 1, 3, 5, 2, 4)
    coarse = cells.reshape(rows, channels * COARSE**2, GRID, GRID) * _COARSE_GAIN - _COARSE_GAIN / 2
    return torch.cat([wavelets, coarse], dim=1)


def _moduli(x_B1HW: Tensor) -> Tensor:
    """Local averages of the modulus of each wavelet transform, ``[B, 4, 8, 8]``."""
    padded = functional.pad(x_B1HW, (_HALF,) * 4, mode="reflect")
    parts = functional.conv2d(padded, _wavelets().to(x_B1HW.device)).unflatten(1, (ANGLES, 2))
    moduli = (parts.square().sum(dim=2) + _TINY).sqrt()
    average = _averages(moduli.shape[-1]).to(x_B1HW.device)
    averaged: Tensor = average @ moduli @ average.T
    return averaged


@cache
def _wavelets() -> Tensor:
    """Real and imaginary part of a Morlet wavelet at each angle, ``float32[8, 1, 7, 7]``."""
    taps = torch.arange(-_HALF, _HALF + 1, dtype=torch.float64)
    y, x = torch.meshgrid(taps, taps, indexing="ij")
    gaussian = torch.exp(-(x**2 + y**2) / (2 * _SIGMA**2)) / (2 * math.pi * _SIGMA**2)
    parts = []
    for angle in (math.pi * k / ANGLES for k in range(ANGLES)):
        wave = torch.polar(gaussian, _FREQUENCY * (x * math.cos(angle) + y * math.sin(angle)))
        wave = wave - gaussian * (wave.sum() / gaussian.sum())
        parts += [wave.real, wave.imag]
    return torch.stack(parts).float().unsqueeze(1)


@cache
def _averages(size: int) -> Tensor:
    """Gaussian averages around the centre of each cell, ``float32[8, size]``, edges mirrored."""
    cell = size / GRID
    centres = (torch.arange(GRID, dtype=torch.float64) + 0.5) * cell - 0.5
    taps = torch.arange(-size, 2 * size, dtype=torch.float64)
    kernel = torch.exp(-((taps - centres[:, None]) ** 2) / (2 * (_BLUR * cell) ** 2))
    mirrored = torch.where(taps < 0, -taps - 1, taps)
    mirrored = torch.where(mirrored >= size, 2 * size - 1 - mirrored, mirrored).long()
    matrix = torch.zeros(GRID, size, dtype=torch.float64)
    matrix.index_add_(1, mirrored, kernel / kernel.sum(dim=1, keepdim=True))
    return matrix.float()
