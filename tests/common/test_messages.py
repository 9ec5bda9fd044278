"""The wire format: round trips, byte limits, and what a signature covers."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wardround_common.canonical import decode, encode
from wardround_common.errors import ProtocolError
from wardround_common.identity import SigningKey
from wardround_common.messages import (
    CIPHERTEXT_BYTES,
    EXCHANGES,
    MAX_LINKS,
    PARCEL,
    SHARE_BYTES,
    TABLE,
    Abandon,
    Abort,
    Accept,
    Cohort,
    Confirm,
    Confirms,
    Deal,
    DealParcel,
    Envelope,
    Envelopes,
    Hello,
    Masked,
    Open,
    Result,
    RoundContext,
    Signer,
    Start,
    Survivors,
    Wire,
    peek,
    peek_request,
)
from wardround_common.trust import COORDINATOR, SIGNED_LIMIT_BYTES, Member, Roster

KEYS = {
    name: SigningKey.from_seed(hashlib.sha256(name.encode()).digest()) for name in ("a", "b", COORDINATOR)
}
ROSTER = Roster(
    version=1,
    issued="2026-01-01",
    expires="2026-01-31",
    sites=tuple(Member(name, KEYS[name].public) for name in "ab"),
    lead=bytes(32),
    coordinator=KEYS[COORDINATOR].public,
)
CONTEXT = RoundContext(plan_digest=b"p" * 32, round=7, kind="train", attempt=2)
WIRE = Wire(CONTEXT, ROSTER, frozenset("ab"))

_32 = st.binary(min_size=32, max_size=32)
_share = st.binary(min_size=SHARE_BYTES, max_size=SHARE_BYTES)
_cipher = st.binary(min_size=CIPHERTEXT_BYTES, max_size=CIPHERTEXT_BYTES)
_items = st.lists(st.binary(max_size=60), max_size=2).map(tuple)
_size = st.integers(1, 2**40)


def _tuples(of):
    return st.lists(of, max_size=2).map(tuple)


BODIES = {
    Start: st.builds(Start, st.binary(max_size=99), _32, _items, _tuples(_items), st.binary(max_size=60)),
    Hello: st.builds(Hello, _32, _32, _32, _32),
    Cohort: st.builds(Cohort, _items, _items),
    Deal: st.builds(Deal, _32, _tuples(_32), _tuples(_32), _tuples(_32)),
    Envelopes: st.builds(Envelopes, _items, _tuples(_cipher)),
    Masked: st.builds(Masked, _size, _32),
    Survivors: st.builds(Survivors, _items),
    Confirm: st.builds(Confirm),
    Confirms: st.builds(Confirms, _items),
    Open: st.builds(Open, _tuples(_share), _tuples(_share)),
    Result: st.builds(Result, _size, _32, _items),
    Accept: st.builds(Accept, _tuples(st.sampled_from(("a", "site-9"))), _32, _32),
    Abandon: st.builds(Abandon),
    Abort: st.builds(Abort),
}


def sealed(body, *, sender="a", transcript=b"t" * 32, context=CONTEXT, key=None):
    wire = Wire(context, ROSTER, frozenset("ab"))
    return wire.seal(body, transcript=transcript, signer=Signer(sender, key or KEYS[sender]))


@pytest.mark.parametrize("kind", BODIES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_every_message_comes_out_as_it_went_in(kind, data):
    body = data.draw(BODIES[kind])
    message = WIRE.open(sealed(body), kind, transcript=b"t" * 32, sender="a")
    assert message.body == body
    assert encode(message.body) == encode(body)


@pytest.mark.parametrize("kind", BODIES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_no_byte_of_an_envelope_can_be_flipped(kind, data):
    honest = sealed(data.draw(BODIES[kind]))
    place = data.draw(st.integers(0, len(honest) - 1))
    altered = bytearray(honest)
    altered[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ProtocolError):
        WIRE.open(bytes(altered), kind, transcript=b"t" * 32)


@given(junk=st.binary(max_size=400))
def test_junk_is_refused(junk):
    with pytest.raises(ProtocolError):
        WIRE.open(junk, Hello, transcript=b"t" * 32)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_key_or_digest_of_another_length_is_refused(length):
    data = encode((bytes(length), bytes(32), bytes(32), bytes(32)))
    with pytest.raises(ProtocolError) as caught:
        decode(data, Hello, limit_bytes=1000)
    assert caught.value.code == "message.malformed"


def test_a_field_too_many_or_too_few_is_refused():
    for fields in ((bytes(32),) * 3, (bytes(32),) * 5):
        with pytest.raises(ProtocolError):
            decode(encode(fields), Hello, limit_bytes=1000)


def test_the_signature_covers_every_other_field():
    honest = decode(sealed(Confirm()), Envelope, limit_bytes=1000)
    changes = {
        "version": 2, "plan_digest": bytes(32), "round": 8, "kind": "evaluate", "attempt": 3, "type": "open",
        "sender": "b", "transcript": bytes(32), "body": b"",
    }  # fmt: skip
    assert set(changes) | {"signature"} == set(Envelope.__struct_fields__)
    for field, value in changes.items():
        changed = msgspec.structs.replace(honest, **{field: value})
        assert changed.signed_bytes != honest.signed_bytes
    assert msgspec.structs.replace(honest, signature=bytes(64)).signed_bytes == honest.signed_bytes


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (
            sealed(Confirm(), context=msgspec.structs.replace(CONTEXT, plan_digest=bytes(32))),
            "message.other_plan",
        ),
        (sealed(Confirm(), context=msgspec.structs.replace(CONTEXT, round=8)), "message.other_round"),
        (sealed(Confirm(), context=msgspec.structs.replace(CONTEXT, kind="evaluate")), "message.other_kind"),
        (sealed(Confirm(), context=msgspec.structs.replace(CONTEXT, attempt=1)), "message.other_attempt"),
        (sealed(Hello(*(bytes(32),) * 4)), "message.other_type"),
        (sealed(Confirm(), transcript=bytes(32)), "message.other_transcript"),
        (sealed(Confirm(), sender="b"), "message.other_sender"),
        (sealed(Confirm(), key=KEYS["b"]), "identity.bad_signature"),
        (sealed(Confirm()) + b"\x00", "message.malformed"),
        (bytes(513), "message.too_long"),
    ],
)
def test_a_message_that_does_not_belong_here_is_refused_with_the_reason(data, code):
    with pytest.raises(ProtocolError) as caught:
        WIRE.open(data, Confirm, transcript=b"t" * 32, sender="a")
    assert caught.value.code == code


def test_a_body_that_is_not_its_types_is_refused_even_if_it_is_signed():
    lie = msgspec.structs.replace(decode(sealed(Confirm()), Envelope, limit_bytes=999), body=b"\x91\x00")
    lie = msgspec.structs.replace(lie, signature=KEYS["a"].sign("envelope", lie.signed_bytes))
    with pytest.raises(ProtocolError) as caught:
        WIRE.open(encode(lie), Confirm, transcript=b"t" * 32)
    assert caught.value.code == "message.malformed"


def test_a_site_outside_plan_or_roster_cannot_speak():
    only_a = Wire(CONTEXT, ROSTER, frozenset("a"))
    with pytest.raises(ProtocolError) as caught:
        only_a.open(sealed(Confirm(), sender="b"), Confirm, transcript=b"t" * 32, sender="b")
    assert caught.value.code == "message.not_in_plan"
    more = Wire(CONTEXT, ROSTER, frozenset("abc"))
    data = sealed(Confirm(), sender="c", key=KEYS["a"])
    with pytest.raises(ProtocolError) as caught:
        more.open(data, Confirm, transcript=b"t" * 32)
    assert caught.value.code == "trust.stranger"


def test_the_coordinator_signs_as_coordinator_and_never_counts_as_a_site():
    data = sealed(Confirm(), sender=COORDINATOR)
    assert WIRE.open(data, Confirm, transcript=b"t" * 32, sender=COORDINATOR).sender == COORDINATOR
    with pytest.raises(ProtocolError) as caught:
        WIRE.open(data, Confirm, transcript=b"t" * 32)
    assert caught.value.code == "message.other_sender"


def test_lists_of_sites_are_strictly_ascending():
    a, b = sealed(Confirm()), sealed(Confirm(), sender="b")
    assert list(WIRE.open_all((a, b), Confirm, transcript=b"t" * 32)) == ["a", "b"]
    for items, code in (((b, a), "message.not_sorted"), ((a, a), "message.duplicate")):
        with pytest.raises(ProtocolError) as caught:
            WIRE.open_all(items, Confirm, transcript=b"t" * 32)
        assert caught.value.code == code


def test_a_claim_can_be_read_before_it_is_verified():
    data = sealed(Confirm(), key=KEYS["b"])
    assert peek(data, Confirm, sites=2).context == CONTEXT
    assert peek_request(data, sites=2).type == "confirm"
    assert peek_request(sealed(Start(bytes(100_000), bytes(32), (), (), b"")), sites=2).type == "start"


def test_the_table_has_the_messages_of_the_six_exchanges_and_of_the_one_that_closes_an_attempt():
    assert [row.exchange for row in TABLE.values()] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7]
    assert [row.type for row in TABLE.values()][::2] == list(EXCHANGES)
    assert set(TABLE) == set(BODIES)


@pytest.mark.parametrize("n", [1, 3, 10, 100])
def test_the_longest_honest_message_keeps_the_limit_and_the_limit_is_not_lavish(n):
    context = RoundContext(plan_digest=bytes(32), round=2**31 - 1, kind="evaluate", attempt=2**31 - 1)
    name, key = "n" * 40, SigningKey.from_seed(bytes(32))

    def longest(body):
        wire = Wire(context, ROSTER, frozenset({name}))
        return wire.seal(body, transcript=bytes(32), signer=Signer(name, key))

    digests = (bytes(32),) * n
    accept = longest(Accept((name,) * n, bytes(32), bytes(32)))
    hello, deal = longest(Hello(*(bytes(32),) * 4)), longest(Deal(bytes(32), digests, digests, digests))
    masked, confirm = longest(Masked(2**40, bytes(32))), longest(Confirm())
    opened, abort = longest(Open((bytes(SHARE_BYTES),) * n, ())), longest(Abort())
    ciphertexts = (bytes(CIPHERTEXT_BYTES),) * n
    found = {
        Start: longest(
            Start(bytes(SIGNED_LIMIT_BYTES), bytes(32), (accept,) * n, ((accept,) * n,) * MAX_LINKS, hello)
        ),
        Hello: hello,
        Cohort: longest(Cohort((hello,) * n, (abort,) * (4 * n))),
        Deal: deal,
        Envelopes: longest(Envelopes((deal,) * n, ciphertexts)),
        Masked: masked,
        Survivors: longest(Survivors((masked,) * n)),
        Confirm: confirm,
        Confirms: longest(Confirms((confirm,) * n)),
        Open: opened,
        Result: longest(Result(2**40, bytes(32), (opened,) * n)),
        Abandon: longest(Abandon()),
        Abort: abort,
        Accept: accept,
    }
    for kind, data in found.items():
        assert len(data) <= TABLE[kind].limit_bytes(n) < 3 * len(data), kind
    parcel = encode(DealParcel(deal, ciphertexts))
    assert len(parcel) <= PARCEL.limit_bytes(n) < 4 * len(parcel)
