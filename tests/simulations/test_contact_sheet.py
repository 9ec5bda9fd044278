"""The contact sheet shows what the model sees, in its colours."""

import io

import numpy as np
import pytest
from PIL import Image

from wardround_client.catalogue import Catalogue, Row
from wardround_common.canonical import digest
from wardround_simulations.results import contact_sheet


@pytest.mark.parametrize(("colour", "mode"), [((0.5,), "L"), ((1.0, 0.5, 0.0), "RGB")])
def test_images_keep_their_colours(colour, mode):
    image_CHW = np.broadcast_to(np.array(colour, np.float32)[:, None, None], (len(colour), 16, 16))
    rows = [
        Row(
            patient_key=digest("patient", bytes([p])),
            scan_key=digest("scan", bytes([p])),
            label=p % 2,
            image_CHW=image_CHW,
        )
        for p in range(30)
    ]
    sheet = Image.open(io.BytesIO(contact_sheet(Catalogue.of(rows))))
    assert sheet.mode == mode
    assert sheet.size == (8 * 6 * 20, 8 * 2 * 20)
    levels = tuple(int(255 * value) for value in colour)
    assert sheet.getpixel((80, 80)) == (levels if len(levels) > 1 else levels[0])
    assert sheet.getpixel((0, 0)) == ((255,) * 3 if len(levels) > 1 else 255)
