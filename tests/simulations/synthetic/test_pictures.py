import io

import numpy as np
import pytest
from PIL import Image

from wardround_simulations.synthetic.pictures import enlargement, marked, pixels, png, sheet


@pytest.mark.parametrize(("size_px", "factor"), [(16, 16), (32, 8), (100, 3), (256, 1), (512, 1)])
def test_small_images_are_enlarged_to_at_least_256_pixels(size_px, factor):
    assert enlargement(size_px, size_px) == factor


def test_outside_the_mark_every_pixel_is_a_square_of_what_was_generated(samples):
    image_CHW = samples().images_NCHW[0]
    levels = marked(image_CHW)
    assert np.array_equal(levels[:200:8, ::8], pixels(image_CHW)[:25])
    assert np.array_equal(levels[:, 200:][7::8, 7::8], pixels(image_CHW)[:, 25:])


@pytest.mark.parametrize("grey", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_mark_is_seen_on_any_background(grey, channels):
    levels = marked(np.full((channels, 32, 32), grey, np.float32))
    corner = levels[-24:, :110].reshape(24, 110, -1)
    for value in (0, 255):
        assert (corner == value).all(axis=2).mean() > 0.1
    columns = np.flatnonzero((corner == 255).all(axis=2).any(axis=0))
    assert columns.max() - columns.min() > 90


def test_the_generated_image_itself_stays_unmarked(samples):
    image_CHW = samples(size_px=256).images_NCHW[0]
    before = image_CHW.copy()
    marked(image_CHW)
    assert np.array_equal(image_CHW, before)


def test_the_sheet_has_a_row_for_each_class_that_is_there(samples):
    both, one = sheet(samples(n=6)), sheet(samples(n=6, label_N=np.ones(6, np.int64)))
    assert both.shape[0] == 2 * one.shape[0]
    assert sheet(samples(n=6, channels=3)).ndim == 3


def test_a_png_carries_its_comment(samples):
    image = Image.open(io.BytesIO(png(sheet(samples()), comment="SYNTHETIC: no patient")))
    assert image.text == {"Comment": "SYNTHETIC: no patient"}
