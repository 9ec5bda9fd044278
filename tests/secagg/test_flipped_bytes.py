"""Whatever one byte of whichever packet is flipped on its way, its receiver refuses it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wardround_common.errors import ProtocolError
from wardround_common.messages import Packet

REQUESTS = ("start", "cohort", "envelopes", "survivors", "confirms", "result")
REPLIES = ("hello", "deal", "masked", "confirm", "open", "accept")


def flipped(packet, place, bits):
    array = packet.array
    if place < len(packet.envelope):
        altered = bytearray(packet.envelope)
        altered[place] ^= bits
        return Packet(bytes(altered), array)
    words = array.copy().view(np.uint8)
    words[place - len(packet.envelope)] ^= bits
    return Packet(packet.envelope, words.view(np.uint32))


def total_bytes(packet):
    return len(packet.envelope) + (0 if packet.array is None else packet.array.nbytes)


@pytest.mark.parametrize("step", REQUESTS)
def test_no_byte_of_a_request_can_be_flipped(world, step):
    w = world(4, size=20).play(step)
    request, session = w.requests["b"], w.sessions["b"]
    receive = {
        "start": lambda packet: w.begin("b", packet),
        "cohort": session.deal,
        "envelopes": lambda packet: session.masked(packet, w.vectors["b"]),
        "survivors": session.confirm,
        "confirms": session.open,
        "result": lambda packet: session.result(packet, bound=2**31 - 1),
    }[step]

    @settings(max_examples=60, deadline=None)
    @given(place=st.integers(0, total_bytes(request) - 1), bits=st.integers(1, 255))
    def check(place, bits):
        with pytest.raises(ProtocolError):
            receive(flipped(request, place, bits))

    check()
    receive(request)


@pytest.mark.parametrize("step", REPLIES)
def test_no_byte_of_a_reply_can_be_flipped(world, step):
    before = (*REQUESTS, *REPLIES)[REPLIES.index(step)]
    w = world(4, size=20).play(before)
    reply = w.answer(step, "b", w.requests["b"])

    @settings(max_examples=60, deadline=None)
    @given(place=st.integers(0, total_bytes(reply) - 1), bits=st.integers(1, 255))
    def check(place, bits):
        with pytest.raises(ProtocolError):
            w.take(step, "b", flipped(reply, place, bits))

    check()
    w.take(step, "b", reply)
