"""Random changes of images before they are used: flip, turn, shear, zoom, shift, contrast.

Every image takes the same number of uniform numbers from the stream, whatever is switched on, so switching
one change on does not alter the others. A plan with everything off changes no bit of an image.

Not here: when to use it. Under privacy it costs more than it gives for small models (each patient is seen
few times): the built-in recipes leave it off.

Privacy: each image changes by itself; parameters come from the round's private stream.

References:
    Jaderberg et al., NeurIPS 2015, section 3 (affine grids).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from wardround_common.plan import AugmentPlan
from wardround_common.streams import Stream

_DRAWS = 7


def is_off(plan: AugmentPlan) -> bool:
    """Whether the plan leaves images as they are."""
    return plan == AugmentPlan()


def augment(x_BCHW: Tensor, plan: AugmentPlan, stream: Stream) -> Tensor:
    """Change every image at random.

    Args:
        x_BCHW: float32, values 0 to 1; may have no rows.
        plan: Largest angle, shear, zoom, shift and contrast; 0 switches one off.
        stream: The step's augmentation stream; read by seven numbers per image.

    Returns:
        Images of the same shape, values 0 to 1; the same tensor where the plan is off.
    """
    if is_off(plan) or not len(x_BCHW):
        return x_BCHW
    draws = torch.from_numpy(stream.uniform(len(x_BCHW) * _DRAWS)).view(-1, _DRAWS) * 2 - 1
    flip_B, angle_B, shear_B, zoom_B, down_B, right_B, contrast_B = draws.unbind(dim=1)
    mirror_B = torch.where(flip_B < 0, -1.0, 1.0) if plan.flip else torch.ones_like(flip_B)
    matrix_B22 = _matrices(
        mirror_B,
        angle_B * math.radians(plan.rotate_deg),
        torch.tan(shear_B * math.radians(plan.shear_deg)),
        1 + zoom_B * plan.zoom,
    )
    height, width = x_BCHW.shape[-2:]
    shift_B2 = torch.stack(
        [torch.round(right_B * plan.crop_px) * 2 / width, torch.round(down_B * plan.crop_px) * 2 / height],
        dim=1,
    )
    moved = _resample(x_BCHW, torch.cat([matrix_B22, shift_B2[:, :, None]], dim=2))
    return _contrast(moved, 1 + contrast_B * plan.contrast)


def _matrices(mirror_B: Tensor, angle_B: Tensor, shear_B: Tensor, zoom_B: Tensor) -> Tensor:
    """Turn, then shear, then zoom, then mirror, as maps from output to input coordinates."""
    cos, sin = torch.cos(angle_B), torch.sin(angle_B)
    rows = [cos * mirror_B, (cos * shear_B - sin) * mirror_B, sin, sin * shear_B + cos]
    return (torch.stack(rows, dim=1) / zoom_B[:, None]).view(-1, 2, 2)


def _resample(x_BCHW: Tensor, matrix_B23: Tensor) -> Tensor:
    grid = functional.affine_grid(matrix_B23.to(x_BCHW), list(x_BCHW.shape), align_corners=False)
    return functional.grid_sample(x_BCHW, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _contrast(x_BCHW: Tensor, factor_B: Tensor) -> Tensor:
    """Scale every image's distance from its own mean."""
    mean = x_BCHW.mean(dim=(1, 2, 3), keepdim=True)
    factor = factor_B.to(x_BCHW).view(-1, 1, 1, 1)
    return (mean + (x_BCHW - mean) * factor).clamp(0, 1)
