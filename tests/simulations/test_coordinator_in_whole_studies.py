"""The coordinator's study over its journal: lies of a site, evidence, pauses, links, what may be released."""

import contextlib
import datetime
import sqlite3
from functools import partial

import msgspec
import numpy as np
import pytest
from federations import KnownTask

from wardround_client.app import make_client_app
from wardround_common.canonical import decode, encode
from wardround_common.errors import ProtocolError, StorageError
from wardround_common.messages import TABLE, Accept, Envelope, Open, Packet, Start, peek
from wardround_common.plan import AggregationPlan
from wardround_common.trust import plan_digest
from wardround_server.app import FlowerTransport
from wardround_server.journal import Journal
from wardround_server.observer import Silent
from wardround_simulations.federation import make_study, make_workers
from wardround_simulations.grid import FIRST_NODE, LocalGrid, answer, unchanged
from wardround_simulations.secrets import Secrets
from wardround_simulations.sites import SPEC_LIMIT_BYTES, SiteSpec, catalogue_of, open_site

replace = msgspec.structs.replace
LIMIT = 1 << 26


def reseal(packet, key, kind, change):
    """A site's reply with another body, signed by the site."""
    envelope = decode(packet.envelope, Envelope, limit_bytes=LIMIT)
    body = encode(change(decode(envelope.body, kind, limit_bytes=LIMIT)))
    envelope = replace(envelope, body=body)
    signed = replace(envelope, signature=key.sign("envelope", envelope.signed_bytes))
    return Packet(encode(signed), packet.array)


class Liar:
    """Makes the sites of a federation; one of them changes what it says in one kind of message, once."""

    def __init__(self, site, kind, change):
        self.site, self.kind, self.change, self.told = site, kind, change, False
        self.sites = []

    def __call__(self, node_spec):
        spec = decode(node_spec, SiteSpec, limit_bytes=SPEC_LIMIT_BYTES)
        site = open_site(spec, task=lambda name: KnownTask())
        site.approve(spec.signed_plan, catalogue_of(spec))
        self.sites.append(site)
        handle = partial(self.handle, site, spec) if spec.name == self.site else site.handle
        return partial(answer, make_client_app(handle), spec.node)

    def handle(self, site, spec, packet):
        reply = site.handle(packet)
        if self.told or decode_type(reply) != TABLE[self.kind].type:
            return reply
        self.told = True
        return reseal(reply, Secrets(spec.seed).key(spec.name), self.kind, self.change)


def decode_type(packet):
    with contextlib.suppress(ProtocolError):  # only a DEAL travels in a parcel
        return decode(packet.envelope, Envelope, limit_bytes=LIMIT).type
    return "parcel"


class Coordinator:
    """A coordinator on a journal that several lives share, and its living sites."""

    def __init__(self, small, tmp_path, *, factory):
        self.federation = small.federation
        self.path = tmp_path / "journal.sqlite"
        self.factory = factory
        self.workers = make_workers(self.federation, factory)
        self.starts = []

    @contextlib.contextmanager
    def alive(self):
        journal = Journal(self.path, plan=plan_digest(self.federation.plan))
        try:
            yield make_study(self.federation, Silent(), journal=journal), journal
        finally:
            journal.close()

    def run(self, *, wire=unchanged, observer=None):
        with self.alive() as (study, _):
            study.run(Watched(FlowerTransport(LocalGrid(self.workers, wire=wire), poll_s=0.0), self.starts))
            return study.outcome


class Watched:
    """A transport that keeps the STARTs that went out, by node."""

    def __init__(self, transport, starts):
        self.transport, self.starts = transport, starts

    def nodes(self):
        return self.transport.nodes()

    def exchange(self, name, packets, *, timeout_s):
        if name == "start":
            for node, packet in packets.items():
                envelope = peek(packet.envelope, Start, sites=10)
                body = decode(envelope.body, Start, limit_bytes=LIMIT)
                self.starts.append((envelope.round, node - FIRST_NODE, body, packet.array))
        return self.transport.exchange(name, packets, timeout_s=timeout_s)


@pytest.fixture
def coordinator(world, tmp_path):
    def make(n, *, liar=None, **changes):
        return Coordinator(world(n, **changes), tmp_path, factory=liar or Liar("nobody", Open, None))

    return make


def test_a_site_that_opens_wrong_shares_is_blamed_and_survived(coordinator):
    lie = Liar("cedar", Open, lambda body: replace(body, seed_shares=(bytes(33), *body.seed_shares[1:])))
    outcome = coordinator(5, liar=lie, rounds=1).run()
    record = outcome.records[0]
    assert lie.told
    assert record.blamed == {"cedar": "secagg.wrong_opened_share"}
    assert ("confirms", "cedar", "secagg.wrong_opened_share") in record.refusals
    assert record.void == ""
    assert record.accepted == ("alder", "birch", "doum", "elm")
    assert outcome.releasable


def test_at_three_a_site_that_opens_wrong_shares_makes_the_round_void_and_is_named(coordinator):
    lie = Liar("cedar", Open, lambda body: replace(body, seed_shares=(bytes(33), *body.seed_shares[1:])))
    record = coordinator(3, liar=lie, rounds=1).run().records[0]
    assert (record.void, record.attempts) == ("secagg.too_few_opens", 1)
    assert record.blamed == {"cedar": "secagg.wrong_opened_share"}


def test_a_forked_accept_is_kept_and_pauses_the_study_until_somebody_resumes_it(coordinator):
    lie = Liar("birch", Accept, lambda body: replace(body, next=b"x" * 32))
    study = coordinator(5, liar=lie, rounds=2)
    outcome = study.run()
    assert outcome.paused == "secagg.fork"
    assert [record.void for record in outcome.records] == [""]
    assert outcome.records[0].accepted == ("alder", "cedar", "doum", "elm")
    with study.alive() as (again, journal):
        assert again.outcome.paused == "secagg.fork"
        ((where, envelope),) = journal.evidence().items()
        assert where == (1, "birch")
        assert (
            decode(decode(envelope, Envelope, limit_bytes=LIMIT).body, Accept, limit_bytes=LIMIT).next
            == b"x" * 32
        )
    assert len(study.run().records) == 1  # still paused
    with study.alive() as (again, _):
        again.resume("the lead called birch")
    outcome = study.run()
    assert outcome.paused == ""
    assert [record.void for record in outcome.records] == ["", "", ""]
    assert outcome.records[1].survivors == ("alder", "birch", "cedar", "doum", "elm")


def lose(round_numbers, node):
    """A wire on which a site misses whole rounds; told of rounds by the STARTs."""

    def wire(leg, to, message_type, data):
        return None if to == FIRST_NODE + node and wire.round() in round_numbers else data

    return wire


def test_start_tells_each_site_what_it_missed(coordinator):
    study = coordinator(5, rounds=4)
    wire = lose({2, 3}, 1)
    wire.round = lambda: study.starts[-1][0]
    outcome = study.run(wire=wire)
    assert [len(record.survivors) for record in outcome.records] == [5, 4, 4, 5, 5]
    said = {(number, node): (body, array) for number, node, body, array in study.starts}
    for number in (1, 2, 5):
        for node in range(5):
            assert said[number, node][0].links == ()
            assert said[number, node][1] is None
    for number in range(2, 6):
        assert len(said[number, 0][0].accepts) == (5 if number in (2, 5) else 4)
        assert peek_hello(said[number, 0][0]) == ("alder", number - 1)
    links = said[4, 1][0].links
    assert [[peek(data, Accept, sites=5).sender for data in link] for link in links] == [
        ["alder", "cedar", "doum", "elm"],
        ["alder", "cedar", "doum", "elm"],
    ]
    assert [peek(link[0], Accept, sites=5).round for link in links] == [2, 3]
    assert said[4, 1][1].dtype == np.uint32
    assert peek_hello(said[4, 1][0]) == ("birch", 1)
    assert said[4, 0][0].links == ()


def peek_hello(start):
    envelope = decode(start.hello, Envelope, limit_bytes=LIMIT)
    assert envelope.type == "hello"
    return envelope.sender, envelope.round


def test_a_node_that_nobody_knows_gets_all_links_when_it_says_that_it_starts_elsewhere(coordinator):
    study = coordinator(5, rounds=3)
    wire = lose({2}, 1)
    wire.round = lambda: study.starts[-1][0]

    def stop_after_two(leg, node, message_type, data):
        if wire.round() == 3:
            raise Stop
        return wire(leg, node, message_type, data)

    with pytest.raises(Stop):
        study.run(wire=stop_after_two)
    for _ in study.workers.poll(0.0):
        pass
    with sqlite3.connect(study.path) as db:
        db.execute("DELETE FROM hello")
    del study.starts[:]
    outcome = study.run()
    assert [len(record.survivors) for record in outcome.records] == [5, 4, 5, 5]
    birch = [(body, array) for number, node, body, array in study.starts if (number, node) == (3, 1)]
    assert [len(body.links) for body, _ in birch] == [0, 2]
    assert [array is None for _, array in birch] == [True, False]
    assert all(body.hello == b"" for number, _, body, _ in study.starts if number == 3)


def test_a_study_that_has_ended_is_remembered_as_it_ended(coordinator):
    study = coordinator(3, rounds=2)
    first = study.run()
    second = study.run()
    assert second.records == first.records
    assert second.state.digest == first.state.digest
    assert np.array_equal(second.counts, first.counts)
    assert second.counted_sites == first.counted_sites
    assert (second.releasable, second.accepted_by) == (True, first.accepted_by)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE round SET next = zeroblob(32) WHERE number = 2",
        "UPDATE round SET record = x'00' WHERE number = 1",
        "UPDATE accept SET envelope = x'00' WHERE round = 1 AND site = 'alder'",
        "UPDATE accept SET site = 'zebra' WHERE round = 1 AND site = 'alder'",
        "DELETE FROM vector WHERE name = 'state'",
        "UPDATE vector SET name = 'state' WHERE name = 'counts'",
    ],
)
def test_a_journal_that_does_not_fit_together_is_refused(coordinator, change):
    study = coordinator(3, rounds=2)
    study.run()
    with sqlite3.connect(study.path) as db:
        if "'counts'" in change:
            for table in ("vector", "piece"):
                db.execute(f"DELETE FROM {table} WHERE name = 'state'")
                db.execute(f"UPDATE {table} SET name = 'state' WHERE name = 'counts'")
        else:
            db.execute(change)
    with pytest.raises(StorageError) as caught:
        study.run()
    assert caught.value.code == "journal.corrupt"
    assert caught.value.remedy


class Stop(BaseException):
    """The coordinator's process is gone."""


def stop_at(exchange, *, number=1):
    """A wire on which the coordinator dies when it sends the requests of an exchange."""

    def wire(leg, node, message_type, data):
        if message_type == f"query.{exchange}" and wire.round() == number:
            raise Stop
        return data

    return wire


def stopped(study, exchange, *, number=1):
    """Run a study until its coordinator dies; what was on its way arrives."""
    wire = stop_at(exchange, number=number)
    wire.round = lambda: study.starts[-1][0]
    with pytest.raises(Stop):
        study.run(wire=wire)
    for _ in study.workers.poll(0.0):
        pass


@pytest.mark.parametrize("verify", ["full", "sum"])
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE reply SET site = 'fir' WHERE exchange = 'start' AND site = 'alder'",
        "UPDATE reply SET envelope = x'00' WHERE exchange = 'cohort' AND site = 'alder'",
        "UPDATE reply SET envelope = (SELECT envelope FROM reply "
        "WHERE exchange = 'envelopes' AND site = 'birch') WHERE exchange = 'envelopes' AND site = 'alder'",
        "DELETE FROM vector",
        "DELETE FROM piece",
        "UPDATE attempt SET roster = x'00'",
        "UPDATE attempt SET number = 2",
    ],
)
def test_an_attempt_under_way_that_does_not_fit_together_is_refused(coordinator, change, verify):
    study = coordinator(3, rounds=1, aggregation=AggregationPlan(exchange_timeout_s=60.0, verify=verify))
    stopped(study, "survivors")
    with sqlite3.connect(study.path) as db:
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute(change)
    with pytest.raises(StorageError) as caught:
        study.run()
    assert caught.value.code == "journal.corrupt"
    assert caught.value.remedy


def test_the_roster_may_be_renewed_while_an_attempt_is_under_way(coordinator, monkeypatch):
    study = coordinator(3, rounds=1)
    stopped(study, "survivors")
    before = {body.roster for _, _, body, _ in study.starts}
    monkeypatch.setattr("time.time", lambda: datetime.datetime.now().timestamp() + 1000)
    outcome = study.run()
    assert [(record.void, record.attempts) for record in outcome.records] == [("", 1), ("", 1)]
    after = {body.roster for number, _, body, _ in study.starts if number == 2}
    assert len(before) == len(after) == 1
    assert before != after


def test_sites_that_changed_places_are_found_again(coordinator):
    study = coordinator(3, rounds=2)
    stopped(study, "start", number=2)
    with sqlite3.connect(study.path) as db:
        db.execute("UPDATE hello SET node = 5 - node WHERE site IN ('alder', 'birch')")
    outcome = study.run()
    assert [record.survivors for record in outcome.records] == [study.federation.names] * 3
    assert ("start", "alder", "message.other_sender") in outcome.records[1].refusals
    assert outcome.records[2].refusals == []


def test_a_study_paused_by_void_rounds_goes_on_when_it_is_resumed_and_counts_anew(coordinator):
    study = coordinator(3, rounds=6)
    gone = {(number, "confirms") for number in (2, 3, 4)}

    def wire(leg, node, message_type, data):
        here = (study.starts[-1][0], message_type.split(".")[1])
        return None if here in gone and node == FIRST_NODE else data

    outcome = study.run(wire=wire)
    assert (outcome.paused, len(outcome.records)) == ("secagg.too_few_opens", 3)
    with study.alive() as (again, _):
        again.resume("the network is mended")
    for site in study.factory.sites:
        site.settle(study.federation.plan, "the network is mended")
    outcome = study.run(wire=wire)
    assert outcome.paused == ""
    assert [bool(record.void) for record in outcome.records] == [False, True, True, True, False, False, False]
