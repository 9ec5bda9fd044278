"""A site that lies, with its own valid key and the production codec, against an honest coordinator and sites.

Every test is one lie, and names the one check that stands against it by its code.
"""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from wardround_common.canonical import decode, encode
from wardround_common.messages import Cohort, DealParcel, Envelopes, Hello, Masked, Opened, Packet
from wardround_common.secagg import transcript
from wardround_common.secagg.ring import vector_digest

replace = msgspec.structs.replace
HEAD = b"l" * 32


def covers(packet):
    return msgspec.msgpack.decode(packet.envelope)[7]


def test_replays_of_another_plan_round_kind_attempt_type_or_version_are_refused(world, refused):
    w = world(3).play("cohort")
    deal = w.sessions["a"].deal(w.requests["a"])
    lies = {
        "message.other_plan": {"plan_digest": b"q" * 32},
        "message.other_round": {"round": 2},
        "message.other_kind": {"kind": "evaluate"},
        "message.other_attempt": {"attempt": 2},
        "message.other_version": {"version": 2},
        "message.other_transcript": {"transcript": b"t" * 32},
        "message.other_type": {"type": "hello"},
    }
    for code, fields in lies.items():
        envelope = decode(deal.envelope, DealParcel, limit_bytes=1 << 20).envelope
        if code == "message.other_type":
            envelope = w.packets["hello"]["a"].envelope
        else:
            envelope = w.reseal(Packet(envelope), **fields).envelope
        lie = replace(decode(deal.envelope, DealParcel, limit_bytes=1 << 20), envelope=envelope)
        with refused(code):
            w.coordinator.take_deal(Packet(encode(lie)), site="a")
    w.coordinator.take_deal(deal, site="a")


def test_a_reply_under_the_name_of_another_site_is_refused(world, refused):
    w = world(3).play("cohort")
    deals = {name: w.sessions[name].deal(w.requests[name]) for name in "ab"}
    with refused("message.other_sender"):
        w.coordinator.take_deal(deals["b"], site="a")
    with refused("identity.bad_signature"):  # signed by b, says it is a
        parcel = decode(deals["b"].envelope, DealParcel, limit_bytes=1 << 20)
        fields = msgspec.msgpack.decode(parcel.envelope)
        fields[6] = "a"
        forged = replace(parcel, envelope=msgspec.msgpack.encode(fields))
        w.coordinator.take_deal(Packet(encode(forged)), site="a")


def test_a_hello_by_a_stranger_or_the_coordinator_is_refused(world, refused):
    w = world(4, members=3).play("start")
    with refused("trust.stranger"):
        w.coordinator.take_hello(w.answer("hello", "d", w.requests["d"]))
    body = Hello(b"1" * 32, b"2" * 32, w.terms.state, HEAD)
    with refused("message.other_sender"):
        w.coordinator.take_hello(Packet(w.say(body, w.terms.t0)))


def test_a_hello_tells_the_coordinator_who_sent_it(world):
    w = world(3).play("start")
    assert w.coordinator.take_hello(w.answer("hello", "c", w.requests["c"])) == "c"


def test_a_hello_from_another_state_is_refused_by_coordinator_and_sites(world, refused, lying_dealer):
    liar = lying_dealer(world(4).play("start"))
    lie = liar.hello(state=b"o" * 32)
    with refused("secagg.peer_state", naming="b"):
        liar.w.coordinator.take_hello(lie, site="b")
    assert_sites_refuse(liar.w, lie, refused, "secagg.peer_state", naming="b")


def test_a_key_that_agrees_on_one_secret_with_everybody_is_refused_by_both(world, refused, lying_dealer):
    for field in ("channel_key", "mask_key"):
        for weak in (bytes(32), (1).to_bytes(32, "little")):
            liar = lying_dealer(world(4).play("start"))
            lie = liar.hello(**{field: weak})
            with refused("secagg.weak_key", naming="b"):
                liar.w.coordinator.take_hello(lie, site="b")
    liar = lying_dealer(world(4).play("start"))
    assert_sites_refuse(liar.w, liar.hello(channel_key=bytes(32)), refused, "secagg.weak_key", naming="b")


def test_a_weak_mask_key_stops_masking_and_names_its_owner(world, refused, lying_dealer):
    liar = lying_dealer(world(4).play("start"))
    w, lie = liar.w, liar.hello(mask_key=bytes(32))
    hellos = hellos_with(w, lie)
    cohort = Packet(w.say(Cohort(tuple(hellos.values()), ()), w.terms.t0))
    parcels = {
        name: decode(w.sessions[name].deal(cohort).envelope, DealParcel, limit_bytes=1 << 20)
        for name in "acd"
    }
    verified = w.terms.wire.open_all(hellos.values(), Hello, transcript=w.terms.t0)
    liar.t1 = transcript.t1(w.terms.t0, verified)
    w.coordinator._hellos, w.coordinator._t = verified, 3
    parcels["b"] = decode(liar.deal().envelope, DealParcel, limit_bytes=1 << 20)
    body = Envelopes(
        tuple(parcels[name].envelope for name in "abcd"),
        tuple(parcels[name].ciphertexts[0] for name in "bcd"),
    )
    with refused("secagg.weak_key", naming="b"):
        w.sessions["a"].masked(Packet(w.say(body, liar.t1)), w.vectors["a"].copy())


def test_a_key_copied_from_another_site_is_refused_by_both(world, refused, lying_dealer):
    liar = lying_dealer(world(4).play("start"))
    w = liar.w
    honest = w.answer("hello", "a", w.requests["a"])
    w.coordinator.take_hello(honest, site="a")
    body = w.terms.wire.open(honest.envelope, Hello, transcript=w.terms.t0).body
    for field in ("channel_key", "mask_key"):
        with refused("secagg.duplicate_key", naming="b"):
            w.coordinator.take_hello(liar.hello(**{field: body.mask_key}), site="b")
    with refused("secagg.duplicate_key", naming="b"):
        w.coordinator.take_hello(liar.hello(mask_key=liar.channel.public), site="b")
    hellos = [honest, liar.hello(mask_key=body.mask_key)]
    hellos += [w.answer("hello", name, w.requests[name]) for name in "cd"]
    with refused("secagg.duplicate_key"):
        cohort = Cohort(tuple(packet.envelope for packet in hellos), ())
        w.sessions["a"].deal(Packet(w.say(cohort, w.terms.t0)))


def hellos_with(w, lie):
    return {
        name: (lie if name == "b" else w.answer("hello", name, w.requests[name])).envelope for name in w.sites
    }


def assert_sites_refuse(w, lie, refused, code, *, naming):
    cohort = Packet(w.say(Cohort(tuple(hellos_with(w, lie).values()), ()), w.terms.t0))
    for name in "acd":
        with refused(code, naming=naming):
            w.sessions[name].deal(cohort)


def test_an_answer_that_was_not_asked_for_or_comes_twice_is_refused(world, refused):
    w = world(5).play("cohort", silent={"e": "hello"})
    with refused("secagg.not_asked"):
        w.coordinator.take_deal(w.reseal(w.sessions["a"].deal(w.requests["a"]), sender="e"), site="e")
    for step, silent in (
        ("hello", None),
        ("deal", None),
        ("masked", None),
        ("confirm", None),
        ("open", None),
    ):
        w = world(5).play(step, silent=silent)
        with refused("secagg.answered_twice", naming="a"):
            w.take(step, "a", w.replies["a"])
    w = world(5).play("accept")
    with refused("secagg.answered_twice"):
        w.take("accept", "a", w.replies["a"])


@pytest.mark.parametrize(
    ("step", "gone_at"), [("masked", "deal"), ("confirm", "masked"), ("open", "confirm"), ("accept", "open")]
)
def test_a_site_that_missed_an_exchange_is_not_let_in_at_the_next(world, refused, step, gone_at):
    w = world(5).play(step, silent={"e": gone_at})
    with refused("secagg.not_asked", naming="e"):
        w.take(step, "e", w.reseal(w.replies["a"], sender="e"))


@pytest.mark.parametrize("step", ["hello", "deal", "masked", "confirm", "open", "accept"])
def test_an_answer_that_comes_too_late_or_too_early_is_refused(world, refused, step):
    w = world(5)
    early = world(5).play(step).replies["a"]
    with refused("secagg.order"):
        w.take(step, "a", early)


def test_an_upload_that_arrives_after_the_survivors_were_named_is_not_added(world, refused):
    w = world(5).play("envelopes")
    late = w.sessions["e"].masked(w.requests["e"], w.vectors["e"].copy())
    for name in "abcd":
        w.take("masked", name, w.answer("masked", name, w.requests[name]))
    w.coordinator.survivors()
    with refused("secagg.order"):
        w.take("masked", "e", late)


def test_the_coordinators_requests_come_in_order(world, refused):
    for step in ("cohort", "envelopes", "survivors", "confirms", "aggregate", "result"):
        with refused("secagg.order"):
            getattr(world(3).coordinator, step)()
    w = world(3).play("cohort")
    with refused("secagg.order"):
        w.coordinator.start()


def test_an_altered_upload_or_one_of_another_length_is_refused(world, refused):
    w = world(3).play("envelopes")
    upload = w.sessions["a"].masked(w.requests["a"], w.vectors["a"].copy())
    altered = upload.array.copy()
    altered[3] ^= 1
    longer = np.zeros(41, dtype=np.uint32)
    t2 = covers(upload)
    size, shape, digest = "secagg.upload_size", "secagg.upload_shape", "secagg.upload_digest"
    lies = (
        (digest, Packet(upload.envelope, altered)),
        (shape, Packet(upload.envelope, None)),
        (shape, Packet(upload.envelope, upload.array[:-1])),
        (shape, Packet(upload.envelope, upload.array.astype(np.int64))),
        (size, Packet(w.say(Masked(41, vector_digest(longer)), t2, by="a"), longer)),
        (size, Packet(w.say(Masked(41, vector_digest(upload.array)), t2, by="a"), upload.array)),
    )
    for code, lie in lies:
        with refused(code, naming="a"):
            w.coordinator.take_masked(lie, site="a")
    for name in w.sites:
        w.coordinator.take_masked(
            upload if name == "a" else w.answer("masked", name, w.requests[name]), site=name
        )
    w.requests = w.ask("survivors")
    for step, after in (("confirm", "confirms"), ("open", "result")):
        for name in w.sites:
            w.take(step, name, w.answer(step, name, w.requests[name]))
        w.requests = w.ask(after)
    assert np.array_equal(w.coordinator.aggregate(), w.expected(w.sites))


def test_an_accept_of_another_outcome_is_refused(world, refused):
    w = world(3).play("result")
    lies = {"next": b"x" * 32, "start": b"x" * 32, "survivors": ("a", "b")}
    for name, request in w.requests.items():
        honest = w.answer("accept", name, request)
        for field, value in lies.items():
            lie = w.reseal(honest, lambda body, field=field, value=value: replace(body, **{field: value}))
            with refused(f"secagg.accept_{field}", naming=name):
                w.take("accept", name, lie)
        w.take("accept", name, honest)


def test_a_message_longer_than_any_honest_one_is_refused_unread(world, refused):
    w = world(3).play("hello")
    with refused("message.too_long"):
        w.coordinator.take_hello(Packet(bytes(100_000)), site="a")
    w = world(3).play("cohort")
    with refused("message.too_long"):
        w.coordinator.take_deal(Packet(bytes(100_000)), site="a")


def test_an_opened_message_keeps_the_bytes_that_were_signed(world):
    w = world(3).play("hello")
    data = w.replies["a"].envelope
    message = w.terms.wire.open(data, Hello, transcript=w.terms.t0)
    assert isinstance(message, Opened)
    assert (message.sender, message.data, message.context) == ("a", data, w.terms.context)
