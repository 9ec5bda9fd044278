"""Broken messages: hypothesis strategies that know where MessagePack's headers are, and examples to break.

``mutated`` takes valid bytes apart at element boundaries, also inside byte strings that hold another message,
and puts them together wrongly: lengths that lie, second spellings, other types, deep nesting, splices of two
messages. Enclosing byte strings get a correct length again, so that the damage is reached.

References: MessagePack specification, "Formats".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec
from hypothesis import strategies as st

LENGTHS = (0, 1, 31, 33, 255, 256, 2**16 - 1, 2**16, 2**24, 2**31, 2**32 - 1)
_WIDE = {"array": 0xDD, "map": 0xDF, "bin": 0xC6, "str": 0xDB, "ext": 0xC9}
_TEXTS = ("alder", "2026-01-01", "a" * 64, "x")
ODD = (
    b"\xc0", b"\xc2", b"\xc1", b"\x80", b"\x90", b"\xa0", b"\xc4\x00", b"\xcb" + bytes(8),
    b"\xcb\x7f\xf8" + bytes(6), b"\xcf" + b"\xff" * 8, b"\xd3\x80" + bytes(7), b"\xa2\xff\xfe",
    b"\xd6\xff" + bytes(4), b"\xc7\x0c\xff" + b"\xff" * 12, b"\xd4\x05\x00", b"\x91" * 50 + b"\xc0",
    b"\x91" * 5000 + b"\xc0", b"\x81" * 3000, b"\x81\xa1a" * 2000 + b"\xc0", b"\xa6alder\n", b"\xa1\x00",
)  # fmt: skip
"""Elements that no message has at most of its places."""


@dataclass(frozen=True, slots=True)
class Element:
    """One value: its header is ``data[start:payload]``, it ends before ``end``."""

    start: int
    payload: int
    end: int
    kind: str
    length: int


def elements(data: bytes) -> list[Element]:
    """All values in valid MessagePack, outermost first; nothing where it is not valid."""
    found: list[Element] = []
    try:
        return found if _walk(data, 0, found) == len(data) else []
    except (IndexError, RecursionError):
        return []


def header(kind: str, length: int) -> bytes:
    """The widest header of a kind, whatever length it claims."""
    return bytes((_WIDE[kind],)) + length.to_bytes(4, "big") + (b"\x05" if kind == "ext" else b"")


def wrapped(payload: bytes) -> bytes:
    """Bytes as an honest encoder writes them."""
    return msgspec.msgpack.encode(payload)


@st.composite
def mutated(draw: st.DrawFn, corpus: list[bytes]) -> bytes:
    """One of ``corpus``, broken in one to three ways."""
    data = draw(st.sampled_from(corpus))
    for _ in range(draw(st.integers(1, 3))):
        data = _broken(draw, data, corpus)
    return data


def sample(kind: type) -> Any:
    """An object of a struct type that satisfies its declared limits, with two items in every list."""
    return _build(msgspec.inspect.type_info(kind))


def _broken(draw: st.DrawFn, data: bytes, corpus: list[bytes]) -> bytes:
    inside = [e for e in elements(data) if e.kind == "bin" and elements(data[e.payload : e.end])]
    if inside and draw(st.booleans()):
        chosen = draw(st.sampled_from(inside))
        inner = _broken(draw, data[chosen.payload : chosen.end], corpus)
        return data[: chosen.start] + wrapped(inner) + data[chosen.end :]
    return draw(st.sampled_from(_WAYS))(draw, data, corpus)


def _place(draw: st.DrawFn, data: bytes) -> int:
    return draw(st.integers(0, len(data)))


def _flip(draw: st.DrawFn, data: bytes, corpus: list[bytes]) -> bytes:
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 4)) if data else 0):
        changed[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
    return bytes(changed)


def _cut(draw: st.DrawFn, data: bytes, corpus: list[bytes]) -> bytes:
    one, other = sorted((_place(draw, data), _place(draw, data)))
    return draw(st.sampled_from((data[:one], data[other:], data[:one] + data[other:], data[one:other])))


def _insert(draw: st.DrawFn, data: bytes, corpus: list[bytes]) -> bytes:
    place = _place(draw, data)
    return data[:place] + draw(st.binary(max_size=40)) + data[place:]


def _splice(draw: st.DrawFn, data: bytes, corpus: list[bytes]) -> bytes:
    other = draw(st.sampled_from(corpus))
    return data[: _place(draw, data)] + other[_place(draw, other) :]


def _lie(draw: st.DrawFn, data: bytes, corpus: list[bytes]) -> bytes:
    """Another length, another type, or the same in more bytes than needed."""
    if not (found := elements(data)):
        return data
    e = draw(st.sampled_from(found))
    kind = draw(st.sampled_from((e.kind, e.kind, *_WIDE)))
    length = draw(st.sampled_from((e.length, e.length + 1, max(0, e.length - 1), *LENGTHS)))
    return data[: e.start] + (header(kind, length) if kind in _WIDE else b"\xc1") + data[e.payload :]


def _replace(draw: st.DrawFn, data: bytes, corpus: list[bytes]) -> bytes:
    """Something odd, or an element from elsewhere, in an element's place."""
    if not (found := elements(data)):
        return data
    e, other = draw(st.sampled_from(found)), draw(st.sampled_from(found))
    new = draw(st.sampled_from((*ODD, b"", data[other.start : other.end])))
    return data[: e.start] + new + data[e.end :]


def _multiply(draw: st.DrawFn, data: bytes, corpus: list[bytes]) -> bytes:
    """An array with its contents many times over, correctly counted."""
    arrays = [e for e in elements(data) if e.kind == "array"]
    if not arrays:
        return data
    e = draw(st.sampled_from(arrays))
    times = draw(st.sampled_from((0, 2, 17, 300)))
    count = e.length * times
    head = b"\xdc" + count.to_bytes(2, "big") if 15 < count < 2**16 else bytes((0x90 | count % 16,))
    return data[: e.start] + head + data[e.payload : e.end] * times + data[e.end :]


_WAYS = (_flip, _cut, _insert, _splice, _lie, _lie, _replace, _replace, _multiply)


def _walk(data: bytes, at: int, found: list[Element]) -> int:
    code = data[at]
    kind, width, length, extra = _header(code)
    payload = at + 1 + width + extra
    if width:
        length = int.from_bytes(data[at + 1 : at + 1 + width], "big")
    place = len(found)
    end = payload
    found.append(Element(at, payload, end, kind, length))
    if kind in ("array", "map"):
        for _ in range(length * (2 if kind == "map" else 1)):
            end = _walk(data, end, found)
    else:
        end += length
    if end > len(data):
        raise IndexError("truncated")
    found[place] = Element(at, payload, end, kind, length)
    return end


def _header(code: int) -> tuple[str, int, int, int]:
    """Kind, bytes of its length field, length where there is none, further bytes of the header."""
    for first, last, kind, mask in (
        (0x80, 0x8F, "map", 15), (0x90, 0x9F, "array", 15), (0xA0, 0xBF, "str", 31),
    ):  # fmt: skip
        if first <= code <= last:
            return kind, 0, code & mask, 0
    for first, kind, extra in ((0xC4, "bin", 0), (0xC7, "ext", 1), (0xD9, "str", 0)):
        if first <= code < first + 3:
            return kind, 1 << code - first, 0, extra
    for first, kind in ((0xDC, "array"), (0xDE, "map")):
        if first <= code < first + 2:
            return kind, 2 << code - first, 0, 0
    for first, last, size in ((0xCA, 0xCB, 4), (0xCC, 0xCF, 1), (0xD0, 0xD3, 1)):
        if first <= code <= last:
            return "number", 0, size << code - first, 0
    if 0xD4 <= code <= 0xD8:
        return "ext", 0, 1 << code - 0xD4, 1
    return "number", 0, 0, 0


def _build(info: msgspec.inspect.Type) -> Any:
    match info:
        case msgspec.inspect.Metadata():
            return _build(info.type)
        case msgspec.inspect.StructType():
            return info.cls(**{field.name: _build(field.type) for field in info.fields})
        case msgspec.inspect.BytesType():
            return b"\x07" * (3 if info.min_length is None else info.min_length)
        case msgspec.inspect.StrType():
            return next(text for text in _TEXTS if re.search(info.pattern or "", text))
        case msgspec.inspect.IntType():
            return max(1, info.ge or 0)
        case msgspec.inspect.FloatType():
            return 0.5
        case msgspec.inspect.BoolType():
            return True
        case msgspec.inspect.LiteralType():
            return info.values[0]
        case msgspec.inspect.VarTupleType():
            return (_build(info.item_type),) * 2
        case msgspec.inspect.TupleType():
            return tuple(_build(item) for item in info.item_types)
        case msgspec.inspect.UnionType():
            return _build(info.types[0])
        case msgspec.inspect.NoneType():
            return None
    raise TypeError(f"no example of {info}")
