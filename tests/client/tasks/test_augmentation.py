"""Augmentation: off by default, drawn from the stream, within range."""

import numpy as np
import pytest
import torch

from wardround_client.tasks.augmentation import augment, is_off
from wardround_common.plan import AugmentPlan
from wardround_common.streams import Stream, derive

EVERYTHING = AugmentPlan(flip=True, rotate_deg=15, shear_deg=5, zoom=0.1, crop_px=3, contrast=0.2)
EACH = [
    AugmentPlan(flip=True),
    AugmentPlan(rotate_deg=30),
    AugmentPlan(shear_deg=20),
    AugmentPlan(zoom=0.3),
    AugmentPlan(crop_px=4),
    AugmentPlan(contrast=0.5),
]


def stream(seed=0):
    return Stream(derive(bytes([seed]) * 32, "augment"))


def images(rows=6):
    return torch.from_numpy(np.random.default_rng(3).random((rows, 1, 20, 20)).astype(np.float32))


def blank():
    """A stream whose every number is one half: the middle of each range."""

    class Middle:
        def uniform(self, n):
            return np.full(n, 0.5)

    return Middle()


def test_a_plan_is_off_by_default_and_then_changes_no_bit():
    x = images()
    assert is_off(AugmentPlan())
    assert augment(x, AugmentPlan(), stream()) is x


@pytest.mark.parametrize("plan", [*EACH, EVERYTHING])
def test_images_change_and_keep_shape_and_range(plan):
    x = images()
    changed = augment(x, plan, stream())
    assert changed.shape == x.shape
    assert changed.dtype == torch.float32
    assert 0 <= changed.min() <= changed.max() <= 1
    assert not torch.equal(changed, x)


def test_the_same_stream_gives_the_same_bits_and_another_one_others():
    first, again, other = (augment(images(), EVERYTHING, stream(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_every_image_has_its_own_draw():
    x = images(1).expand(5, -1, -1, -1)
    changed = augment(x, EVERYTHING, stream())
    assert len({tuple(row.flatten().tolist()) for row in changed}) == 5


def test_the_middle_of_every_range_is_the_image_itself():
    x = images()
    torch.testing.assert_close(augment(x, EVERYTHING, blank()), x, atol=1e-5, rtol=0)


def test_a_flip_mirrors_left_and_right():
    x = images(40)
    changed = augment(x, AugmentPlan(flip=True), stream())
    mirrored = [torch.allclose(c, o.flip(-1), atol=1e-5) for c, o in zip(changed, x, strict=True)]
    kept = [torch.allclose(c, o, atol=1e-5) for c, o in zip(changed, x, strict=True)]
    assert all(m != k for m, k in zip(mirrored, kept, strict=True))
    assert 5 < sum(mirrored) < 35


def test_a_shift_moves_by_whole_pixels():
    x = images(10)
    changed = augment(x, AugmentPlan(crop_px=2), stream())
    for before, after in zip(x[:, 0], changed[:, 0], strict=True):
        matches = [
            (dy, dx)
            for dy in range(-2, 3)
            for dx in range(-2, 3)
            if torch.allclose(after[4:16, 4:16], before[4 + dy : 16 + dy, 4 + dx : 16 + dx], atol=1e-4)
        ]
        assert len(matches) == 1


def test_a_quarter_turn_is_a_quarter_turn():
    class Largest:
        def uniform(self, n):
            return np.where(np.arange(n) % 7 == 1, 1.0, 0.5)

    x = images(1)
    turned = augment(x, AugmentPlan(rotate_deg=90), Largest())
    assert torch.allclose(turned, x.rot90(1, (2, 3)), atol=1e-4) or torch.allclose(
        turned, x.rot90(-1, (2, 3)), atol=1e-4
    )


def test_no_images_are_no_error():
    assert augment(images(0), EVERYTHING, stream()).shape == (0, 1, 20, 20)
