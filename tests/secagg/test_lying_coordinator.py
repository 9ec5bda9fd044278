"""A coordinator that lies, with its own valid key and the production codec, against honest sites.

Every test is one lie, and names the one check that stands against it by its code.
"""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from wardround_client.secagg import read_start
from wardround_common.canonical import digest, encode
from wardround_common.identity import SigningKey
from wardround_common.messages import (
    Accept,
    Cohort,
    Confirm,
    Confirms,
    Deal,
    Envelopes,
    Hello,
    Masked,
    Packet,
    Result,
    RoundContext,
    Signer,
    Survivors,
    Wire,
)
from wardround_common.secagg import transcript
from wardround_common.secagg.ring import vector_digest
from wardround_common.secagg.thresholds import SecAggPolicy
from wardround_common.trust import COORDINATOR

replace = msgspec.structs.replace


def cohort_of(hellos, aborts=()):
    return Cohort(tuple(hellos), tuple(aborts))


def opened(w, items, body, covers):
    return w.terms.wire.open_all(items, body, transcript=covers)


def t1_of(w):
    hellos = [w.packets["hello"][name].envelope for name in w.sites]
    return transcript.t1(w.terms.t0, opened(w, hellos, Hello, w.terms.t0))


def test_replays_of_another_plan_round_kind_attempt_type_or_version_are_refused(world, refused):
    w = world(3).play("cohort")
    lies = {
        "message.other_plan": {"plan_digest": b"q" * 32},
        "message.other_round": {"round": 2},
        "message.other_kind": {"kind": "evaluate"},
        "message.other_attempt": {"attempt": 2},
        "message.other_version": {"version": 2},
        "message.other_transcript": {"transcript": b"t" * 32},
    }
    for code, fields in lies.items():
        with refused(code):
            w.sessions["a"].deal(w.reseal(w.requests["a"], **fields))
    with refused("message.other_type"):
        w.sessions["a"].deal(w.packets["start"]["a"])
    w.sessions["a"].deal(w.requests["a"])


def test_a_start_with_another_plan_than_the_approved_one_is_refused(world, refused):
    w = world(3).play("start")
    with refused("message.other_plan"):
        w.begin("a", w.reseal(w.requests["a"], plan_digest=b"q" * 32))


def test_a_message_that_is_not_the_coordinators_is_refused(world, refused):
    w = world(3).play("cohort")
    with refused("message.other_sender"):
        w.sessions["a"].deal(w.reseal(w.requests["a"], sender="b"))


def test_a_message_longer_than_any_honest_one_is_refused_unread(world, refused):
    w = world(3).play("cohort")
    with refused("message.too_long"):
        w.sessions["a"].deal(w.reseal(w.requests["a"], lambda body: cohort_of(body.hellos * 9)))


def test_a_start_from_another_state_is_refused(world, refused):
    w = world(3).play("start")
    with refused("secagg.start_state"):
        w.begin("a", w.reseal(w.requests["a"], lambda body: replace(body, state=b"o" * 32)))


def test_a_start_whose_transcript_hides_another_state_is_refused(world, refused):
    other = world(3, state=b"o" * 32).play("start")
    w = world(3)
    lie = other.reseal(other.requests["a"], lambda body: replace(body, state=w.terms.state))
    with refused("message.other_transcript"):
        w.begin("a", lie)


def test_a_start_from_a_state_that_this_site_has_left_is_refused(world, refused):
    first = world(3).play("accept")
    w = world(3, context={"round": 2}, records=first.records).play("start")
    with refused("secagg.start_state"):
        w.begin("a", w.requests["a"])


@pytest.mark.parametrize(
    ("context", "state", "code"),
    [
        ({"round": 2}, None, "secagg.old_attempt"),
        ({"round": 1, "attempt": 9}, None, "secagg.old_round"),
        ({"round": 2, "attempt": 2, "kind": "evaluate"}, None, "secagg.other_kind"),
        ({"round": 2, "attempt": 2}, b"o" * 32, "secagg.other_start"),
    ],
)
def test_a_round_or_attempt_that_has_begun_does_not_begin_again(world, refused, context, state, code):
    first = world(3, context={"round": 2}).play("hello")
    state = {"state": state} if state else {}
    w = world(3, context=context, records=first.records, **state).play("start")
    with refused(code):
        w.begin("a", w.requests["a"])


def test_another_attempt_gets_no_update_while_the_first_can_still_be_opened(world, refused):
    first = world(3).play("masked")
    w = world(3, context={"attempt": 2}, records=first.records, seed="2").play("envelopes")
    with refused("secagg.not_aborted", retryable=True):
        w.sessions["a"].masked(w.requests["a"], w.vectors["a"].copy())


def test_another_attempt_is_not_begun_once_this_site_has_opened(world, refused):
    first = world(4).play("open")
    w = world(4, context={"attempt": 2}, records=first.records).play("start")
    with refused("secagg.already_opened"):
        w.begin("a", w.requests["a"])


def test_an_update_is_not_sent_in_two_attempts_that_run_side_by_side(world, refused):
    first = world(3).play("envelopes")
    second = world(3, context={"attempt": 2}, records=first.records, seed="2").play("envelopes")
    with refused("secagg.superseded"):
        first.sessions["a"].masked(first.requests["a"], first.vectors["a"].copy())
    second.sessions["a"].masked(second.requests["a"], second.vectors["a"].copy())
    with refused("secagg.superseded"):
        first.sessions["a"].masked(first.requests["a"], first.vectors["a"].copy())


def test_a_round_that_a_later_one_has_replaced_is_not_confirmed_opened_or_accepted(world, refused):
    for step, call in (
        ("survivors", lambda s, packet: s.confirm(packet)),
        ("confirms", lambda s, packet: s.open(packet)),
    ):
        w = world(3).play(step)
        world(3, context={"round": 2}, records=w.records).play("hello")
        with refused("secagg.superseded"):
            call(w.sessions["a"], w.requests["a"])
    w = world(3).play("result")
    world(3, context={"round": 2}, records=w.records).play("hello")
    w.sessions["a"].result(w.requests["a"], bound=2**31 - 1)
    with refused("secagg.superseded"):
        w.sessions["a"].accept(b"n" * 32)


def test_one_update_is_not_sent_twice_in_one_attempt(world, refused):
    w = world(3).play("masked")
    with refused("secagg.order"):
        w.sessions["a"].masked(w.packets["envelopes"]["a"], w.vectors["a"].copy())


def test_an_accept_of_another_result_pauses_the_site_and_is_kept(world, refused):
    first = world(3).play("accept")
    lie = first.say(Accept(("a", "b", "c"), first.terms.state, b"x" * 32), b"t" * 32, by="b")
    next_round = {"context": {"round": 2}, "records": first.records, "state": b"n" * 32}
    w = world(3, **next_round, accepts=(first.coordinator.accepts[0], lie)).play("start")
    with refused("secagg.fork", naming="b"):
        w.begin("a", w.requests["a"])
    assert first.records["a"].evidence() == (lie,)
    honest = world(3, **next_round, accepts=first.coordinator.accepts).play("start")
    with refused("secagg.fork"):
        honest.begin("a", honest.requests["a"], session=honest.session("a"))
    honest.begin("b", honest.requests["b"], session=honest.session("b"))


def test_an_accept_of_the_same_result_from_another_start_or_kind_is_a_fork_too(world, refused):
    for kind, start in (("train", b"x" * 32), ("evaluate", b"s" * 32)):
        first = world(3).play("accept")
        wire = Wire(replace(first.terms.context, kind=kind), first.roster, first.terms.sites)
        body = Accept(("a", "b", "c"), start, b"n" * 32)
        lie = wire.seal(body, transcript=b"t" * 32, signer=first.signers["b"])
        w = world(3, context={"round": 2}, records=first.records, state=b"n" * 32, accepts=(lie,)).play(
            "start"
        )
        with refused("secagg.fork"):
            w.begin("a", w.requests["a"])


def test_an_accept_that_no_survivor_made_is_refused(world, refused):
    first = world(4).play("accept")
    lies = {
        "secagg.not_in_accept": first.say(Accept(("a", "c"), b"s" * 32, b"n" * 32), b"t" * 32, by="b"),
        "message.other_sender": first.say(Accept((COORDINATOR,), b"s" * 32, b"n" * 32), b"t" * 32),
        "message.other_type": first.say(Confirm(), b"t" * 32, by="b"),
    }
    other_plan = Wire(replace(first.terms.context, plan_digest=b"q" * 32), first.roster, first.terms.sites)
    body = Accept(("b",), b"s" * 32, b"n" * 32)
    lies["message.other_plan"] = other_plan.seal(body, transcript=b"t" * 32, signer=first.signers["b"])
    lies["identity.bad_signature"] = first.terms.wire.seal(
        body, transcript=b"t" * 32, signer=Signer("b", SigningKey.generate())
    )
    for code, lie in lies.items():
        w = world(4, context={"round": 2}, records=first.records, state=b"n" * 32, accepts=(lie,)).play(
            "start"
        )
        with refused(code):
            w.begin("a", w.requests["a"])


def test_two_halves_of_the_cohort_cannot_be_shown_two_cohorts(world, refused):
    w = world(7).play("hello")
    hellos = {name: packet.envelope for name, packet in w.replies.items()}
    deals = {}
    for view in ("abcd", "aefg"):
        cohort = Packet(w.say(cohort_of(tuple(hellos[name] for name in view)), w.terms.t0))
        for name in view[1:]:
            deals[name] = w.sessions[name].deal(cohort)
        if view == "abcd":
            deals["a"] = w.sessions["a"].deal(cohort)
    w.packets["hello"] = {name: w.replies[name] for name in "abcd"}
    parts = {name: msgspec.msgpack.decode(packet.envelope) for name, packet in deals.items()}
    dealers = ("a", "b", "c", "e")  # e dealt under the other view
    t1 = transcript.t1(w.terms.t0, opened(w, [hellos[name] for name in "abcd"], Hello, w.terms.t0))
    body = Envelopes(tuple(parts[name][0] for name in dealers), tuple(parts[name][1][0] for name in "bce"))
    with refused("message.other_transcript", naming="e"):
        w.sessions["a"].masked(Packet(w.say(body, t1)), w.vectors["a"].copy())


def test_a_cohort_is_shown_to_a_site_only_once(world, refused):
    w = world(5).play("deal")
    hellos = tuple(w.packets["hello"][name].envelope for name in "abcd")
    with refused("secagg.order"):
        w.sessions["a"].deal(Packet(w.say(cohort_of(hellos), w.terms.t0)))


def test_a_hello_with_a_swapped_key_is_refused(world, refused):
    w = world(3).play("cohort")
    mine = Signer("b", w.signers[COORDINATOR].key)
    lie = w.terms.wire.seal(
        Hello(b"1" * 32, b"2" * 32, b"s" * 32, b"l" * 32), transcript=w.terms.t0, signer=mine
    )
    with refused("identity.bad_signature"):
        w.sessions["a"].deal(
            w.reseal(w.requests["a"], lambda body: cohort_of((body.hellos[0], lie, body.hellos[2])))
        )


def test_a_site_that_the_plan_names_but_the_roster_does_not_is_refused(world, refused):
    w = world(4, members=3).play("start")
    hellos = [w.answer("hello", name, w.requests[name]).envelope for name in w.sites]
    with refused("trust.stranger"):
        w.sessions["a"].deal(Packet(w.say(cohort_of(tuple(hellos)), w.terms.t0)))


def test_a_site_that_the_roster_names_but_the_plan_does_not_is_refused(world, refused):
    w = world(3, members=4).play("hello")
    hellos = [packet.envelope for packet in w.replies.values()]
    wider = world(4)
    body = Hello(b"1" * 32, b"2" * 32, b"s" * 32, b"l" * 32)
    hellos.append(w.terms.wire.seal(body, transcript=w.terms.t0, signer=wider.signers["d"]))
    with refused("message.not_in_plan", naming="d"):
        w.sessions["a"].deal(Packet(w.say(cohort_of(tuple(hellos)), w.terms.t0)))


def test_the_coordinator_is_no_member_of_a_cohort(world, refused):
    w = world(3).play("cohort")
    own = w.say(Hello(b"1" * 32, b"2" * 32, b"s" * 32, b"l" * 32), w.terms.t0)
    with refused("message.other_sender"):
        w.sessions["a"].deal(w.reseal(w.requests["a"], lambda body: cohort_of((*body.hellos, own))))


def test_ones_own_hello_must_be_in_the_cohort_unchanged(world, refused, make_record):
    w = world(4).play("cohort")
    twin = w.session("a", record=make_record())  # the same terms, other keys
    w.begin("a", w.packets["start"]["a"], session=twin)
    other = twin.hello(ledger_head=b"l" * 32).envelope
    with refused("secagg.own_hello"):
        w.sessions["a"].deal(w.reseal(w.requests["a"], lambda body: cohort_of((other, *body.hellos[1:]))))
    with refused("secagg.left_out"):
        w.sessions["a"].deal(w.reseal(w.requests["a"], lambda body: cohort_of(body.hellos[1:])))


def test_a_site_counted_twice_or_out_of_order_is_refused(world, refused):
    w = world(4).play("cohort")
    a, b, c, d = (w.replies[name].envelope for name in w.sites)
    for code, hellos in (("message.duplicate", (a, b, b, c)), ("message.not_sorted", (a, c, b, d))):
        with refused(code):
            w.sessions["a"].deal(Packet(w.say(cohort_of(hellos), w.terms.t0)))


@pytest.mark.parametrize(
    ("shown", "policy", "code"),
    [
        (2, SecAggPolicy(), "secagg.cohort_too_small"),
        (4, SecAggPolicy(minimum_cohort=5), "secagg.cohort_too_small"),
        (4, SecAggPolicy(max_colluders=2), "secagg.too_many_colluders"),
        (3, SecAggPolicy(max_colluders=2), "secagg.too_few_honest"),
    ],
)
def test_a_cohort_that_the_sites_own_policy_forbids_is_refused(world, refused, shown, policy, code):
    w = world(7, policy=policy).play("hello")
    hellos = tuple(w.replies[name].envelope for name in w.sites[:shown])
    with refused(code, retryable=True):
        w.sessions["a"].deal(Packet(w.say(cohort_of(hellos), w.terms.t0)))


def test_the_plans_minimum_counts_even_where_the_sites_own_is_smaller(world, refused):
    w = world(4, policy=SecAggPolicy(minimum_cohort=2, max_colluders=0)).play("hello")
    hellos = tuple(w.replies[name].envelope for name in "ab")
    with refused("secagg.cohort_too_small"):
        w.sessions["a"].deal(Packet(w.say(cohort_of(hellos), w.terms.t0)))


def test_an_altered_or_swapped_ciphertext_is_refused(world, refused):
    w = world(4).play("envelopes")
    lies = (
        ("secagg.ciphertext_altered", lambda body: (bytes(82), *body.ciphertexts[1:])),
        ("secagg.ciphertext_altered", lambda body: body.ciphertexts[::-1]),
        ("secagg.ciphertext_count", lambda body: body.ciphertexts[1:]),
        ("secagg.ciphertext_count", lambda body: (*body.ciphertexts, bytes(82))),
    )
    for code, change in lies:

        def lie(body, change=change):
            return replace(body, ciphertexts=change(body))

        with refused(code):
            w.sessions["a"].masked(w.reseal(w.requests["a"], lie), w.vectors["a"].copy())
    with refused("secagg.ciphertext_altered"):  # those of another recipient
        w.sessions["a"].masked(w.reseal(w.requests["b"]), w.vectors["a"].copy())


def test_ones_own_deal_must_be_among_the_deals_unchanged(world, refused):
    w = world(4).play("envelopes")
    without = w.reseal(w.requests["a"], lambda body: Envelopes(body.deals[1:], body.ciphertexts))
    with refused("secagg.own_deal"):
        w.sessions["a"].masked(without, w.vectors["a"].copy())

    def change(body):
        inner = w.reseal(Packet(body.deals[0]), lambda deal: replace(deal, seed_commitment=bytes(32)))
        return Envelopes((inner.envelope, *body.deals[1:]), body.ciphertexts)

    with refused("secagg.own_deal"):
        w.sessions["a"].masked(w.reseal(w.requests["a"], change), w.vectors["a"].copy())


@pytest.mark.parametrize("policy", [SecAggPolicy(), SecAggPolicy(minimum_cohort=5)])
def test_too_few_dealers_are_refused(world, refused, policy):
    w = world(5, policy=policy).play("envelopes")
    keep = 3 if policy.minimum_cohort == 3 else 4  # t = 4
    shorter = w.reseal(
        w.requests["a"], lambda body: Envelopes(body.deals[:keep], body.ciphertexts[: keep - 1])
    )
    with refused("secagg.too_few_dealers", retryable=True):
        w.sessions["a"].masked(shorter, w.vectors["a"].copy())


def test_survivors_that_signed_another_history_are_refused(world, refused):
    w = world(5).play("envelopes")
    shorter = {
        name: w.reseal(
            w.requests[name],
            lambda body, name=name: Envelopes(
                body.deals[:4], body.ciphertexts[:3] if name in "abcd" else body.ciphertexts
            ),
        )
        for name in "abcd"
    }
    uploads = [w.sessions["a"].masked(w.requests["a"], w.vectors["a"].copy())]
    uploads += [w.sessions[name].masked(shorter[name], w.vectors[name].copy()) for name in "bcd"]
    t1 = t1_of(w)
    deals = [msgspec.msgpack.decode(w.packets["deal"][name].envelope)[0] for name in w.sites]
    t2 = transcript.t2(t1, opened(w, deals, Deal, t1))
    lie = w.say(Survivors(tuple(packet.envelope for packet in uploads)), t2)
    with refused("message.other_transcript", naming="b"):
        w.sessions["a"].confirm(Packet(lie))


def test_ones_own_upload_must_be_among_the_survivors(world, refused):
    w = world(5).play("survivors")
    with refused("secagg.own_upload"):
        w.sessions["a"].confirm(w.reseal(w.requests["a"], lambda body: Survivors(body.uploads[1:])))


def test_a_survivor_that_did_not_deal_is_refused(world, refused):
    w = world(5).play("survivors", silent={"e": "deal"})
    t2 = opened_transcript(w.requests["a"])
    stranger = w.say(Masked(40, bytes(32)), t2, by="e")
    with refused("secagg.not_a_dealer", naming="e"):
        w.sessions["a"].confirm(w.reseal(w.requests["a"], lambda body: Survivors((*body.uploads, stranger))))


def opened_transcript(packet):
    return msgspec.msgpack.decode(packet.envelope)[7]


@pytest.mark.parametrize("policy", [SecAggPolicy(), SecAggPolicy(minimum_cohort=5)])
def test_too_few_survivors_are_refused(world, refused, policy):
    w = world(5, policy=policy).play("survivors")
    keep = 3 if policy.minimum_cohort == 3 else 4
    with refused("secagg.too_few_uploads"):
        w.sessions["a"].confirm(w.reseal(w.requests["a"], lambda body: Survivors(body.uploads[:keep])))


@pytest.mark.parametrize("after", ["confirm", "open"])
def test_a_second_set_of_survivors_is_refused_before_and_after_opening(world, refused, after):
    w = world(5).play(after)
    other = w.reseal(w.packets["survivors"]["a"], lambda body: Survivors(body.uploads[:4]))
    with refused("secagg.confirmed_otherwise"):
        w.sessions["a"].confirm(other)


def test_both_shares_of_a_site_cannot_be_had_by_two_sets_of_survivors(world, refused):
    """c = 1 of 4 sites signs both sets; each set still lacks a confirmation, so nobody opens the second."""
    w = world(4).play("survivors")
    honest = w.requests["a"]
    without_d = w.reseal(honest, lambda body: Survivors(body.uploads[:3]))
    everybody = {name: w.sessions[name].confirm(honest) for name in "ad"}
    t2 = opened_transcript(honest)
    uploads = [w.packets["masked"][name].envelope for name in w.sites]
    t3 = {n: transcript.t3(t2, opened(w, uploads[:n], Masked, t2)) for n in (3, 4)}
    for name in "b":
        w.sessions[name].confirm(without_d)
    by_c = {n: w.say(Confirm(), t3[n], by="c") for n in (3, 4)}
    first = (everybody["a"].envelope, by_c[4], everybody["d"].envelope)
    w.sessions["a"].open(Packet(w.say(Confirms(first), t3[4])))
    with refused("message.other_transcript"):  # a confirmed the other set
        lie = (everybody["a"].envelope, by_c[3])
        w.sessions["b"].open(Packet(w.say(Confirms(lie), t3[3])))
    with refused("secagg.too_few_confirms"):
        w.sessions["b"].open(Packet(w.say(Confirms((by_c[3],)), t3[3])))
    with refused("secagg.confirmed_otherwise"):
        w.sessions["a"].confirm(without_d)


def test_too_few_repeated_or_foreign_confirmations_are_refused(world, refused):
    w = world(5).play("confirms", silent={"e": "masked"})
    stranger = w.say(Confirm(), opened_transcript(w.requests["a"]), by="e")
    lies = {
        "secagg.too_few_confirms": lambda body: Confirms(body.confirms[:3]),
        "message.duplicate": lambda body: Confirms((*body.confirms[:3], body.confirms[2])),
        "message.not_sorted": lambda body: Confirms(body.confirms[::-1]),
        "secagg.not_a_survivor": lambda body: Confirms((*body.confirms[:3], stranger)),
    }
    for code, lie in lies.items():
        with refused(code):
            w.sessions["a"].open(w.reseal(w.requests["a"], lie))
    with refused("secagg.too_few_confirms"):
        w.sessions["a"].open(w.reseal(w.requests["a"], lambda body: Confirms(())))
    w.sessions["a"].open(w.requests["a"])


def test_a_site_that_has_opened_checks_confirmations_again(world, refused):
    w = world(4).play("open")
    with refused("secagg.too_few_confirms"):
        w.sessions["a"].open(w.reseal(w.packets["confirms"]["a"], lambda body: Confirms(())))


def test_a_sum_other_than_the_signed_one_is_refused(world, refused):
    w = world(3).play("result")
    honest = w.requests["a"]
    total = honest.array.copy()
    total[0] += 1
    size, altered = "secagg.result_size", "secagg.result_digest"
    lies = (
        (altered, Packet(honest.envelope, total)),
        (size, Packet(honest.envelope, None)),
        (size, Packet(honest.envelope, honest.array[:-1])),
        (size, Packet(honest.envelope, honest.array.astype(np.uint64))),
        (size, w.reseal(honest, lambda body: Result(body.size + 1, body.digest, ()))),
        (size, Packet(w.say(Result(41, vector_digest(np.zeros(41, np.uint32)), ()),
                            opened_transcript(honest)), np.zeros(41, np.uint32))),
        ("secagg.opens_unasked", w.reseal(honest, lambda body: replace(body, opens=(b"",)))),
    )  # fmt: skip
    for code, lie in lies:
        with refused(code):
            w.sessions["a"].result(lie, bound=2**31 - 1)
    w.sessions["a"].result(honest, bound=2**31 - 1)


def test_a_sum_larger_than_honest_updates_can_make_is_refused(world, refused):
    w = world(3).play("result")
    honest = w.requests["a"]
    for value, wrong in ((1000, False), (-1000, False), (1001, True), (-1001, True), (-(2**31), True)):
        total = np.zeros(40, dtype=np.int32)
        total[7] = value
        array = total.view(np.uint32)
        packet = Packet(w.say(Result(40, vector_digest(array), ()), opened_transcript(honest)), array)
        if wrong:
            with refused("secagg.sum_out_of_range"):
                w.sessions["a"].result(packet, bound=1000)
        else:
            w.sessions["a"].result(packet, bound=1000)


def recomputed(w, packet, name="a"):
    return w.sessions[name].result(packet, bound=2**31 - 1)


def test_the_sum_comes_out_of_the_uploads_whoever_dropped(world):
    w = world(5, verify_full=True).play("result", silent={"e": "masked"})
    assert np.array_equal(recomputed(w, w.requests["a"]), w.expected(tuple("abcd")))


def test_an_altered_sum_is_found_out_by_adding_up(world, refused):
    w = world(4, verify_full=True).play("result")
    honest = w.requests["a"]
    other = w.coordinator.aggregate().copy()
    other[3] += 1
    with refused("secagg.sum_differs"):
        recomputed(w, w.reseal(honest, lambda body: replace(body, digest=vector_digest(other))))


def test_a_masked_vector_other_than_the_signed_one_is_found_out_and_its_site_named(world, refused):
    w = world(4, verify_full=True).play("result")
    honest = w.requests["a"]
    altered = honest.array.copy()
    altered[40 + 7] ^= 1
    with refused("secagg.upload_altered", naming="b"):
        recomputed(w, Packet(honest.envelope, altered))
    for array in (None, honest.array[:-1], honest.array[:40], honest.array.astype(np.uint64)):
        with refused("secagg.uploads_size"):
            recomputed(w, Packet(honest.envelope, array))
    recomputed(w, honest)


def test_too_few_or_foreign_opens_are_refused(world, refused):
    w = world(5, verify_full=True).play("result", silent={"e": "masked"})
    honest = w.requests["a"]
    stranger = w.reseal(w.packets["open"]["d"], sender="e").envelope
    lies = {
        "secagg.too_few_opens_shown": lambda body: replace(body, opens=body.opens[:3]),
        "secagg.not_an_opener": lambda body: replace(body, opens=(*body.opens, stranger)),
        "message.duplicate": lambda body: replace(body, opens=(*body.opens, body.opens[-1])),
    }
    for code, lie in lies.items():
        with refused(code):
            recomputed(w, w.reseal(honest, lie))


def test_an_open_with_a_wrong_share_is_refused_where_the_sum_is_recomputed(world, refused):
    w = world(4, verify_full=True).play("result")
    wrong = w.reseal(
        w.packets["open"]["d"],
        lambda body: replace(body, seed_shares=(bytes(33), *body.seed_shares[1:])),
    ).envelope
    lie = w.reseal(w.requests["a"], lambda body: replace(body, opens=(*body.opens[:3], wrong)))
    with refused("secagg.wrong_opened_share", naming="d opened"):
        recomputed(w, lie)


def test_where_dropped_sites_and_colluders_can_split_the_mask_graph_nothing_is_sent(world, refused):
    """14 sites with 4 neighbours each: 3 gone and 1 colluder could leave two parts with a sum each."""
    w = world(14, degree=4).play("envelopes", silent={"l": "deal", "m": "deal", "n": "deal"})
    with refused("secagg.dealers_split"):
        w.sessions["a"].masked(w.requests["a"], w.vectors["a"].copy())
    w = world(14, degree=4).play("survivors", silent={"l": "masked", "m": "masked", "n": "masked"})
    with refused("secagg.survivors_split"):
        w.sessions["a"].confirm(w.requests["a"])
    two = world(14, degree=4).play("accept", silent={"m": "masked", "n": "masked"})
    assert np.array_equal(two.coordinator.aggregate(), two.expected(tuple("abcdefghijkl")))


def test_a_vector_of_another_length_than_the_plans_does_not_survive(world, refused):
    w = world(4).play("survivors")
    short = w.reseal(w.packets["masked"]["d"], lambda body: Masked(39, body.digest)).envelope
    with refused("secagg.peer_size", naming="d"):
        w.sessions["a"].confirm(w.reseal(w.requests["a"], lambda body: Survivors((*body.uploads[:3], short))))


def test_a_second_result_is_not_accepted(world, refused):
    w = world(3).play("accept")
    with refused("secagg.accepted_otherwise"):
        w.sessions["a"].accept(b"m" * 32)


@pytest.mark.parametrize("step", ["hello", "cohort", "envelopes", "survivors", "confirms", "result"])
def test_requests_out_of_order_are_refused(world, refused, step):
    w = world(3).play("result")
    fresh = w.session("a")
    with refused("secagg.order"):
        match step:
            case "hello":
                fresh.hello(ledger_head=b"l" * 32)
            case "cohort":
                fresh.deal(w.packets["cohort"]["a"])
            case "envelopes":
                fresh.masked(w.packets["envelopes"]["a"], w.vectors["a"].copy())
            case "survivors":
                fresh.confirm(w.packets["survivors"]["a"])
            case "confirms":
                fresh.open(w.packets["confirms"]["a"])
            case "result":
                fresh.result(w.packets["result"]["a"], bound=1)


def test_a_round_is_not_begun_twice_nor_accepted_before_its_sum(world, refused):
    w = world(3).play("result")
    session = w.sessions["a"]
    with refused("secagg.order"):
        w.begin("a", w.packets["start"]["a"])
    with refused("secagg.order"):
        session.accept(b"n" * 32)
    with refused("secagg.order"):
        _ = w.session("a").survivors


def test_a_refused_request_changes_nothing(world, refused):
    w = world(4).play("survivors")
    with refused("secagg.own_upload"):
        w.sessions["a"].confirm(w.reseal(w.requests["a"], lambda body: Survivors(body.uploads[1:])))
    assert w.sessions["a"].confirm(w.requests["a"]).envelope


def test_the_update_stays_plain_where_masking_is_refused(world, refused):
    w = world(3).play("envelopes")
    vector = w.vectors["a"].copy()
    with refused("secagg.ciphertext_altered"):
        w.sessions["a"].masked(w.reseal(w.requests["b"]), vector)
    assert np.array_equal(vector, w.vectors["a"])


@pytest.mark.parametrize(
    "vector",
    [
        np.zeros(39, np.uint32),
        np.zeros(40, np.int64),
        np.zeros((1, 40), np.uint32),
        np.zeros(80, np.uint32)[::2],
    ],
)
def test_a_vector_of_another_shape_or_type_is_not_sent(world, refused, vector):
    w = world(3).play("envelopes")
    with refused("secagg.bad_vector"):
        w.sessions["a"].masked(w.requests["a"], vector)


def test_a_vector_that_cannot_be_overwritten_is_not_sent(world, refused):
    w = world(3).play("envelopes")
    vector = w.vectors["a"].copy()
    vector.flags.writeable = False
    with refused("secagg.bad_vector"):
        w.sessions["a"].masked(w.requests["a"], vector)


def test_the_plan_digest_of_a_start_can_be_read_before_it_is_verified(world):
    w = world(3).play("start")
    claims = read_start(w.requests["a"], sites=3)
    assert claims.context == RoundContext(plan_digest=b"p" * 32, round=1, kind="train", attempt=1)
    assert claims.state == w.terms.state
    assert digest("roster", encode(w.roster)) == w.roster.digest
