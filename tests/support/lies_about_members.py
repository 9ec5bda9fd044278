"""Lies of a coordinator about who speaks, about what, and who takes part; see ``lies``."""

from __future__ import annotations

import msgspec
from hospitals import SECRETS, signed_roster
from lies import AGAIN, body_of, lie

from wardround_common.canonical import decode, encode
from wardround_common.messages import (
    Cohort,
    DealParcel,
    Envelope,
    Envelopes,
    Hello,
    Packet,
    RoundContext,
    Signer,
    Start,
)
from wardround_common.secagg import transcript
from wardround_common.secagg.thresholds import SecAggPolicy
from wardround_common.trust import COORDINATOR, Member, Roster, Signed, plan_digest

replace = msgspec.structs.replace

# which message it is


def resent(stage, **fields):
    w = stage.world(3).play("cohort")
    return lambda: w.sessions["a"].deal(w.reseal(w.requests["a"], **fields))


@lie("message.other_plan")
def a_message_of_another_plan(stage):
    return resent(stage, plan_digest=b"q" * 32)


@lie("message.other_round")
def a_cohort_of_another_round(stage):
    return resent(stage, round=2)


@lie("message.other_kind")
def a_cohort_of_another_kind_of_round(stage):
    return resent(stage, kind="evaluate")


@lie("message.other_attempt")
def a_cohort_of_another_attempt(stage):
    return resent(stage, attempt=2)


@lie("message.other_version")
def a_message_of_another_version(stage):
    return resent(stage, version=2)


@lie("message.other_type")
def a_start_in_place_of_a_cohort(stage):
    w = stage.world(3).play("cohort")
    return lambda: w.sessions["a"].deal(w.packets["start"]["a"])


@lie("message.too_long")
def a_message_longer_than_any_honest_one(stage):
    w = stage.world(3).play("cohort")
    return lambda: w.sessions["a"].deal(w.reseal(w.requests["a"], lambda b: Cohort(b.hellos * 9, ())))


@lie("message.malformed")
def a_body_that_is_not_its_types(stage):
    w = stage.world(3).play("cohort")
    envelope = decode(w.requests["a"].envelope, Envelope, limit_bytes=1 << 20)
    envelope = replace(envelope, body=b"\x91\x00")
    key = w.signers[COORDINATOR].key
    forged = encode(replace(envelope, signature=key.sign("envelope", envelope.signed_bytes)))
    return lambda: w.sessions["a"].deal(Packet(forged))


@lie("message.not_canonical")
def a_second_spelling_of_a_message(stage):
    w = stage.world(3).play("cohort")
    data = w.requests["a"].envelope
    assert data[0] == 0x9A  # an array of ten; its length in three bytes is another spelling
    return lambda: w.sessions["a"].deal(Packet(b"\xdc\x00\x0a" + data[1:]))


@lie("consent.not_approved")
def a_start_of_a_plan_that_nobody_approved(stage):
    h = stage.hospitals()
    start = h.session(1).coordinator.start()
    envelope = decode(start.envelope, Envelope, limit_bytes=1 << 26)
    other = encode(replace(envelope, plan_digest=b"q" * 32))
    return lambda: h.sites["alder"].handle(Packet(other))


@lie("round.not_open")
def a_request_of_an_attempt_that_never_began(stage):
    h = stage.hospitals()
    play = h.session(1).until("deal")
    h.restart("birch")
    requests = play.ask("envelopes")
    return lambda: h.sites["birch"].handle(requests["birch"])


# who takes part


def shown(stage, *, members, policy=None, n=7, session="a"):
    w = stage.world(n, policy=policy).play("hello")
    hellos = tuple(w.replies[name].envelope for name in members)
    return lambda: w.sessions[session].deal(Packet(w.say(Cohort(hellos, ()), w.terms.t0)))


@lie("identity.bad_signature")
def a_key_swapped_in_a_hello(stage):
    w = stage.world(3).play("cohort")
    forged = w.terms.wire.seal(
        Hello(b"1" * 32, b"2" * 32, b"s" * 32, b"l" * 32),
        transcript=w.terms.t0,
        signer=Signer("b", w.signers[COORDINATOR].key),
    )
    hellos = [w.packets["hello"][name].envelope for name in w.sites]
    hellos[1] = forged
    return lambda: w.sessions["a"].deal(Packet(w.say(Cohort(tuple(hellos), ()), w.terms.t0)))


@lie("trust.stranger")
def a_site_that_the_authority_never_named(stage):
    w = stage.world(4, members=3).play("start")
    hellos = tuple(w.answer("hello", name, w.requests[name]).envelope for name in w.sites)
    return lambda: w.sessions["a"].deal(Packet(w.say(Cohort(hellos, ()), w.terms.t0)))


@lie("message.not_in_plan")
def a_site_that_the_plan_does_not_name(stage):
    w = stage.world(3, members=4).play("hello")
    hellos = [packet.envelope for packet in w.replies.values()]
    body = Hello(b"1" * 32, b"2" * 32, b"s" * 32, b"l" * 32)
    signer = stage.world(4).signers["d"]
    hellos.append(w.terms.wire.seal(body, transcript=w.terms.t0, signer=signer))
    return lambda: w.sessions["a"].deal(Packet(w.say(Cohort(tuple(hellos), ()), w.terms.t0)))


@lie("message.other_sender")
def the_coordinator_itself_as_a_member(stage):
    w = stage.world(3).play("cohort")
    own = w.say(Hello(b"1" * 32, b"2" * 32, b"s" * 32, b"l" * 32), w.terms.t0)
    return lambda: w.sessions["a"].deal(w.reseal(w.requests["a"], lambda b: Cohort((*b.hellos, own), ())))


@lie("message.duplicate")
def a_site_counted_twice(stage):
    return shown(stage, members="abbc", n=4)


@lie("message.not_sorted")
def members_out_of_order(stage):
    return shown(stage, members="acb", n=4)


@lie("secagg.left_out")
def a_cohort_without_the_site_that_it_is_shown_to(stage):
    return shown(stage, members="bcd", n=4)


@lie("secagg.own_hello")
def another_hello_of_ones_own(stage):
    w = stage.world(4).play("cohort")
    twin = w.session("a", record=stage.make_record())
    w.begin("a", w.packets["start"]["a"], session=twin)
    other = twin.hello(ledger_head=b"l" * 32).envelope
    request = w.reseal(w.requests["a"], lambda body: Cohort((other, *body.hellos[1:]), ()))
    return lambda: w.sessions["a"].deal(request)


@lie("secagg.peer_state")
def different_states_told_to_different_sites(stage):
    w = stage.world(4).play("start")
    hellos = [w.answer("hello", name, w.requests[name]).envelope for name in "abc"]
    elsewhere = Hello(b"1" * 32, b"2" * 32, b"o" * 32, b"l" * 32)
    hellos.append(w.say(elsewhere, w.terms.t0, by="d"))
    return lambda: w.sessions["a"].deal(Packet(w.say(Cohort(tuple(hellos), ()), w.terms.t0)))


@lie("secagg.duplicate_key")
def one_key_in_two_hellos(stage):
    w = stage.world(4).play("hello")
    hellos = [w.replies[name].envelope for name in "abc"]
    copied = replace(body_of(w.replies["a"], Hello), channel_key=b"1" * 32)
    hellos.append(w.say(copied, w.terms.t0, by="d"))
    return lambda: w.sessions["a"].deal(Packet(w.say(Cohort(tuple(hellos), ()), w.terms.t0)))


@lie("secagg.cohort_too_small")
def a_cohort_below_the_sites_minimum(stage):
    return shown(stage, members="abcd", policy=SecAggPolicy(minimum_cohort=5))


@lie("secagg.too_many_colluders")
def a_cohort_that_c_colluders_can_split(stage):
    return shown(stage, members="abcd", policy=SecAggPolicy(max_colluders=2))


@lie("secagg.too_few_honest")
def a_cohort_with_one_honest_site_left(stage):
    return shown(stage, members="abc", policy=SecAggPolicy(max_colluders=2))


@lie("message.other_transcript")
def two_views_of_the_cohort(stage):
    w = stage.world(7).play("hello")
    hellos = {name: packet.envelope for name, packet in w.replies.items()}
    deals = {}
    for view in ("abcd", "aefg"):
        cohort = Packet(w.say(Cohort(tuple(hellos[name] for name in view), ()), w.terms.t0))
        for name in view if view == "abcd" else view[1:]:
            deals[name] = decode(w.sessions[name].deal(cohort).envelope, DealParcel, limit_bytes=1 << 20)
    dealers = ("a", "b", "c", "e")  # e dealt under the other view
    body = Envelopes(
        tuple(deals[name].envelope for name in dealers), tuple(deals[name].ciphertexts[0] for name in "bce")
    )
    opened = w.terms.wire.open_all([hellos[name] for name in "abcd"], Hello, transcript=w.terms.t0)
    request = Packet(w.say(body, transcript.t1(w.terms.t0, opened)))
    return lambda: w.sessions["a"].masked(request, w.vectors["a"].copy())


@lie("trust.roster_stale")
def an_older_roster(stage):

    h = stage.hospitals()
    h.sites["birch"].handle(h.session(1).coordinator.start())
    h.restart("birch")
    h.signed = signed_roster(h.names, version=4)
    start = h.session(1, attempt=2).coordinator.start()
    return lambda: h.sites["birch"].handle(start)


def rostered(stage, **changes):
    """A START with another roster, which the coordinator reads without the checks that it must fail."""

    h = stage.hospitals()
    signed = signed_roster(h.names, **changes)
    roster = decode(decode(signed, Signed, limit_bytes=1 << 20).body, Roster, limit_bytes=1 << 20)
    context = RoundContext(plan_digest=plan_digest(h.plan), round=1, kind="train", attempt=1)
    terms = h.sums.terms(context, roster=roster, state=h.state.digest)
    signer = Signer(COORDINATOR, SECRETS.key(COORDINATOR))
    body = Start(signed, h.state.digest, (), (), b"")
    start = Packet(terms.wire.seal(body, transcript=terms.t0, signer=signer))
    return lambda: h.sites["alder"].handle(start)


@lie("trust.roster_expired")
def an_expired_roster(stage):
    return rostered(stage, issued="2020-01-01", expires="2020-01-20")


@lie("trust.roster_ambiguous")
def a_roster_with_one_key_under_two_names(stage):

    key = SECRETS.key("birch").public
    members = [Member("alder", SECRETS.key("alder").public), Member("birch", key), Member("cedar", key)]
    return rostered(stage, sites=tuple(members))


@lie("secagg.own_key")
def a_roster_with_the_coordinators_own_certificate_for_this_site(stage):

    names = ("alder", "birch", "cedar", "doum")
    members = [Member(name, SECRETS.key(name).public) for name in names]
    members[0] = Member("alder", SECRETS.key("lead").public)
    return rostered(stage, sites=tuple(members))


@lie("identity.bad_signature", AGAIN)
def a_roster_that_the_coordinator_signed_itself(stage):
    return rostered(stage, by=COORDINATOR)
