"""Rows of images as one PNG, for the report.

Privacy: shows the images that it is given.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

GAP_PX = 2
SCALED_TO_PX = 128


def tiles(rows: Sequence[npt.NDArray[np.float32]]) -> bytes:
    """Draw a row of tiles for each array of images.

    Args:
        rows: Arrays [N, C, H, W] of one shape, values 0 to 1, C = 1 or 3.

    Returns:
        PNG; images are enlarged to 128 pixels where they are smaller.
    """
    sheet = np.concatenate([_row(images) for images in rows])
    height = rows[0].shape[2]
    scale = max(1, SCALED_TO_PX // height)
    picture = Image.fromarray(sheet[..., 0] if sheet.shape[2] == 1 else sheet)
    data = io.BytesIO()
    size = (scale * picture.width, scale * picture.height)
    picture.resize(size, Image.Resampling.BICUBIC).save(data, format="PNG")
    return data.getvalue()


def _row(images_NCHW: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    levels = (images_NCHW.transpose(0, 2, 3, 1) * 255).astype(np.uint8)
    framed = np.pad(levels, ((0, 0), (GAP_PX, GAP_PX), (GAP_PX, GAP_PX), (0, 0)), constant_values=255)
    return np.concatenate(list(framed), axis=1)
