"""The lies of a site as a table: each is told to the production coordinator or to other production sites, in
the production codec and under the site's own valid signature, and ends in an error code that no other lie of
the table ends in. The last ones are what a site's own software refuses to say.
"""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from federations import make_plan

from wardround_common.aggregate import Aggregation
from wardround_common.canonical import decode, encode
from wardround_common.errors import WardroundError
from wardround_common.messages import (
    NO_TRANSCRIPT,
    Abort,
    Accept,
    Cohort,
    DealParcel,
    Envelope,
    Hello,
    Masked,
    Packet,
    Signer,
)
from wardround_common.models import layout_of
from wardround_common.secagg.agreement import AgreementKey
from wardround_common.secagg.channel import HeldShares
from wardround_common.secagg.quantiser import Quantiser
from wardround_common.secagg.ring import encode_counts, exceeds, vector_digest
from wardround_common.trust import Member, Roster, sign_roster
from wardround_server.observer import Silent
from wardround_server.study import CoordinatorStudy, StudySetup

replace = msgspec.structs.replace
LIES = {}
HEAD = b"l" * 32


def lie(code):
    """Adds a story to the table; it returns the act that is refused with ``code``."""

    def add(story):
        assert story.__name__ not in LIES
        LIES[story.__name__] = (code, story)
        return story

    return add


def covers(packet):
    return msgspec.msgpack.decode(packet.envelope)[7]


class Stage:
    """Where a lie is told, and who tells it."""

    def __init__(self, world, liar):
        self.world, self.liar = world, liar


# which message it is, and whose


def replied(stage, **fields):
    """A DEAL with other fields in its envelope."""
    w = stage.world(4).play("cohort")
    deal = w.reseal(w.sessions["b"].deal(w.requests["b"]), **fields)
    return lambda: w.coordinator.take_deal(deal, site="b")


@lie("message.other_plan")
def a_reply_about_another_plan(stage):
    return replied(stage, plan_digest=b"q" * 32)


@lie("message.other_round")
def a_reply_of_another_round_replayed(stage):
    return replied(stage, round=2)


@lie("message.other_attempt")
def a_reply_of_another_attempt_replayed(stage):
    return replied(stage, attempt=2)


@lie("message.other_kind")
def a_reply_of_another_kind_of_round(stage):
    return replied(stage, kind="evaluate")


@lie("message.other_version")
def a_reply_of_another_version(stage):
    return replied(stage, version=2)


@lie("message.other_transcript")
def a_reply_about_another_history(stage):
    return replied(stage, transcript=b"t" * 32)


@lie("message.other_type")
def a_hello_in_place_of_a_confirm(stage):
    w = stage.world(4).play("survivors")
    return lambda: w.take("confirm", "b", w.packets["hello"]["b"])


@lie("message.other_sender")
def ones_own_reply_as_another_sites(stage):
    w = stage.world(4).play("survivors")
    mine = w.answer("confirm", "b", w.requests["b"])
    return lambda: w.take("confirm", "a", mine)


@lie("identity.bad_signature")
def a_reply_forged_in_another_sites_name(stage):
    w = stage.world(4).play("survivors")
    fields = msgspec.msgpack.decode(w.answer("confirm", "b", w.requests["b"]).envelope)
    fields[6] = "a"
    return lambda: w.take("confirm", "a", Packet(msgspec.msgpack.encode(fields)))


@lie("trust.stranger")
def a_site_that_is_not_in_the_roster(stage):
    w = stage.world(4, members=3).play("start")
    hello = w.answer("hello", "d", w.requests["d"])
    return lambda: w.coordinator.take_hello(hello)


@lie("message.not_in_plan")
def a_site_that_is_not_in_the_plan(stage):
    w = stage.world(3, members=4).play("start")
    body = Hello(b"1" * 32, b"2" * 32, w.terms.state, HEAD)
    signer = stage.world(4).signers["d"]
    hello = Packet(w.terms.wire.seal(body, transcript=w.terms.t0, signer=signer))
    return lambda: w.coordinator.take_hello(hello)


@lie("message.too_long")
def a_message_longer_than_any_honest_one(stage):
    w = stage.world(4).play("cohort")
    return lambda: w.take("deal", "b", Packet(bytes(100_000)))


@lie("message.malformed")
def a_key_of_another_length(stage):
    w = stage.world(4).play("start")
    envelope = decode(w.answer("hello", "b", w.requests["b"]).envelope, Envelope, limit_bytes=1 << 20)
    envelope = replace(envelope, body=encode((bytes(31), bytes(32), bytes(32), bytes(32))))
    signature = w.signers["b"].key.sign("envelope", envelope.signed_bytes)
    forged = Packet(encode(replace(envelope, signature=signature)))
    return lambda: w.coordinator.take_hello(forged)


@lie("message.not_canonical")
def a_second_spelling_of_a_message(stage):
    w = stage.world(4).play("start")
    data = w.answer("hello", "b", w.requests["b"]).envelope
    return lambda: w.coordinator.take_hello(Packet(b"\xdc\x00\x0a" + data[1:]))


# HELLO


def greeting(stage, **fields):
    liar = stage.liar(stage.world(4).play("start"))
    hello = liar.hello(**fields)
    return lambda: liar.w.coordinator.take_hello(hello, site="b")


@lie("secagg.peer_state")
def a_hello_from_another_state(stage):
    return greeting(stage, state=b"o" * 32)


@lie("secagg.weak_key")
def a_key_of_low_order(stage):
    return greeting(stage, mask_key=bytes(32))


@lie("secagg.duplicate_key")
def a_key_copied_from_another_site(stage):
    liar = stage.liar(stage.world(4).play("start"))
    w = liar.w
    honest = w.answer("hello", "a", w.requests["a"])
    w.coordinator.take_hello(honest, site="a")
    body = w.terms.wire.open(honest.envelope, Hello, transcript=w.terms.t0).body
    hello = liar.hello(mask_key=body.mask_key)
    return lambda: w.coordinator.take_hello(hello, site="b")


# when


@lie("secagg.answered_twice")
def a_double_upload(stage):
    w = stage.world(4).play("masked")
    return lambda: w.take("masked", "b", w.replies["b"])


@lie("secagg.not_asked")
def an_upload_of_a_site_that_did_not_deal(stage):
    w = stage.world(5).play("envelopes", silent={"e": "deal"})
    vector = np.zeros(40, dtype=np.uint32)
    upload = w.say(Masked(40, vector_digest(vector)), w.coordinator._t2, by="e")
    return lambda: w.take("masked", "e", Packet(upload, vector))


@lie("secagg.order")
def an_upload_after_the_survivors_were_named(stage):
    w = stage.world(5).play("envelopes")
    late = w.answer("masked", "e", w.requests["e"])
    for name in "abcd":
        w.take("masked", name, w.answer("masked", name, w.requests[name]))
    w.coordinator.survivors()
    return lambda: w.take("masked", "e", late)


# DEAL


@lie("secagg.deal_shape")
def a_deal_for_another_number_of_sites(stage):
    w = stage.world(4).play("cohort")
    deal = w.reseal(
        w.sessions["b"].deal(w.requests["b"]), lambda body: replace(body, key_shares=body.key_shares[:-1])
    )
    return lambda: w.coordinator.take_deal(deal, site="b")


@lie("secagg.ciphertext_altered")
def ciphertexts_other_than_the_signed_ones(stage):
    w = stage.world(4).play("cohort")
    parcel = decode(w.sessions["b"].deal(w.requests["b"]).envelope, DealParcel, limit_bytes=1 << 20)
    other = Packet(encode(replace(parcel, ciphertexts=parcel.ciphertexts[::-1])))
    return lambda: w.coordinator.take_deal(other, site="b")


@lie("secagg.bad_ciphertext")
def a_ciphertext_that_its_recipient_cannot_open(stage):
    liar = stage.liar(stage.world(4))
    liar.join()
    liar.channel = AgreementKey(b"\x07" * 32)  # not the one in HELLO
    mine, w = liar.deal(), liar.w
    for name in w.sites:
        w.coordinator.take_deal(mine if name == "b" else w.sessions[name].deal(w.requests[name]), site=name)
    requests = w.ask("envelopes")
    return lambda: w.sessions["a"].masked(requests["a"], w.vectors["a"].copy())


@lie("secagg.wrong_share")
def a_wrong_share_dealt(stage):
    def to_c(shares):
        return {**shares, "c": HeldShares(bytes(33), shares["c"].seed)}

    liar = stage.liar(stage.world(4))
    requests = liar.finish_dealing(sealed=to_c)
    return lambda: liar.w.sessions["c"].masked(requests["c"], liar.w.vectors["c"].copy())


@lie("secagg.unrecoverable")
def shares_that_do_not_fit_together(stage):
    def all_wrong(shares):
        return {
            name: HeldShares((i + 5).to_bytes(33, "big"), shares[name].seed) for i, name in enumerate(shares)
        }

    liar = stage.liar(stage.world(5))
    liar.finish_dealing(committed=all_wrong)
    w = liar.w
    for step, after in (("masked", "survivors"), ("confirm", "confirms"), ("open", None)):
        for name in "acde":
            w.take(step, name, w.answer(step, name, w.requests[name]))
        w.requests = w.ask(after) if after else {}
    return w.coordinator.aggregate


# MASKED


def uploading(stage, change):
    w = stage.world(4).play("envelopes")
    honest = w.answer("masked", "b", w.requests["b"])
    return lambda: w.take("masked", "b", change(w, honest))


@lie("secagg.upload_digest")
def a_garbage_upload(stage):
    return uploading(stage, lambda w, honest: Packet(honest.envelope, np.zeros(40, dtype=np.uint32)))


@lie("secagg.upload_size")
def an_oversized_update(stage):
    def longer(w, honest):
        vector = np.zeros(41, dtype=np.uint32)
        return Packet(w.say(Masked(41, vector_digest(vector)), covers(honest), by="b"), vector)

    return uploading(stage, longer)


@lie("secagg.upload_shape")
def an_upload_without_its_vector(stage):
    return uploading(stage, lambda w, honest: Packet(honest.envelope))


@lie("secagg.bad_sum")
def an_upload_of_noise_that_is_signed_as_it_should_be(stage):
    """Nobody sees whose it is; the sum shows that it is there."""

    plan = make_plan(4)
    roster = Roster(
        version=1,
        issued="2026-01-01",
        expires="2026-01-30",
        sites=(Member("alder", HEAD),),
        lead=b"1" * 32,
        coordinator=b"2" * 32,
    )
    w = stage.world(3)
    signed = sign_roster(roster, w.signers["a"].key)
    setup = StudySetup(plan=plan, signer=w.signers["a"], roster=lambda: signed)
    study = CoordinatorStudy(setup, Silent())
    names = tuple(site.name for site in plan.sites)
    total = np.full(layout_of(plan).size, 2**31, dtype=np.uint32)
    assert exceeds(total, Aggregation(plan).bound("train", names))
    return lambda: study._next(total, names, kind="train")


@lie("secagg.sum_out_of_range")
def the_same_at_the_other_sites(stage):
    w = stage.world(4).play("envelopes")
    w.vectors["b"] = np.full(40, 2**31, dtype=np.uint32)
    for step, after in (("masked", "survivors"), ("confirm", "confirms"), ("open", "result")):
        for name in w.sites:
            w.take(step, name, w.answer(step, name, w.requests[name]))
        w.requests = w.ask(after)
    return lambda: w.sessions["a"].result(w.requests["a"], bound=2**22)


# CONFIRM, OPEN, ACCEPT


@lie("secagg.wrong_opened_share")
def a_wrong_share_opened(stage):
    w = stage.world(5).play("confirms")
    honest = w.answer("open", "b", w.requests["b"])
    wrong = w.reseal(honest, lambda body: replace(body, seed_shares=(bytes(33), *body.seed_shares[1:])))
    return lambda: w.take("open", "b", wrong)


@lie("secagg.open_shape")
def a_share_withheld(stage):
    w = stage.world(5).play("confirms")
    honest = w.answer("open", "b", w.requests["b"])
    fewer = w.reseal(honest, lambda body: replace(body, seed_shares=body.seed_shares[1:]))
    return lambda: w.take("open", "b", fewer)


def accepting(stage, **fields):
    w = stage.world(4).play("result")
    honest = w.answer("accept", "b", w.requests["b"])
    return lambda: w.take("accept", "b", w.reseal(honest, lambda body: replace(body, **fields)))


@lie("secagg.accept_next")
def an_accept_of_another_outcome(stage):
    return accepting(stage, next=b"x" * 32)


@lie("secagg.accept_start")
def an_accept_from_another_start(stage):
    return accepting(stage, start=b"x" * 32)


@lie("secagg.accept_survivors")
def an_accept_of_other_survivors(stage):
    return accepting(stage, survivors=("a", "b"))


@lie("secagg.not_in_accept")
def an_accept_by_a_site_that_did_not_survive(stage):
    first = stage.world(4).play("accept", silent={"d": "masked"})
    envelope = decode(first.packets["accept"]["a"].envelope, Envelope, limit_bytes=1 << 20)
    body = decode(envelope.body, Accept, limit_bytes=1 << 20)
    other = first.say(body, b"t" * 32, by="d")
    w = stage.world(4, context={"round": 2}, records=first.records, state=b"n" * 32, accepts=(other,)).play(
        "start"
    )
    return lambda: w.begin("a", w.requests["a"])


@lie("secagg.abort_order")
def an_abort_said_twice(stage):
    """The coordinator passes on what it was given; the sites count."""
    first = stage.world(4).play("masked")
    aborts = (first.say(Abort(), NO_TRANSCRIPT, by="b"),) * 2
    w = stage.world(4, context={"attempt": 2}, records=first.records, seed="2").play("hello")
    hellos = tuple(w.replies[name].envelope for name in w.sites)
    return lambda: w.sessions["a"].deal(Packet(w.say(Cohort(hellos, aborts), w.terms.t0)))


# what a site's own software does not say


@lie("secagg.abort_after_open")
def an_abort_after_an_open(stage):
    w = stage.world(4).play("open")
    return lambda: w.records["b"].abort(w.terms.context, b"abort")


@lie("secagg.opened_otherwise")
def two_opens_of_one_round(stage):
    w = stage.world(4).play("open")
    return lambda: w.records["b"].release(w.terms.context, b"another")


@lie("secagg.masked_twice")
def two_uploads_of_one_attempt(stage):
    w = stage.world(4).play("masked")
    record, context = w.records["b"], w.terms.context
    sent = record.sent(context)
    return lambda: record.masked(context, sent, held={}, aborts={}, site="b", max_colluders=1)


@lie("secagg.bad_vector")
def an_update_of_another_shape(stage):
    w = stage.world(4).play("envelopes")
    return lambda: w.sessions["b"].masked(w.requests["b"], np.zeros(39, dtype=np.uint32))


@lie("secagg.not_finite")
def an_update_that_is_not_a_number(stage):
    quantiser = Quantiser(sites=4, sizes=(3,), clips=(0,))
    update = np.array([0.5, np.nan, 0.0], dtype=np.float32)
    return lambda: quantiser.encode(update, weight=0.25)


@lie("secagg.out_of_range")
def a_count_too_large_for_the_ring(stage):
    return lambda: encode_counts(np.array([2**31], dtype=np.int64), sites=4)


@pytest.mark.parametrize("name", LIES)
def test_is_refused(name, world, lying_dealer):
    code, story = LIES[name]
    act = story(Stage(world, lying_dealer))
    with pytest.raises(WardroundError) as caught:
        act()
    assert caught.value.code == code, caught.value


def test_there_are_at_least_15_lies_and_each_has_a_code_of_its_own():
    codes = [code for code, _ in LIES.values()]
    assert len(codes) >= 15
    assert len(set(codes)) == len(codes)


def test_whoever_signs_with_a_key_of_its_own_signs_validly(world):
    """The table's messages are refused for what they say, not for a broken seal."""
    w = world(4).play("cohort")
    signer = Signer("b", w.signers["b"].key)
    data = w.terms.wire.seal(
        Hello(b"1" * 32, b"2" * 32, b"s" * 32, HEAD), transcript=b"t" * 32, signer=signer
    )
    assert w.terms.wire.open(data, Hello, transcript=b"t" * 32).sender == "b"
