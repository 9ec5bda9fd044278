"""Scale, field of view and orientation of the tensor."""

import numpy as np
import pytest

from wardround_client.ingest.geometry import filling_mm, resample


def test_an_image_that_fits_is_copied_pixel_by_pixel():
    image = np.random.default_rng(0).random((16, 16), np.float32)
    assert np.array_equal(resample(image, spacing_mm=(1, 1), target_mm=1, size_px=16), image)


def test_nothing_is_transposed_or_flipped():
    image = np.zeros((32, 32), np.float32)
    image[2:6, 20:28] = 1  # near the top, right of the middle
    result = resample(image, spacing_mm=(1, 1), target_mm=2, size_px=16)
    rows, columns = np.nonzero(result > 0.5)
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (1, 3, 10, 14)


def test_rows_come_first_in_stored_pixels_too(hospital, make, cr_plan):
    stored = np.zeros((16, 16), np.uint16)
    stored[1, 12] = 4095
    assert np.argwhere(hospital.image(make(stored), plan=cr_plan) > 0.9).tolist() == [[1, 12]]


def test_the_first_spacing_is_that_between_rows():
    image = np.ones((12, 40), np.float32)
    assert resample(image, spacing_mm=(4, 1), target_mm=2, size_px=20).all()
    narrow = resample(image, spacing_mm=(1, 4), target_mm=2, size_px=20)
    assert narrow[7:13].all()
    assert not narrow[:7].any()
    assert not narrow[13:].any()


def test_a_large_image_is_cut_and_a_small_one_padded_around_the_centre():
    image = np.zeros((40, 40), np.float32)
    image[16:24, 16:24] = 1
    cut = resample(image, spacing_mm=(1, 1), target_mm=1, size_px=16)
    assert cut.sum() == 64
    assert cut[4:12, 4:12].all()
    padded = resample(image, spacing_mm=(1, 1), target_mm=1, size_px=64)
    assert padded.sum() == 64
    assert padded[28:36, 28:36].all()


def test_detail_finer_than_a_pixel_is_averaged_not_aliased():
    image = np.indices((128, 128)).sum(0).astype(np.float32) % 2
    result = resample(image, spacing_mm=(1, 1), target_mm=8, size_px=16)
    assert np.allclose(result, 0.5, atol=0.01)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (3, 2), (257, 129)])
@pytest.mark.parametrize("spacing", [(0.001, 0.001), (50, 50), (0.01, 7.3), (1, 1)])
@pytest.mark.parametrize("target", [0.05, 1.0, 300.0])
def test_any_size_and_spacing_gives_the_wanted_shape_and_range(shape, spacing, target):
    result = resample(np.ones(shape, np.float32), spacing_mm=spacing, target_mm=target, size_px=16)
    assert result.shape == (16, 16)
    assert result.dtype == np.float32
    assert 0 <= result.min() <= result.max() <= 1
    assert result.max() > 0.99


@pytest.mark.parametrize("shape", [(1, 1), (1, 16384), (16384, 1), (3, 2), (257, 129), (20, 20)])
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (50.0, 1.0), (0.001, 1.0), (0.02, 0.02)])
def test_an_image_of_any_shape_can_fill_the_tensor(shape, spacing):
    target_mm = filling_mm(*shape, spacing, size_px=16)
    assert resample(np.ones(shape, np.float32), spacing_mm=spacing, target_mm=target_mm, size_px=16).all()
