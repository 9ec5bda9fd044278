"""Sealing: what comes back, and what is refused; a second implementation of the format beside it."""

from __future__ import annotations

import io

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st
from keys import DATA, KEY

from wardround_client.sealing import CHUNK_BYTES, HEADER_BYTES, TAG_BYTES, Opened, Sealer, SiteKey
from wardround_common.canonical import encode
from wardround_common.errors import StorageError

CHUNK = CHUNK_BYTES + TAG_BYTES
LENGTHS = (0, 1, 1000, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 3 * CHUNK_BYTES + 5)


def content(length):
    return (b"what a site keeps " * (length // 18 + 1))[:length]


def code_of(sealed, *place, sealer=DATA):
    with pytest.raises(StorageError) as caught:
        sealer.open(sealed, *place)
    return caught.value.code


def chunks_of(sealed):
    body = sealed[HEADER_BYTES:]
    return sealed[:HEADER_BYTES], [body[at : at + CHUNK] for at in range(0, len(body), CHUNK)]


@pytest.mark.parametrize("length", LENGTHS)
def test_what_was_sealed_comes_back(length):
    data = content(length)
    sealed = DATA.seal(data, "there", 7, b"x")
    assert DATA.open(sealed, "there", 7, b"x") == data
    assert len(sealed) == HEADER_BYTES + length + TAG_BYTES * max(1, -(-length // CHUNK_BYTES))
    assert DATA.seal(data, "there", 7, b"x") != sealed


@given(st.lists(st.integers(0, 2 * CHUNK_BYTES + 3), max_size=4))
def test_however_a_content_is_cut_it_is_the_same(lengths):
    parts = [content(length) for length in lengths]
    sealed = b"".join(DATA.sealed(parts, "there"))
    assert DATA.open(sealed, "there") == b"".join(parts)
    opened = Opened(DATA.opened(io.BytesIO(sealed), "there"))
    for part in parts:
        out = bytearray(len(part))
        opened.fill(memoryview(out))
        assert out == part
    opened.end()


def hkdf(secret, *labels):
    """The key of a list of texts or bytes, written down a second time."""
    info = b""
    for label in labels:
        data = label.encode() if isinstance(label, str) else label
        info += (b"s" if isinstance(label, str) else b"b") + len(data).to_bytes(4, "big") + data
    return HKDF(algorithm=SHA256(), length=32, salt=b"wardround streams 1", info=info).derive(secret)


@pytest.mark.parametrize("length", LENGTHS)
def test_the_format_is_the_one_that_is_written_down(length):
    data = content(length)
    header, chunks = chunks_of(DATA.seal(data, "there", 7))
    assert header[:9] == b"\x01" + hkdf(KEY.secret, "id")[:8]
    key = hkdf(hkdf(KEY.secret, "seal", "data", b"p" * 32), "value", header[9:])
    found = b""
    for number, chunk in enumerate(chunks):
        nonce = number.to_bytes(11, "big") + bytes([number == len(chunks) - 1])
        found += AESGCM(key).decrypt(nonce, chunk, header + encode(("there", 7)))
    assert found == data


@pytest.mark.parametrize("length", [0, 40])
def test_no_byte_of_a_sealed_value_can_be_changed_or_cut_off(length):
    sealed = DATA.seal(content(length), "there")
    for place in range(len(sealed)):
        for bit in range(8):
            lie = sealed[:place] + bytes([sealed[place] ^ 1 << bit]) + sealed[place + 1 :]
            wanted = "storage.other_key" if 1 <= place < 9 else "storage.altered"
            assert code_of(lie, "there") == wanted
        assert code_of(sealed[:place], "there") == "storage.altered"
    assert code_of(sealed + b"\0", "there") == "storage.altered"


@pytest.mark.parametrize("length", [3 * CHUNK_BYTES, 3 * CHUNK_BYTES + 5])
def test_no_chunk_can_be_left_out_moved_doubled_or_added(length):
    header, chunks = chunks_of(DATA.seal(content(length), "there"))
    _, others = chunks_of(DATA.seal(content(length), "there"))
    lies = [
        *([header, *chunks[:end]] for end in range(len(chunks))),
        *([header, *chunks[:one], *chunks[one + 1 :]] for one in range(len(chunks))),
        [header, chunks[1], chunks[0], *chunks[2:]],
        [header, chunks[0], *chunks],
        [header, *chunks, chunks[-1]],
        [header, others[0], *chunks[1:]],
        [header, *chunks, b"\0" * CHUNK],
        [header, *chunks, b"\0"],
        [header, *chunks[:-1], chunks[-1][:-1]],
        [header, chunks[0][:-1], *chunks[1:]],
    ]
    assert DATA.open(b"".join([header, *chunks]), "there") == content(length)
    for lie in lies:
        assert code_of(b"".join(lie), "there") == "storage.altered"


def test_the_last_chunk_that_is_left_of_a_cut_file_is_not_given_out():
    header, chunks = chunks_of(DATA.seal(content(2 * CHUNK_BYTES), "there"))
    opened = Opened(DATA.opened(io.BytesIO(header + chunks[0]), "there"))
    with pytest.raises(StorageError) as caught:
        opened.fill(memoryview(bytearray(CHUNK_BYTES)))
    assert caught.value.code == "storage.altered"


def test_a_reader_that_wants_more_or_less_than_there_is_is_told():
    sealed = DATA.seal(content(10), "there")
    opened = Opened(DATA.opened(io.BytesIO(sealed), "there"))
    with pytest.raises(StorageError):
        opened.fill(memoryview(bytearray(11)))
    opened = Opened(DATA.opened(io.BytesIO(sealed), "there"))
    opened.fill(memoryview(bytearray(9)))
    with pytest.raises(StorageError):
        opened.end()


@pytest.mark.parametrize(
    "place", [(), ("here",), ("there", 8), (b"there", 7), ("there", "7"), ("there", 7, 0), ("there7",)]
)
def test_a_value_opens_in_its_own_place_only(place):
    assert code_of(DATA.seal(b"data", "there", 7), *place) == "storage.altered"


@pytest.mark.parametrize("sealer", [KEY.scratch(), KEY.data(b"q" * 32), KEY.data(b"")])
def test_a_value_opens_for_its_own_purpose_and_plan_only(sealer):
    assert code_of(DATA.seal(b"data", "there"), "there", sealer=sealer) == "storage.altered"


def test_another_site_key_opens_nothing_and_is_called_so():
    other = SiteKey(b"t" * 32).data(b"p" * 32)
    assert code_of(DATA.seal(b"data", "there"), "there", sealer=other) == "storage.other_key"


def test_a_sealer_made_of_its_two_parts_is_the_same_and_no_key_is_printed():
    assert Sealer(DATA.key, DATA.site).open(DATA.seal(b"data", "there"), "there") == b"data"
    assert "sss" not in repr(KEY) + str(KEY)
    assert DATA.key.hex() not in repr(DATA)
    assert str(DATA.key) not in repr(DATA)
    assert SiteKey.new().secret != SiteKey.new().secret


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_site_key_has_32_bytes(length):
    with pytest.raises(ValueError, match="32 bytes"):
        SiteKey(bytes(length))
