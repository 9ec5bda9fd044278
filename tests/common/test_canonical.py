from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardround_common.canonical import convert, decode, digest, encode, read_toml
from wardround_common.errors import ConfigError, ProtocolError


class Pair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    values: tuple[int, ...]


@given(st.text(max_size=20), st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5))
def test_what_is_encoded_decodes_to_the_same(name, values):
    pair = Pair(name, tuple(values))
    assert decode(encode(pair), Pair, limit_bytes=1000) == pair


@given(st.binary(max_size=60))
def test_arbitrary_bytes_decode_to_their_only_spelling_or_are_refused(data):
    try:
        value = decode(data, Pair, limit_bytes=60)
    except ProtocolError:
        return
    assert encode(value) == data


def test_a_second_spelling_of_the_same_object_is_refused():
    data = msgspec.msgpack.encode({"values": [1], "name": "a"})
    with pytest.raises(ProtocolError) as caught:
        decode(data, Pair, limit_bytes=1000)
    assert caught.value.code == "message.not_canonical"


def test_too_long_input_is_refused_unread():
    with pytest.raises(ProtocolError) as caught:
        decode(b"\xc1" * 11, Pair, limit_bytes=10)
    assert caught.value.code == "message.too_long"


def test_deeply_nested_input_is_refused():
    with pytest.raises(ProtocolError) as caught:
        decode(b"\x91" * 100_000, Pair, limit_bytes=200_000)
    assert caught.value.code == "message.malformed"


def test_an_unknown_field_is_refused():
    with pytest.raises(ProtocolError) as caught:
        decode(msgspec.msgpack.encode({"name": "a", "values": [], "x": 1}), Pair, limit_bytes=1000)
    assert caught.value.code == "message.malformed"


def test_digests_differ_by_label_and_by_where_parts_end():
    assert digest("a", b"bc") != digest("a", b"b", b"c")
    assert digest("a", b"bc") != digest("b", b"bc")
    assert digest("a", b"bc").hex() == "a5a6f2e4d84cd916ee6b24db5a16ddf8471d18e4fc678b9979e40c1611afd3a5"


def test_a_configuration_error_names_the_path_of_the_field():
    with pytest.raises(ConfigError, match=r"plan.*values\[1\]"):
        convert({"name": "a", "values": [1, "x"]}, Pair, where="plan")
    with pytest.raises(ConfigError, match="colour"):
        convert({"name": "a", "values": [], "colour": 1}, Pair, where="plan")


@pytest.mark.parametrize(
    ("content", "code"), [(b"a = ", "config.toml"), (b"\xff", "config.toml"), (b"#" * 99, "config.too_long")]
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path, content, code):
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_toml(path, limit_bytes=50)
    assert caught.value.code == code


def test_a_number_too_long_to_be_shown_is_refused(tmp_path):
    class Versioned(msgspec.Struct):
        version: Literal[1]

    path = tmp_path / "x.toml"
    path.write_text("version = 0x" + "f" * 5000)
    with pytest.raises(ConfigError) as caught:
        convert(read_toml(path), Versioned, where="plan")
    assert caught.value.code == "config.field"


@pytest.mark.parametrize("content", ["a = " + "[" * 5000, "a = " + "{b = " * 5000, "a = " + "9" * 5000])
def test_a_file_nested_without_end_or_with_endless_digits_is_refused(tmp_path, content):
    path = tmp_path / "x.toml"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        read_toml(path)
    assert caught.value.code == "config.toml"


def test_a_missing_file_is_refused_with_its_name(tmp_path):
    with pytest.raises(ConfigError, match=r"nothing\.toml"):
        read_toml(tmp_path / "nothing.toml")
