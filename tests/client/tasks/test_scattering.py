"""The fixed front end: what it computes, and that every image is on its own."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from wardround_client.tasks.classification import scattering
from wardround_client.tasks.classification.scattering import MAPS, scatter


def images(rows, height=32, width=32, seed=0):
    values = np.random.default_rng(seed).random((rows, 1, height, width))
    return torch.from_numpy(values.astype(np.float32))


def morlet(*, sigma, frequency, angle):
    """The wavelet in the plane, as in the paper, on its own small grid."""
    half = math.ceil(5 * sigma)
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    gaussian = np.exp(-(x**2 + y**2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
    wave = gaussian * np.exp(1j * frequency * (x * np.cos(angle) + y * np.sin(angle)))
    return wave - gaussian * wave.sum() / gaussian.sum()


def naive_average(image_HW, *, scale, angle, centre):
    """One value of a map by direct convolution: the modulus, averaged by a Gaussian around ``centre``."""
    wavelet = morlet(sigma=0.8 * 2**scale, frequency=0.75 * np.pi / 2**scale, angle=angle)
    parts = [ndimage.convolve(image_HW, part, mode="mirror") for part in (wavelet.real, wavelet.imag)]
    y, x = np.mgrid[: image_HW.shape[0], : image_HW.shape[1]]
    window = np.exp(-((y - centre) ** 2 + (x - centre) ** 2) / (2 * 3.2**2))
    return np.sum(np.hypot(*parts) * window) / window.sum()


@pytest.mark.parametrize(("index", "scale", "angle"), [(1, 0, 0.0), (4, 0, 3 * np.pi / 4), (6, 1, np.pi / 4)])
def test_a_map_is_the_local_average_of_the_modulus_of_a_wavelet_transform(index, scale, angle):
    x = images(1, 64, 64)
    value = float(scatter(x)[0, index, 3, 3])  # around pixel 8 * 3 + 3.5
    average = naive_average(x[0, 0].double().numpy(), scale=scale, angle=angle, centre=27.5)
    centre, spread = scattering._CENTRE[index], scattering._SPREAD[index]
    assert value == pytest.approx((np.log(average + 0.03) - centre) / spread, abs=1e-2)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (64, 64), (50, 33)])
def test_there_are_thirteen_maps_of_an_eighth_of_the_size(height, width):
    z = scatter(images(2, height, width))
    assert z.shape == (2, MAPS, math.ceil(height / 8), math.ceil(width / 8))
    assert z.dtype == torch.float32
    assert z.abs().max() < 12


@pytest.mark.parametrize("rows", [1, 2, 31, 33])
def test_an_image_has_the_same_bits_in_whatever_batch(rows):
    x = images(40)
    assert torch.equal(scatter(x)[:rows], scatter(x[:rows]))


def test_no_images_give_no_maps():
    assert scatter(images(0)).shape == (0, MAPS, 4, 4)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_image_without_content_is_finite(value):
    assert torch.isfinite(scatter(torch.full((1, 1, 32, 32), value))).all()
