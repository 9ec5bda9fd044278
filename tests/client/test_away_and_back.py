"""Sites that restart, miss rounds or are asked again: production sites on disk, messages one at a time."""

from __future__ import annotations

import shutil
import sqlite3

import msgspec
import numpy as np
import pytest
from hospitals import SECRETS, Hospitals, signed_roster

from wardround_common.errors import ConsentError, PrivacyError, ProtocolError, StorageError
from wardround_common.messages import NO_TRANSCRIPT, Abandon, Abort, Accept, Packet, Signer, Wire
from wardround_common.trust import COORDINATOR, Member

replace = msgspec.structs.replace


@pytest.fixture
def hospitals(tmp_path):
    opened = []

    def make(n=4, **options):
        opened.append(Hospitals(tmp_path / "homes", n, **options))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def refused(call):
    with pytest.raises((ProtocolError, ConsentError, PrivacyError)) as caught:
        call()
    return caught.value.code


def abandon(play, *, by=COORDINATOR) -> Packet:
    return Packet(
        play.terms.wire.seal(Abandon(), transcript=NO_TRANSCRIPT, signer=Signer(COORDINATOR, SECRETS.key(by)))
    )


def aborts_of(h, play, names) -> tuple[bytes, ...]:
    return tuple(h.sites[name].handle(abandon(play)).envelope for name in sorted(names))


def test_an_aborted_attempt_is_tried_again_with_the_same_update_and_no_second_spend(hospitals):
    h = hospitals(4)
    alder, birch, cedar, doum = h.names
    first = h.session(1).until("deal").until("masked", without={cedar, doum})
    first_uploads = {name: first.replies[name].array.copy() for name in (alder, birch)}
    aborts = aborts_of(h, first, (alder, birch, cedar))
    second = h.session(1, attempt=2).until("accept", aborts=aborts)
    assert {name: h.tasks[name].rounds for name in h.names} == dict.fromkeys(h.names, 1)
    assert second.coordinator.surviving == h.names
    undisturbed = Hospitals(h.home.parent / "undisturbed", 4)
    assert np.array_equal(undisturbed.session(1).until("accept").total, second.total)
    undisturbed.close()
    assert all(not np.array_equal(second.total, upload) for upload in first_uploads.values())


def test_an_attempt_is_not_tried_again_before_enough_of_its_cohort_aborted(hospitals):
    h = hospitals(4)
    alder, birch, cedar, doum = h.names
    first = h.session(1).until("deal").until("masked", without={cedar, doum})
    aborts = aborts_of(h, first, (alder, birch))
    second = h.session(1, attempt=2).until("deal", aborts=aborts)
    requests = second.ask("envelopes")
    assert refused(lambda: h.sites[alder].handle(requests[alder])) == "secagg.not_aborted"
    assert h.sites[cedar].handle(requests[cedar]).array is not None  # it has sent nothing before


@pytest.mark.parametrize("reply", ["masked", "confirm", "open", "accept"])
def test_a_site_that_restarts_goes_on_from_its_record(hospitals, reply):
    h = hospitals(4)
    play = h.session(1).until(reply)
    before = {name: packet.envelope for name, packet in play.replies.items()}
    h.restart("birch")
    if reply != "masked":  # asked again, it says the same
        again = h.sites["birch"].handle(play.requests["birch"])
        assert again.envelope == before["birch"]
    play.until("accept")
    assert len(play.coordinator.accepts) == 4
    play.close()
    h.session(2).until("accept")
    assert h.tasks["birch"].rounds == 2


def test_a_site_that_restarts_before_its_update_has_left_joins_the_next_attempt(hospitals):
    h = hospitals(4)
    play = h.session(1).until("deal")
    h.restart("birch")
    requests = play.ask("envelopes")
    assert refused(lambda: h.sites["birch"].handle(requests["birch"])) == "round.not_open"
    h.session(1, attempt=2).until("accept")
    assert h.tasks["birch"].rounds == 1


def test_an_error_after_the_update_has_left_does_not_end_the_attempt(hospitals):
    h = hospitals(4)
    play = h.session(1).until("masked")
    requests = play.ask("survivors")
    envelope = bytearray(requests["birch"].envelope)
    envelope[-1] ^= 1
    assert refused(lambda: h.sites["birch"].handle(Packet(bytes(envelope)))) == "identity.bad_signature"
    for name, request in requests.items():
        play.replies[name] = h.sites[name].handle(request)
        play.take("confirm", name)
    play.done += 1
    play.until("accept")


def test_an_abort_holds_after_a_restart_and_an_open_rules_it_out(hospitals):
    h = hospitals(4)
    play = h.session(1).until("masked")
    statement = h.sites["alder"].handle(abandon(play))
    opened = play.terms.wire.open(statement.envelope, Abort, transcript=NO_TRANSCRIPT, sender="alder")
    assert opened.body == Abort()
    h.restart("alder")
    assert h.sites["alder"].handle(abandon(play)).envelope == statement.envelope
    requests = play.ask("survivors")
    assert refused(lambda: h.sites["alder"].handle(requests["alder"])) == "secagg.aborted"
    for name in ("birch", "cedar", "doum"):
        play.replies[name] = h.sites[name].handle(requests[name])
        play.take("confirm", name)
    requests = play.ask("confirms")
    h.sites["birch"].handle(requests["birch"])
    assert refused(lambda: h.sites["birch"].handle(abandon(play))) == "secagg.abort_after_open"
    h.restart("birch")
    assert refused(lambda: h.sites["birch"].handle(abandon(play))) == "secagg.abort_after_open"


def test_only_the_coordinator_has_an_attempt_abandoned(hospitals):
    h = hospitals(4)
    play = h.session(1).until("masked")
    assert refused(lambda: h.sites["alder"].handle(abandon(play, by="birch"))) == "identity.bad_signature"
    bound = play.terms.wire.seal(
        Abandon(), transcript=play.terms.t0, signer=Signer(COORDINATOR, SECRETS.key(COORDINATOR))
    )
    assert refused(lambda: h.sites["alder"].handle(Packet(bound))) == "message.other_transcript"
    play.until("accept")


def test_nobody_aborts_before_it_knows_whose_word_counts(hospitals):
    h = hospitals(4)
    play = h.session(1)
    assert refused(lambda: h.sites["alder"].handle(abandon(play))) == "round.not_open"


# a site that was away


def rounds_without(h, name, count, *, evaluate=False):
    """Rounds 1 to ``count`` that ``name`` misses; the last one an EVALUATE round if wanted."""
    for number in range(1, count + 1):
        kind = "evaluate" if evaluate and number == count else "train"
        play = h.session(number, kind=kind)
        play.until("accept", without={name})
        play.close()


def catch_up(h, number, *, links=None, state=None, hello=b""):
    links = tuple(h.accepts[n] for n in sorted(h.accepts)) if links is None else links
    state = h.state.pack() if state is None else state
    play = h.session(number)
    return play, play.coordinator.start(links=links, state=state, hello=hello)


@pytest.mark.parametrize("evaluate", [False, True])
def test_a_site_that_missed_rounds_follows_the_links_and_takes_part(hospitals, evaluate):
    h = hospitals(4, rounds=5)
    rounds_without(h, "doum", 2, evaluate=evaluate)
    play, start = catch_up(h, 3)
    plain = play.coordinator.start()
    assert refused(lambda: h.sites["doum"].handle(plain)) == "secagg.start_state"
    assert h.tasks["doum"].rounds == 0
    play.requests = {name: start if name == "doum" else plain for name in h.names}
    for name in h.names:
        play.replies[name] = h.sites[name].handle(play.requests[name])
        play.take("hello", name)
    play.done = 1
    play.until("accept").close()
    h.restart("doum")
    h.session(4).until("accept")


def test_links_of_rounds_that_a_site_accepted_itself_are_passed_over(hospitals):
    h = hospitals(4)
    h.session(1).until("accept").close()
    play = h.session(2)
    play.until("accept", without={"doum"}).close()
    _, start = catch_up(h, 3)
    h.sites["doum"].handle(start)


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        (lambda links: (links[0],), "secagg.link_short"),
        (lambda links: (links[1],), "secagg.link_gap"),
        (lambda links: (links[0], links[1][:1]), "secagg.link_too_thin"),
        (lambda links: (links[0], (links[0][0], links[1][1])), "secagg.link_disagrees"),
        (lambda links: (links[0], links[1], links[1]), "secagg.link_old"),
        (lambda links: (), "secagg.start_state"),
        (lambda links: (links[0], (links[1][0], links[1][0], links[1][0])), "secagg.link_too_thin"),
    ],
)
def test_a_broken_chain_of_links_is_not_followed(hospitals, lie, code):
    h = hospitals(4)
    rounds_without(h, "doum", 2)
    links = tuple(h.accepts[n] for n in (1, 2))
    _, start = catch_up(h, 3, links=lie(links))
    assert refused(lambda: h.sites["doum"].handle(start)) == code
    assert h.tasks["doum"].rounds == 0


def test_a_link_needs_one_site_more_than_may_collude_besides_this_one(hospitals):
    h = hospitals(7, max_colluders=2)
    rounds_without(h, "ginkgo", 1)
    (link,) = (h.accepts[1],)
    _, start = catch_up(h, 2, links=(link[:2],))
    assert refused(lambda: h.sites["ginkgo"].handle(start)) == "secagg.link_too_thin"
    _, start = catch_up(h, 2, links=(link[:3],))
    h.sites["ginkgo"].handle(start)


def test_an_accept_of_a_site_that_was_not_in_the_sum_makes_no_link(hospitals):
    h = hospitals(4)
    rounds_without(h, "doum", 1)
    wire: Wire = h.session(1).terms.wire
    told = wire.open_past(h.accepts[1][0], Accept).body
    lie = wire.seal(told, transcript=bytes(32), signer=Signer("doum", SECRETS.key("doum")))
    forged = replace(told, survivors=("birch", "cedar"))
    outsider = wire.seal(forged, transcript=bytes(32), signer=Signer("alder", SECRETS.key("alder")))
    _, start = catch_up(h, 2, links=((*h.accepts[1], lie),))
    assert refused(lambda: h.sites["doum"].handle(start)) == "secagg.link_outsider"
    _, start = catch_up(h, 2, links=((outsider,),))
    assert refused(lambda: h.sites["doum"].handle(start)) == "secagg.link_outsider"


def test_the_bytes_of_the_state_must_be_those_that_were_accepted(hospitals):
    h = hospitals(4)
    rounds_without(h, "doum", 1)
    altered = h.state.pack()
    altered[-1] ^= 1
    for state, code in (
        (altered, "secagg.state_altered"),
        (h.state.pack()[:-1], "state.malformed"),
        (h.state.pack().astype(np.uint16), "state.malformed"),
    ):
        _, start = catch_up(h, 2, state=state)
        assert refused(lambda start=start: h.sites["doum"].handle(start)) == code
    _, start = catch_up(h, 2)
    assert refused(lambda: h.sites["doum"].handle(Packet(start.envelope))) == "secagg.state_missing"
    h.sites["doum"].handle(start)


def test_a_site_that_accepted_a_round_is_not_led_back_to_an_older_state(hospitals):
    h = hospitals(4)
    first = h.state
    play = h.session(1).until("accept")
    play.close()
    h.state = first
    _, start = catch_up(h, 2, links=(), state=first.pack())
    assert refused(lambda: h.sites["alder"].handle(start)) == "secagg.old_state"
    _, start = catch_up(h, 2, links=(h.accepts[1],), state=first.pack())
    assert refused(lambda: h.sites["alder"].handle(start)) == "secagg.link_short"


# what a site knows about itself


def test_a_ledger_older_than_the_hello_that_the_coordinator_returns_stops_the_site(hospitals):
    h = hospitals(4)
    ledger = h.home / "birch" / "ledger.sqlite"
    h.sites["birch"].close()
    copy = shutil.copy(ledger, h.home / "backup")
    head = shutil.copy(h.home / "birch" / "scratch" / "ledger.head", h.home / "head")
    h.sites["birch"] = h._open("birch")
    play = h.session(1).until("hello")
    hello = play.replies["birch"].envelope
    h.sites["birch"].close()
    shutil.copy(copy, ledger)
    shutil.copy(head, h.home / "birch" / "scratch" / "ledger.head")
    h.sites["birch"] = h._open("birch")
    again = h.session(1, attempt=2).coordinator.start(hello=hello)
    assert refused(lambda: h.sites["birch"].handle(again)) == "ledger.rolled_back"
    assert h.tasks["birch"].rounds == 1


def test_a_record_older_than_the_hello_that_the_coordinator_returns_stops_the_site(hospitals):
    h = hospitals(4)
    h.sites["birch"].close()
    record = h.home / "birch" / "protocol.sqlite"
    copy, scratch = record.read_bytes(), h.home / "birch" / "scratch" / "scratch.sqlite"
    h.sites["birch"] = h._open("birch")
    play = h.session(1).until("hello")
    hello = play.replies["birch"].envelope
    h.sites["birch"].close()
    record.write_bytes(copy)
    with pytest.raises(StorageError) as caught:
        h._open("birch")
    assert caught.value.code == "storage.record_rolled_back"
    with sqlite3.connect(scratch) as database:  # rolled back too
        database.execute("DELETE FROM tip")
    h.sites["birch"] = h._open("birch")
    again = h.session(1, attempt=2).coordinator.start(hello=hello)
    with pytest.raises(StorageError) as caught:
        h.sites["birch"].handle(again)
    assert caught.value.code == "storage.record_rolled_back"


def test_a_returned_hello_must_be_ones_own(hospitals):
    h = hospitals(4)
    play = h.session(1).until("hello")
    start = h.session(1, attempt=2).coordinator.start(hello=play.replies["alder"].envelope)
    assert refused(lambda: h.sites["birch"].handle(start)) == "message.other_sender"
    h.sites["alder"].handle(start)


def test_a_roster_with_another_key_for_this_site_is_refused(hospitals):
    h = hospitals(4)
    members = [Member(name, SECRETS.key(name).public) for name in h.names]
    members[1] = Member("birch", SECRETS.key("lead").public)
    h.signed = signed_roster(h.names, sites=tuple(members))
    start = h.session(1).coordinator.start()
    assert refused(lambda: h.sites["birch"].handle(start)) == "secagg.own_key"
    h.sites["alder"].handle(start)


def test_an_older_roster_is_refused_after_a_restart_too(hospitals):
    h = hospitals(4)
    h.sites["birch"].handle(h.session(1).coordinator.start())
    h.restart("birch")
    h.signed = signed_roster(h.names, version=4)
    start = h.session(1, attempt=2).coordinator.start()
    assert refused(lambda: h.sites["birch"].handle(start)) == "trust.roster_stale"


def test_a_site_pauses_itself_after_two_rounds_that_came_to_nothing(hospitals):
    h = hospitals(4)
    for number in (1, 2):
        h.session(number).until("masked")
    start = h.session(3).coordinator.start()
    assert refused(lambda: h.sites["birch"].handle(start)) == "secagg.two_void_rounds"
    h.restart("birch")
    assert refused(lambda: h.sites["birch"].handle(start)) == "secagg.two_void_rounds"
    assert h.tasks["birch"].rounds == 2
    h.sites["birch"].settle(h.plan, "The coordinator's disk was full.")
    h.sites["birch"].handle(start)


def test_a_start_that_is_refused_leaves_the_attempt_before_it_open(hospitals):
    h = hospitals(4)
    play = h.session(1).until("hello")
    lie = h.session(1, attempt=2, state=b"x" * 32).coordinator.start()
    assert refused(lambda: h.sites["birch"].handle(lie)) == "secagg.start_state"
    play.until("accept")
