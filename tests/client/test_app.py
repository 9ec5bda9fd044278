"""Packets in Flower records: both word types, and nothing else, from anybody."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from wardround_client import app as at_site
from wardround_common.messages import Packet
from wardround_common.secagg.ring import WORDS
from wardround_server import app as at_coordinator


@pytest.mark.parametrize("word", WORDS.values())
@pytest.mark.parametrize(("sender", "receiver"), [(at_site, at_coordinator), (at_coordinator, at_site)])
def test_words_of_either_ring_arrive_as_they_left(sender, receiver, word):
    vector = np.arange(1000).astype(word)
    packet = receiver._to_packet(sender._to_record(Packet(b"envelope", vector)))
    assert packet.envelope == b"envelope"
    assert packet.array.dtype == word
    assert np.array_equal(packet.array, vector)
    assert receiver._to_packet(sender._to_record(Packet(b"envelope"))).array is None


STRANGE = [
    Array(dtype="int32", shape=(2,), stype="raw", data=bytes(8)),
    Array(dtype="uint64", shape=(1,), stype="raw", data=bytes(8)),
    Array(dtype="uint32", shape=(2,), stype="raw", data=bytes(7)),
    Array(dtype="uint16", shape=(2,), stype="raw", data=bytes(8)),
    Array(dtype="uint16", shape=(2, 2), stype="raw", data=bytes(8)),
    Array(dtype="uint32", shape=(), stype="raw", data=bytes(4)),
    Array(dtype="object", shape=(2,), stype="numpy.ndarray", data=bytes(8)),
]


@pytest.mark.parametrize("array", STRANGE)
def test_an_array_of_no_ring_is_refused(array):
    record = RecordDict({"packet": ConfigRecord({"envelope": b"e"}), "arrays": ArrayRecord({"ring": array})})
    assert at_coordinator._to_packet(record) is None
    assert at_site._to_packet(record) is None
