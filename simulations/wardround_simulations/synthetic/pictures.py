"""Generated images as eyes see them: grey levels, enlarged until a mark is legible, with the mark in them.

Rules:

* An image is enlarged by a whole factor and without interpolation: every value stays what was generated.
* The mark is white on black contours, so that it is legible on any background. Its letters are Pillow's
  built-in bitmap: the same pixels on every machine.

Privacy: see the package.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from wardround_simulations.synthetic.samples import Samples

MARK = "SYNTHETIC"
SMALLEST_PX = 256
"""Height and width of a marked image are at least this."""

Pixels = npt.NDArray[np.uint8]
"""``[H, W]`` grey or ``[H, W, 3]`` colour."""

_MARK_SHARE = 128
"""One more pixel per dot of the mark for every so many pixels of width."""
_TILE_PX = 96
_COLUMNS = 8
_GAP_PX = 4
_CAPTION_DOT_PX = 2


def pixels(image_CHW: npt.NDArray[np.float32]) -> Pixels:
    """Values 0 to 1 as levels 0 to 255, channels last; one channel becomes ``[H, W]``."""
    levels_HWC = np.rint(np.clip(image_CHW, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    return np.ascontiguousarray(levels_HWC[..., 0] if levels_HWC.shape[2] == 1 else levels_HWC)


def enlargement(height_px: int, width_px: int, smallest_px: int = SMALLEST_PX) -> int:
    """The least whole factor that makes both sides at least ``smallest_px``."""
    return max(1, -(-smallest_px // min(height_px, width_px)))


def enlarged(levels: Pixels, factor: int) -> Pixels:
    """Every pixel as a square of ``factor`` times ``factor``."""
    return levels.repeat(factor, axis=0).repeat(factor, axis=1)


def marked(image_CHW: npt.NDArray[np.float32]) -> Pixels:
    """The image, enlarged, with the mark in its lower left corner."""
    levels = pixels(image_CHW)
    levels = enlarged(levels, enlargement(*levels.shape[:2]))
    dot_px = max(2, levels.shape[1] // _MARK_SHARE)
    ink = np.pad(_letters(MARK, dot_px=dot_px), dot_px)
    corner = levels[-ink.shape[0] :, : ink.shape[1]]
    corner[_grown(ink, dot_px)] = 0
    corner[ink] = 255
    return levels


def sheet(samples: Samples) -> Pixels:
    """Some images of every class that is there, a row each, under the class's name and the mark."""
    height_px, width_px = samples.images_NCHW.shape[2:]
    factor = enlargement(height_px, width_px, _TILE_PX)
    bands = []
    for label, name in enumerate(samples.labels):
        images = samples.images_NCHW[samples.label_N == label][:_COLUMNS]
        if len(images):
            ink = _letters(f"{name} - {MARK}", dot_px=_CAPTION_DOT_PX)
            tiles = [_framed(enlarged(pixels(image_CHW), factor)) for image_CHW in images]
            caption = np.where(ink, 0, 255).astype(np.uint8)
            bands += [_framed(caption), np.concatenate(tiles, axis=1)]
    return _stacked(bands)


def png(levels: Pixels, *, comment: str) -> bytes:
    """A PNG file with a comment in it."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", comment)
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


def _letters(text: str, *, dot_px: int) -> npt.NDArray[np.bool_]:
    """Where the ink of a line of text is, without empty rows and columns around it."""
    canvas = Image.new("L", (8 * len(text) + 8, 24))
    ImageDraw.Draw(canvas).text((0, 0), text, fill=255, font=ImageFont.load_default_imagefont())
    ink = np.asarray(canvas) > 127
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return ink.repeat(dot_px, axis=0).repeat(dot_px, axis=1)


def _grown(ink: npt.NDArray[np.bool_], by_px: int) -> npt.NDArray[np.bool_]:
    """Ink and everything within ``by_px`` rows and columns of it, inside the same frame."""
    steps = (-by_px, 0, by_px)
    shifted = [np.roll(ink, (down, across), axis=(0, 1)) for down in steps for across in steps]
    return np.asarray(np.any(shifted, axis=0), np.bool_)


def _framed(levels: Pixels) -> Pixels:
    sides = ((_GAP_PX, _GAP_PX), (_GAP_PX, _GAP_PX), (0, 0))
    return np.pad(levels, sides[: levels.ndim], constant_values=255)


def _stacked(bands: Sequence[Pixels]) -> Pixels:
    """One below the other, flush left on white; in colour where one of them is."""
    if any(band.ndim == 3 for band in bands):
        bands = [band if band.ndim == 3 else band[..., None].repeat(3, axis=2) for band in bands]
    width_px = max(band.shape[1] for band in bands)
    wide = [
        np.pad(band, ((0, 0), (0, width_px - band.shape[1]), (0, 0))[: band.ndim], constant_values=255)
        for band in bands
    ]
    return np.concatenate(wide)
