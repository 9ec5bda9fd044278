"""A coordinator, and a site, sign whatever they like: the other end refuses in our own words and goes on.

Bodies are broken by ``mutations`` and signed with the sender's valid key, so that what is tested lies behind
the signature: bodies that do not decode, and bodies that decode and contradict what was said before.
"""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from mutations import mutated

from wardround_common.canonical import decode, encode
from wardround_common.errors import WardroundError
from wardround_common.identity import SigningKey
from wardround_common.messages import DealParcel, Envelope, Packet
from wardround_common.streams import derive

REQUESTS = ("start", "cohort", "envelopes", "survivors", "confirms", "result")
REPLIES = ("hello", "deal", "masked", "confirm", "open", "accept")
UNHURRIED = (HealthCheck.too_slow, HealthCheck.data_too_large)


def opened(packet):
    """The envelope in a packet, and the parcel around it if there is one."""
    if packet.envelope[0] == 0x92:
        parcel = decode(packet.envelope, DealParcel, limit_bytes=1 << 20)
        return decode(parcel.envelope, Envelope, limit_bytes=1 << 20), parcel
    return decode(packet.envelope, Envelope, limit_bytes=1 << 20), None


def signed(packet, body):
    """The packet with another body, validly signed by its sender."""
    envelope, parcel = opened(packet)
    envelope = msgspec.structs.replace(envelope, body=body)
    key = SigningKey.from_seed(derive(b"k" * 32, envelope.sender))
    data = encode(msgspec.structs.replace(envelope, signature=key.sign("envelope", envelope.signed_bytes)))
    if parcel is not None:
        data = encode(msgspec.structs.replace(parcel, envelope=data))
    return Packet(data, packet.array)


def bodies(packets):
    return [opened(packet)[0].body for packet in packets]


def receiver(w, step):
    """How site b takes a request."""
    session = w.sessions["b"]
    return {
        "start": lambda packet: w.begin("b", packet),
        "cohort": session.deal,
        "envelopes": lambda packet: session.masked(packet, w.vectors["b"].copy()),
        "survivors": session.confirm,
        "confirms": session.open,
        "result": lambda packet: session.result(packet, bound=2**31 - 1),
    }[step]


@pytest.mark.parametrize("step", REQUESTS)
def test_a_site_refuses_what_a_coordinator_signs_at_random(world, step):
    def fresh():
        return world(4, size=20).play(step)

    w = fresh()
    corpus = bodies([*w.requests.values(), w.packets[REQUESTS[0]]["b"]])
    refused = 0

    @settings(max_examples=80, deadline=None, suppress_health_check=UNHURRIED)
    @given(body=mutated(corpus))
    def check(body):
        nonlocal w, refused
        try:
            receiver(w, step)(signed(w.requests["b"], body))
        except WardroundError:
            refused += 1
        else:  # as good as the honest one: the site is past this message
            w = fresh()

    check()
    assert refused > 20
    receiver(w, step)(w.requests["b"])  # nothing that was refused has changed anything


@pytest.mark.parametrize("step", REPLIES)
def test_the_coordinator_refuses_what_a_site_signs_at_random(world, step):
    asking = REQUESTS[REPLIES.index(step)]

    def fresh():
        w = world(4, size=20).play(asking)
        return w, {name: w.answer(step, name, w.requests[name]) for name in w.requests}

    w, replies = fresh()
    refused = 0

    @settings(max_examples=80, deadline=None, suppress_health_check=UNHURRIED)
    @given(body=mutated(bodies(replies.values())))
    def check(body):
        nonlocal w, replies, refused
        try:
            w.take(step, "b", signed(replies["b"], body))
        except WardroundError:
            refused += 1
        else:
            w, replies = fresh()

    check()
    assert refused > 20
    w.take(step, "b", replies["b"])
