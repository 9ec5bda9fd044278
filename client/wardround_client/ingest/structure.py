"""Walk over the elements of a DICOM data set without reading their values.

pydicom reads nested sequences by recursion and builds an object for every item, without a limit. So it is
never given a whole file: this walk finds where each top-level element begins and ends, and ``dataset`` hands
over only those on the allow-list. Sequences of undefined length, whose end must be searched, are followed
with a stack instead of recursion, within limits.

Not here: which elements are wanted, what their values mean.

Rules:

* Every length is checked against what is there, before it is used.
* A header whose VR is not two capital letters is read as implicit VR, as PS3.5 section 6.2.2 prescribes
  inside UN and as pydicom does.

Privacy: values are skipped, not copied.

References: DICOM PS3.5 2024e sections 7.1 (data elements), 7.5 (nesting), A.4 (encapsulated pixels).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from wardround_client.ingest import limits
from wardround_client.ingest.reasons import Refusal

_LONG_VRS = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)
_CAPITALS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXEL_DATA = 0x7FE00010


class Element(NamedTuple):
    """Where one element lies: header from ``start``, value from ``value``, next element at ``end``."""

    tag: int
    start: int
    value: int
    end: int


class Encoding(NamedTuple):
    """How headers are written."""

    implicit: bool
    little: bool


def elements(
    data: bytes, start: int, encoding: Encoding, *, only_group: int | None = None
) -> Iterator[Element]:
    """The top-level elements from ``start`` on, up to and with the pixels.

    What follows the pixels (padding, signatures) is not looked at.

    Args:
        data: The file, or the inflated data set.
        start: Where the first element begins.
        encoding: How headers are written.
        only_group: Stop before the first element of another group.

    Raises:
        Refusal: The data ends inside an element, is malformed, or exceeds a limit.
    """
    walk = _Walk(data, encoding)
    position = start
    while position < len(data):
        if only_group is not None and walk.group(position) != only_group:
            return
        tag, value, length = walk.header(position)
        if tag >> 16 == 0xFFFE:
            raise Refusal("file.damaged")
        end = walk.end_of_undefined(value) if length == _UNDEFINED else value + length
        if end > len(data):
            raise Refusal("file.truncated")
        yield Element(tag, position, value, end)
        if tag == PIXEL_DATA:
            return
        position = end


class _Walk:
    """The headers of one data set, counted."""

    def __init__(self, data: bytes, encoding: Encoding) -> None:
        self._data = data
        self._implicit = encoding.implicit
        order = "<" if encoding.little else ">"
        self._tag = struct.Struct(order + "HH").unpack_from
        self._short = struct.Struct(order + "H").unpack_from
        self._long = struct.Struct(order + "L").unpack_from
        self._left = limits.MAX_ELEMENTS

    def group(self, position: int) -> int:
        """Group number of the element at ``position``; -1 behind the end."""
        return self._short(self._data, position)[0] if position + 2 <= len(self._data) else -1

    def header(self, position: int) -> tuple[int, int, int]:
        """Tag, start of the value and its length, of the element at ``position``."""
        self._left -= 1
        if self._left < 0:
            raise Refusal("limit.elements")
        data = self._data
        try:
            group, number = self._tag(data, position)
            tag = group << 16 | number
            vr = data[position + 4 : position + 6]
            if self._implicit or group == 0xFFFE or not _CAPITALS.issuperset(vr):
                return tag, position + 8, self._long(data, position + 4)[0]
            if vr in _LONG_VRS:
                return tag, position + 12, self._long(data, position + 8)[0]
            return tag, position + 8, self._short(data, position + 6)[0]
        except struct.error:
            raise Refusal("file.truncated") from None

    def end_of_undefined(self, position: int) -> int:
        """The position behind a value of undefined length that starts at ``position``."""
        in_item = [False]  # one entry per open level: an item (True) or a sequence (False)
        while in_item:
            tag, value, length = self.header(position)
            position = value
            if tag in (_ITEM_END, _SEQUENCE_END):
                if in_item.pop() != (tag == _ITEM_END):
                    raise Refusal("file.damaged")
                continue
            if (tag == _ITEM) == in_item[-1]:
                raise Refusal("file.damaged")
            if length == _UNDEFINED:
                in_item.append(tag == _ITEM)
                if len(in_item) > limits.MAX_DEPTH:
                    raise Refusal("limit.nesting")
            else:
                position += length
        return position
