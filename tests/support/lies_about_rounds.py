"""Lies of a coordinator about rounds, attempts, and what others accepted; see ``lies``."""

from __future__ import annotations

import msgspec
import pytest
from hospitals import SECRETS
from lies import AGAIN, abandon, covers, lie

from wardround_client.secagg.checks import CohortView
from wardround_client.secagg.keys import AttemptKeys, deal_out
from wardround_common.errors import WardroundError
from wardround_common.messages import (
    NO_TRANSCRIPT,
    Abort,
    Accept,
    Cohort,
    Envelopes,
    Hello,
    Opened,
    Packet,
    Signer,
)
from wardround_common.secagg.agreement import AgreementKey
from wardround_common.streams import Stream, derive
from wardround_common.trust import COORDINATOR

replace = msgspec.structs.replace

# which round, which attempt


@lie("secagg.start_state")
def a_start_state_neither_own_nor_linked(stage):
    h = stage.hospitals()
    start = h.session(1, state=b"x" * 32).coordinator.start()
    return lambda: h.sites["alder"].handle(start)


@lie("secagg.old_state")
def the_state_before_the_last_accepted_round(stage):
    h = stage.hospitals()
    left = h.state.digest
    h.session(1).until("accept").close()
    start = h.session(2, state=left).coordinator.start()
    return lambda: h.sites["alder"].handle(start)


def again(stage, *, state=b"s" * 32, **context):
    first = stage.world(3, context={"round": 2}).play("hello")
    w = stage.world(3, context=context, records=first.records, state=state).play("start")
    return lambda: w.begin("a", w.requests["a"])


@lie("secagg.old_attempt")
def an_attempt_that_has_begun(stage):
    return again(stage, round=2)


@lie("secagg.old_round")
def an_old_round_replayed(stage):
    return again(stage, round=1, attempt=9)


@lie("secagg.other_kind")
def a_round_begun_again_as_another_kind(stage):
    return again(stage, round=2, attempt=2, kind="evaluate")


@lie("secagg.other_start")
def a_round_begun_again_from_another_state(stage):
    return again(stage, round=2, attempt=2, state=b"o" * 32)


@lie("secagg.round_closed")
def a_round_that_was_accepted(stage):
    first = stage.world(3).play("accept")
    w = stage.world(3, context={"attempt": 2}, records=first.records, state=b"n" * 32).play("start")
    return lambda: w.begin("a", w.requests["a"])


@lie("secagg.superseded")
def two_attempts_side_by_side(stage):
    first = stage.world(3).play("envelopes")
    stage.world(3, context={"attempt": 2}, records=first.records, seed="2").play("envelopes")
    return lambda: first.sessions["a"].masked(first.requests["a"], first.vectors["a"].copy())


@lie("secagg.two_void_rounds")
def a_third_round_after_two_that_came_to_nothing(stage):
    first = stage.world(3).play("masked")
    second = stage.world(3, context={"round": 2}, records=first.records, seed="2").play("masked")
    w = stage.world(3, context={"round": 3}, records=second.records).play("start")
    return lambda: w.begin("a", w.requests["a"])


@lie("secagg.already_opened")
def a_second_open_in_another_attempt(stage):
    first = stage.world(4).play("open")
    w = stage.world(4, context={"attempt": 2}, records=first.records).play("start")
    return lambda: w.begin("a", w.requests["a"])


def abort_of(w, name, covered=NO_TRANSCRIPT):
    return w.say(Abort(), covered, by=name)


@lie("secagg.not_aborted")
def a_retry_without_aborts(stage):
    """Ten sites. Seven open attempt 1; the other three, whose uploads are in its sum, are asked again."""
    h = stage.hospitals(10, max_colluders=3)
    three = set(h.names[7:])
    h.session(1).until("confirm").until("open", without=three)
    second = h.session(1, attempt=2)
    for name in h.names[:7]:  # they have opened
        with pytest.raises(WardroundError) as caught:
            h.sites[name].handle(second.coordinator.start())
        assert caught.value.code == "secagg.already_opened"
    return retried_by(h, second, three)


def retried_by(h, play, three, aborts=()):
    """An attempt that the ``three`` believe is made by all: colluders of the coordinator speak for seven."""

    start = play.coordinator.start()
    for name in h.names:
        if name in three:
            hello = h.sites[name].handle(start)
        else:
            keys = [AgreementKey(SECRETS.key(f"{name} {part}").public).public for part in ("c", "m")]
            body = Hello(*keys, play.terms.state, bytes(32))
            signer = Signer(name, SECRETS.key(name))
            hello = Packet(play.terms.wire.seal(body, transcript=play.terms.t0, signer=signer))
        play.coordinator.take_hello(hello, site=name)
    requests = play.coordinator.cohort(tuple(aborts))
    for name in three:
        play.coordinator.take_deal(h.sites[name].handle(requests[name]), site=name)
    deals = dict(play.coordinator._deals)
    t1 = play.coordinator._t1
    ciphertexts = dict(play.coordinator._ciphertexts)
    for name in h.names:
        if name not in three:
            deals[name], ciphertexts[name] = dealt_for(h, play, name, t1)
    body = Envelopes(
        tuple(deals[name].data for name in h.names),
        tuple(
            ciphertexts[dealer][[n for n in h.names if n != dealer].index("juniper")]
            for dealer in h.names
            if dealer != "juniper"
        ),
    )
    signer = Signer(COORDINATOR, SECRETS.key(COORDINATOR))
    request = Packet(play.terms.wire.seal(body, transcript=t1, signer=signer))
    return lambda: h.sites["juniper"].handle(request)


def dealt_for(h, play, name, t1):
    """A DEAL that fits, in the name of a colluder."""

    keys = AttemptKeys(
        channel=AgreementKey(SECRETS.key(f"{name} c").public),
        mask=AgreementKey(SECRETS.key(f"{name} m").public),
        seed=bytes(32),
    )
    view = CohortView(
        members=h.names,
        hellos=play.coordinator._hellos,
        t1=t1,
        t=play.coordinator.threshold,
        minimum=3,
        neighbours=(),
        aborts={},
    )
    entropy = Stream(derive(b"d" * 32, name)).bytes
    dealt = deal_out(keys, view, dealer=name, entropy=entropy)
    signer = Signer(name, SECRETS.key(name))
    data = play.terms.wire.seal(dealt.body, transcript=t1, signer=signer)
    return Opened(name, play.terms.context, dealt.body, data), dealt.ciphertexts


@lie("secagg.aborted_elsewhere")
def laundering_through_an_empty_attempt(stage):
    """As above, but three abort an attempt 2 that reached only HELLO, and attempt 3 is to open them."""
    h = stage.hospitals(10, max_colluders=3)
    three = set(h.names[7:])
    h.session(1).until("confirm").until("open", without=three)
    empty = h.session(1, attempt=2)
    for name in three:
        h.sites[name].handle(empty.coordinator.start())

    aborts = []
    for name in h.names:
        if name in three:
            aborts.append(h.sites[name].handle(abandon(empty)).envelope)
        else:
            signer = Signer(name, SECRETS.key(name))
            aborts.append(empty.terms.wire.seal(Abort(), transcript=NO_TRANSCRIPT, signer=signer))
    return retried_by(h, h.session(1, attempt=3), three, aborts)


@lie("secagg.abort_order")
def an_abort_counted_twice(stage):
    first = stage.world(4).play("masked")
    aborts = (abort_of(first, "b"), abort_of(first, "b"))
    w = stage.world(4, context={"attempt": 2}, records=first.records, seed="2").play("hello")
    hellos = tuple(w.replies[name].envelope for name in w.sites)
    return lambda: w.sessions["a"].deal(Packet(w.say(Cohort(hellos, aborts), w.terms.t0)))


@lie("message.bound_abort")
def an_abort_bound_to_another_view(stage):
    first = stage.world(4).play("masked")
    bound = (abort_of(first, "b", covers(first.packets["masked"]["b"])),)
    w = stage.world(4, context={"attempt": 2}, records=first.records, seed="2").play("hello")
    hellos = tuple(w.replies[name].envelope for name in w.sites)
    return lambda: w.sessions["a"].deal(Packet(w.say(Cohort(hellos, bound), w.terms.t0)))


@lie("message.other_attempt", AGAIN)
def an_abort_of_this_very_attempt(stage):
    w = stage.world(4, context={"attempt": 2}).play("hello")
    hellos = tuple(w.replies[name].envelope for name in w.sites)
    request = Packet(w.say(Cohort(hellos, (abort_of(w, "b"),)), w.terms.t0))
    return lambda: w.sessions["a"].deal(request)


@lie("secagg.abort_after_open")
def an_abort_asked_of_a_site_that_has_opened(stage):
    h = stage.hospitals()
    play = h.session(1).until("open")
    return lambda: h.sites["alder"].handle(abandon(play))


@lie("secagg.aborted")
def an_aborted_attempt_that_goes_on(stage):
    h = stage.hospitals()
    play = h.session(1).until("masked")
    h.sites["alder"].handle(abandon(play))
    requests = play.ask("survivors")
    return lambda: h.sites["alder"].handle(requests["alder"])


@lie("secagg.order")
def one_update_asked_twice_in_one_attempt(stage):
    w = stage.world(3).play("masked")
    return lambda: w.sessions["a"].masked(w.packets["envelopes"]["a"], w.vectors["a"].copy())


# what others accepted


@lie("secagg.fork")
def a_forked_result(stage):
    first = stage.world(3).play("accept")
    other = first.say(Accept(("a", "b", "c"), first.terms.state, b"x" * 32), b"t" * 32, by="b")
    w = stage.world(3, context={"round": 2}, records=first.records, state=b"n" * 32, accepts=(other,)).play(
        "start"
    )
    return lambda: w.begin("a", w.requests["a"])


@lie("secagg.not_in_accept")
def an_accept_of_a_site_that_did_not_survive(stage):
    first = stage.world(4).play("accept")
    other = first.say(Accept(("a", "c"), b"s" * 32, b"n" * 32), b"t" * 32, by="b")
    w = stage.world(4, context={"round": 2}, records=first.records, state=b"n" * 32, accepts=(other,)).play(
        "start"
    )
    return lambda: w.begin("a", w.requests["a"])


def led(stage, change, *, state=None):
    """``doum`` missed rounds 1 and 2, and is shown other links, or another state, than there are."""
    h = stage.hospitals(4, rounds=5)
    for number in (1, 2):
        play = h.session(number)
        play.until("accept", without={"doum"})
        play.close()
    links = change((h.accepts[1], h.accepts[2]), h)
    packed = h.state.pack() if state is None else state(h.state.pack())
    start = h.session(3).coordinator.start(links=links, state=packed)
    return lambda: h.sites["doum"].handle(start)


@lie("secagg.link_short")
def links_that_end_before_the_start_state(stage):
    return led(stage, lambda links, h: links[:1])


@lie("secagg.link_gap")
def a_chain_with_a_missing_link(stage):
    return led(stage, lambda links, h: links[1:])


@lie("secagg.link_too_thin")
def a_link_that_colluders_alone_can_make(stage):
    return led(stage, lambda links, h: (links[0], links[1][:1]))


@lie("secagg.link_disagrees")
def a_link_of_two_outcomes(stage):
    return led(stage, lambda links, h: (links[0], (links[0][0], links[1][1])))


@lie("secagg.link_old")
def a_rollback_to_an_older_state(stage):
    return led(stage, lambda links, h: (*links, links[0]))


@lie("secagg.link_outsider")
def a_link_by_a_site_that_was_not_in_the_sum(stage):

    def outsider(links, h):
        wire = h.session(3).terms.wire
        told = replace(wire.open_past(links[0][0], Accept).body, survivors=("birch", "cedar"))
        signer = Signer("alder", SECRETS.key("alder"))
        return ((wire.seal(told, transcript=bytes(32), signer=signer),),)

    return led(stage, outsider)


@lie("secagg.state_altered")
def another_state_than_the_accepted_one(stage):
    def altered(words):
        words[-1] ^= 1
        return words

    return led(stage, lambda links, h: links, state=altered)


@lie("state.malformed")
def a_state_of_another_length(stage):
    return led(stage, lambda links, h: links, state=lambda words: words[:-1])


@lie("secagg.state_missing")
def links_without_the_state_that_they_lead_to(stage):
    h = stage.hospitals(4)
    play = h.session(1)
    play.until("accept", without={"doum"})
    play.close()
    start = h.session(2).coordinator.start(links=(h.accepts[1],), state=h.state.pack())
    return lambda: h.sites["doum"].handle(Packet(start.envelope))


@lie("message.other_sender", AGAIN)
def the_hello_of_another_site_given_back(stage):
    h = stage.hospitals()
    play = h.session(1).until("hello")
    start = h.session(1, attempt=2).coordinator.start(hello=play.replies["alder"].envelope)
    return lambda: h.sites["birch"].handle(start)
