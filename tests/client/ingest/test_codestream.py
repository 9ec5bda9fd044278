"""Compressed pixels: what is decoded, and what is refused before a decoder sees it."""

import io
import struct

import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGExtended12Bit, RLELossless

from wardround_client.ingest import limits
from wardround_client.ingest.acceptance import PixelFormat
from wardround_client.ingest.codestream import check_frame
from wardround_client.ingest.reasons import Refusal


def compressed(make, stored, kind, syntax, **changes):
    """A file whose pixels Pillow compressed."""
    file = io.BytesIO()
    Image.fromarray(stored).save(file, kind, **({"no_jp2": True} if kind == "JPEG2000" else {"quality": 95}))
    dataset = make(stored, bits=stored.dtype.itemsize * 8, **changes)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([file.getvalue()])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return dataset


@pytest.fixture
def stored(draw):
    return draw(bits=8, rows=24, columns=20)


def test_lossless_compression_changes_nothing(hospital, make, stored):
    plain = hospital.image(make(stored, bits=8))
    rle = make(stored, bits=8)
    rle.compress(RLELossless, generate_instance_uid=False)
    assert (hospital.image(rle) == plain).all()
    assert (hospital.image(compressed(make, stored, "JPEG2000", JPEG2000Lossless)) == plain).all()


def test_lossy_compression_changes_little(hospital, make, stored):
    lossy = hospital.image(compressed(make, stored, "JPEG", JPEGBaseline8Bit))
    assert np.abs(lossy - hospital.image(make(stored, bits=8))).mean() < 0.03


@pytest.mark.parametrize(("kind", "syntax"), [("JPEG", JPEGBaseline8Bit), ("JPEG2000", JPEG2000Lossless)])
def test_a_codestream_of_another_size_is_refused_before_decoding(hospital, make, stored, kind, syntax):
    assert hospital.code(compressed(make, stored, kind, syntax, Rows=23)) == "pixels.size_mismatch"


def test_a_codestream_that_claims_a_huge_image_is_refused_before_decoding(hospital, make, stored):
    dataset = compressed(make, stored, "JPEG2000", JPEG2000Lossless)
    size = struct.pack(">LL", 20, 24)
    dataset.PixelData = dataset.PixelData.replace(size, struct.pack(">LL", 65535, 65535), 1)
    assert hospital.code(dataset) == "pixels.size_mismatch"


def test_a_colour_codestream_in_a_grey_image_is_refused(hospital, make, stored):
    file = io.BytesIO()
    Image.fromarray(np.stack([stored] * 3, axis=2)).save(file, "JPEG")
    dataset = compressed(make, stored, "JPEG", JPEGBaseline8Bit)
    dataset.PixelData = encapsulate([file.getvalue()])
    assert hospital.code(dataset) == "pixels.size_mismatch"


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000"])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_a_codestream_that_is_cut_off_is_refused(hospital, make, stored, kind, share):
    syntax = {"JPEG": JPEGBaseline8Bit, "JPEG2000": JPEG2000Lossless}[kind]
    dataset = compressed(make, stored, kind, syntax)
    frame = dataset.PixelData[16:]
    dataset.PixelData = encapsulate([frame[: int(len(frame) * share)]])
    assert hospital.code(dataset) in ("file.truncated", "pixels.undecodable")


def test_pixels_that_no_decoder_reads_are_refused(hospital, make, draw, stored):
    dataset = compressed(make, stored, "JPEG", JPEGExtended12Bit)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    assert hospital.code(dataset) == "pixels.undecodable"
    dataset = compressed(make, stored, "JPEG", JPEGBaseline8Bit)
    dataset.PixelData = encapsulate([b"no codestream at all"])
    assert hospital.code(dataset) == "pixels.undecodable"
    dataset.PixelData = encapsulate([])
    assert hospital.code(dataset) in ("pixels.undecodable", "file.truncated")


def test_a_frame_that_is_longer_than_any_encoding_of_the_image_is_refused():
    sizes = {"rows": 64, "columns": 64, "bits_allocated": 8, "bits_stored": 8}
    form = PixelFormat(**sizes, signed=False, inverted=False, spacing_mm=(1.0, 1.0))
    longest = limits.MAX_ENCODED_SHARE * form.decoded_bytes + limits.ENCODED_SLACK_BYTES
    check_frame(bytes(longest), RLELossless, form)
    with pytest.raises(Refusal) as caught:
        check_frame(bytes(longest + 1), RLELossless, form)
    assert caught.value.code == "limit.decoded_bytes"
