"""Files that are broken, or made to break the reader."""

import random
import struct
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import uid
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from wardround_client.ingest import limits
from wardround_client.ingest.scan import Outcome

NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
OPEN_SEQUENCE = b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff"  # (0008,1115), not on the allow-list
OPEN_ITEM = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
OPEN_LUTS = b"\x28\x00\x00\x30SQ\0\0\xff\xff\xff\xff"  # (0028,3000) Modality LUT Sequence
PIXELS = b"\xe0\x7f\x10\x00O"  # (7FE0,0010), VR OB or OW


def inserted(data, addition, *, before=b"\x28\x00\x02\x00US"):
    """``data`` with elements put in before the image attributes."""
    place = data.index(before)
    return data[:place] + addition + data[place:]


@pytest.mark.parametrize("syntax", NATIVE)
def test_every_native_encoding_gives_the_same_tensor(hospital, make, draw, syntax):
    same = {"WindowCenter": 2000, "WindowWidth": 4000}
    reference = hospital.image(make(draw(), **same))
    assert (hospital.image(make(draw(), syntax=syntax, **same)) == reference).all()


@pytest.mark.parametrize(
    "content", [b"", b"DICM", b"\x89PNG" + b"\0" * 500, b"\0" * 128 + b"DICX" + b"\0" * 64]
)
def test_what_is_not_dicom_is_named_as_such(hospital, content):
    assert hospital.code(content) == "file.not_dicom"


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("syntax", NATIVE)
def test_a_truncated_file_is_refused(hospital, make, to_bytes, syntax, share):
    data = to_bytes(make(syntax=syntax))
    assert hospital.code(data[: int(len(data) * share)]) in ("file.truncated", "syntax.missing")


def test_a_file_cut_between_two_elements_has_no_pixels(hospital, make, to_bytes):
    data = to_bytes(make())
    assert hospital.code(data[: data.index(PIXELS)]) == "pixels.missing"


def test_pixel_data_that_is_shorter_than_the_image_is_refused(hospital, make):
    assert hospital.code(make(Rows=17)) == "file.truncated"


@pytest.mark.parametrize("levels", [100, 100_000])
def test_a_bomb_of_nested_sequences_is_refused_without_recursion(hospital, make, to_bytes, levels):
    bomb = (OPEN_SEQUENCE + OPEN_ITEM) * levels
    assert hospital.code(inserted(to_bytes(make()), bomb)) == "limit.nesting"


def test_a_bomb_of_empty_items_is_refused(hospital, make, to_bytes):
    bomb = OPEN_SEQUENCE + b"\xfe\xff\x00\xe0\0\0\0\0" * (limits.MAX_ELEMENTS + 1)
    assert hospital.code(inserted(to_bytes(make()), bomb)) == "limit.elements"


def test_a_bomb_inside_an_item_of_stated_length_is_refused(hospital, make, to_bytes):
    bomb = (OPEN_SEQUENCE + OPEN_ITEM) * 5_000
    item = b"\xfe\xff\x00\xe0" + struct.pack("<L", len(bomb)) + bomb
    tables = b"\x28\x00\x00\x30SQ\0\0" + struct.pack("<L", len(item)) + item
    data = inserted(to_bytes(make()), tables, before=PIXELS)
    assert hospital.code(data) in ("lut.invalid", "file.damaged")


def test_nested_sequences_within_the_limit_are_passed_over(hospital, make, to_bytes):
    close = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    nested = (OPEN_SEQUENCE + OPEN_ITEM) * 7 + close * 7
    assert hospital.code(inserted(to_bytes(make()), nested)) == ""


def test_a_sequence_in_implicit_vr_inside_un_is_passed_over(hospital, make, to_bytes):
    content = OPEN_ITEM + b"\x10\x00\x20\x00" + struct.pack("<L", 2) + b"ID"
    close = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    unknown = b"\x09\x00\x10\x10UN\0\0\xff\xff\xff\xff" + content + close
    assert hospital.code(inserted(to_bytes(make()), unknown, before=b"\x10\x00\x10\x00PN")) == ""


@pytest.mark.parametrize("item", [b"\xfe\xff\x0d\xe0\0\0\0\0", b"\xfe\xff\xdd\xe0\0\0\0\0", OPEN_ITEM])
def test_delimiters_out_of_place_are_refused(hospital, make, to_bytes, item):
    assert hospital.code(inserted(to_bytes(make()), item)) == "file.damaged"
    nested = OPEN_SEQUENCE + OPEN_ITEM + item
    assert hospital.code(inserted(to_bytes(make()), nested)) in ("file.damaged", "limit.elements")


def test_two_values_for_one_attribute_are_refused(hospital, make, to_bytes):
    twice = b"\x10\x00\x20\x00LO\x02\x00P2"
    assert hospital.code(inserted(to_bytes(make()), twice)) == "file.damaged"


def test_a_deflate_bomb_is_refused(hospital, make, to_bytes):
    data = to_bytes(make(syntax=DeflatedExplicitVRLittleEndian))
    meta = data[: _data_set_start(data)]
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    blocks = [deflate.compress(b"\0" * 2**20) for _ in range(limits.MAX_INFLATED_BYTES // 2**20 + 1)]
    bomb = meta + b"".join(blocks) + deflate.flush()
    assert len(bomb) < 2**20
    assert hospital.code(bomb) == "limit.inflated_bytes"


def test_a_deflated_data_set_that_is_none_is_refused(hospital, make, to_bytes):
    data = to_bytes(make(syntax=DeflatedExplicitVRLittleEndian))
    assert hospital.code(data[: _data_set_start(data)] + b"\xff" * 100) == "file.damaged"


def test_a_file_beyond_the_size_limit_is_refused_unread(hospital, make):
    hospital.put("good.dcm", make())
    with (hospital.folder / "large.dcm").open("wb") as file:
        file.truncate(limits.MAX_FILE_BYTES + 1)
    assert [(row.path, row.code) for row in hospital.ingest().rejects] == [("large.dcm", "limit.file_bytes")]


@pytest.mark.parametrize("syntax", [uid.MPEG2MPML, uid.JPIPHTJ2KReferenced, "1.2.3.4.5", "CANARY"])
def test_an_unsupported_transfer_syntax_is_named_as_such(hospital, make, to_bytes, syntax):
    data = to_bytes(make())
    value = syntax.encode() + b"\0" * (len(syntax) % 2)
    meta = b"\x02\x00\x10\x00UI" + struct.pack("<H", len(value)) + value
    rejected = hospital.outcome(data[:132] + meta + data[_data_set_start(data) :]).rejected
    assert (rejected.code, rejected.tag) == ("syntax.unsupported", "(0002,0010)")


def test_a_file_without_transfer_syntax_is_refused(hospital, make, to_bytes):
    data = to_bytes(make()).replace(b"\x02\x00\x10\x00UI", b"\x02\x00\x11\x00UI", 1)
    assert hospital.code(data) == "syntax.missing"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), syntax=st.sampled_from(NATIVE), cuts=st.integers(1, 8))
def test_damaged_bytes_become_a_value_and_never_an_exception(hospital, make, to_bytes, seed, syntax, cuts):
    rng = random.Random(seed)
    data = bytearray(to_bytes(make(syntax=syntax, WindowCenter=1, WindowWidth=2)))
    for _ in range(cuts):
        data[rng.randrange(132, len(data))] = rng.randrange(256)
    assert isinstance(hospital.outcome(bytes(data)), Outcome)


def _data_set_start(data):
    length = struct.unpack_from("<L", data, 140)[0]
    return 144 + length
