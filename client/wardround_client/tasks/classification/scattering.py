"""Morlet scattering of order 1: a fixed front end without parameters, so that privacy is spent on few.

An image becomes 13 maps of an eighth of its height and width: its low-pass, and for three scales times four
angles the low-pass of the modulus of its Morlet wavelet transform; then the logarithm, shifted and scaled
by constants.

Rules:

* Every row depends on its own image alone, and is the same bits in whatever batch it is computed.
* Nothing is fitted to patients: filters are those of the reference implementation (kymatio), ``_CENTRE`` and
  ``_SPREAD`` are rounded from phantoms and public chest X-rays. An image is not standardised by its own
  values: that would take away how much fine structure it has, which is what many findings are.

Privacy: features are as private as the image; they stay in memory.

References:
    Bruna and Mallat, PAMI 2013, sections 2.1 and 3.1; Oyallon and Mallat, CVPR 2015, section 2; Tramer and
    Boneh, ICLR 2021 (scattering under differential privacy).
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

SCALES = 3
ANGLES = 4
STRIDE = 2**SCALES
MAPS = 1 + SCALES * ANGLES
_LOG_FLOOR = 0.03
_CENTRE = (-1.4, *(-3.2,) * ANGLES, *(-3.0,) * ANGLES, *(-2.85,) * ANGLES)
_SPREAD = (0.8, *(0.22,) * ANGLES, *(0.31,) * ANGLES, *(0.36,) * ANGLES)
_ROWS = 32


@torch.no_grad()
def scatter(x_BCHW: Tensor) -> Tensor:
    """The scattering maps of every image.

    Args:
        x_BCHW: float32, values 0 to 1, height and width at least 16.

    Returns:
        ``float32[B, 13 C, ceil(H / 8), ceil(W / 8)]``, about -3 to 3, channel by channel.
    """
    rows, channels, height, width = x_BCHW.shape
    grid = (math.ceil(height / STRIDE), math.ceil(width / STRIDE))
    if not rows:  # the Fourier transform refuses an empty batch
        return x_BCHW.new_empty((0, MAPS * channels, *grid))
    planes = x_BCHW.reshape(rows * channels, 1, height, width)
    maps = torch.cat([_scatter_rows(part) for part in planes.split(_ROWS)])
    return maps.view(rows, MAPS * channels, *grid)


def _scatter_rows(x_BCHW: Tensor) -> Tensor:
    _, _, height, width = x_BCHW.shape
    wavelets = _wavelets(height + 2 * STRIDE, width + 2 * STRIDE).to(x_BCHW.device)
    padded = functional.pad(x_BCHW, (STRIDE,) * 4, mode="reflect")
    envelopes = torch.fft.ifft2(torch.fft.fft2(padded) * wavelets).abs()
    maps = torch.cat([x_BCHW, envelopes[..., STRIDE:-STRIDE, STRIDE:-STRIDE]], dim=1)
    low = _low_pass(height).to(maps.device) @ maps @ _low_pass(width).to(maps.device).T
    z = torch.log(low + _LOG_FLOOR)
    return (z - z.new_tensor(_CENTRE).view(-1, 1, 1)) / z.new_tensor(_SPREAD).view(-1, 1, 1)


@cache
def _low_pass(size: int) -> Tensor:
    """Gaussian averages at every eighth pixel, ``float32[ceil(size / 8), size]``, edges mirrored."""
    width = 0.8 * 2 ** (SCALES - 1)
    centres = torch.arange(0, size, STRIDE, dtype=torch.float64) + (STRIDE - 1) / 2
    taps = torch.arange(-STRIDE * 2, size + STRIDE * 2, dtype=torch.float64)
    kernel = torch.exp(-((taps - centres[:, None]) ** 2) / (2 * width**2))
    mirrored = torch.where(taps < 0, -taps - 1, taps)
    mirrored = torch.where(mirrored >= size, 2 * size - 1 - mirrored, mirrored).long().clamp(0, size - 1)
    matrix = torch.zeros(len(centres), size, dtype=torch.float64)
    matrix.index_add_(1, mirrored, kernel / kernel.sum(dim=1, keepdim=True))
    return matrix.float()


@cache
def _wavelets(height: int, width: int) -> Tensor:
    """Fourier transforms of the Morlet wavelets, ``complex64[12, height, width]``."""
    filters = [
        _morlet(height, width, sigma=0.8 * 2**scale, frequency=0.75 * math.pi / 2**scale, angle=angle)
        for scale in range(SCALES)
        for angle in (math.pi * k / ANGLES for k in range(ANGLES))
    ]
    transforms: Tensor = torch.fft.fft2(torch.stack(filters))
    return transforms.to(torch.complex64)


def _morlet(height: int, width: int, *, sigma: float, frequency: float, angle: float) -> Tensor:
    """A plane wave under a Gaussian, its mean removed, on the torus with the origin at [0, 0]."""
    y = torch.fft.fftfreq(height, 1 / height, dtype=torch.float64)[:, None]
    x = torch.fft.fftfreq(width, 1 / width, dtype=torch.float64)[None, :]
    phase = frequency * (x * math.cos(angle) + y * math.sin(angle))
    gaussian = torch.exp(-(x**2 + y**2) / (2 * sigma**2)) / (2 * math.pi * sigma**2)
    wave: Tensor = torch.polar(gaussian, phase)
    return wave - gaussian * (wave.sum() / gaussian.sum())
