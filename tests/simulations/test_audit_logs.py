"""The audit logs of a federation against what really crossed the wire, byte for byte."""

from __future__ import annotations

import hashlib
from contextlib import closing
from functools import partial

import pytest
from audits import contents
from federations import NAMES, KnownTask

from wardround_client.app import make_client_app
from wardround_common.audit import REPLIES, Happened, Refused, Sent, Taken, verify
from wardround_common.canonical import decode
from wardround_common.plan import AggregationPlan
from wardround_common.secagg.ring import vector_digest
from wardround_common.trust import COORDINATOR
from wardround_server.app import _to_packet
from wardround_server.observer import Silent
from wardround_simulations.federation import make_study, open_audit
from wardround_simulations.grid import FIRST_NODE, _decode, answer, unchanged
from wardround_simulations.sites import SPEC_LIMIT_BYTES, SiteSpec, catalogue_of, open_site


class Tap:
    """What left each end, as it was on the wire; may alter or lose it afterwards."""

    def __init__(self, change=unchanged):
        self.sent = {name: [] for name in (*NAMES[:3], COORDINATOR)}
        self._change = change

    def __call__(self, leg, node, message_type, data):
        exchange = message_type.removeprefix("query.")
        site = NAMES[node - FIRST_NODE]
        message = _decode(data)
        assert message is not None
        if message.has_error():
            what = ("refused", message.error.reason)
        else:
            packet = _to_packet(message.content)
            array = packet.array
            what = (
                "sent",
                exchange,
                site if leg == "request" else COORDINATOR,
                len(packet.envelope),
                hashlib.sha256(packet.envelope).digest(),
                0 if array is None else array.nbytes,
                b"" if array is None else vector_digest(array),
            )
        self.sent[COORDINATOR if leg == "request" else site].append(what)
        return self._change(leg, node, message_type, data)


def logged(world, party):
    """What a log says that left."""
    rows = log_of(world, party, Sent, *([] if party == COORDINATOR else [Refused]))
    return [
        ("refused", row.code)
        if isinstance(row, Refused)
        else ("sent", row.exchange, peer(row), row.size, row.digest, row.array_size, row.array_digest)
        for row in rows
    ]


def peer(row):
    """START goes to a node, whose number is all that is known of it at first."""
    return NAMES[int(row.peer) - FIRST_NODE] if row.peer.isdigit() else row.peer


def path_of(world, party):
    out = world.federation.out
    return (out / party if party == COORDINATOR else out / "sites" / party) / "audit.sqlite"


def key_of(world, party):
    return world.federation.scenario.secrets.key(party).public


def log_of(world, party, *sorts):
    entries = contents(path_of(world, party), key=key_of(world, party))
    return [entry for entry in entries if not sorts or isinstance(entry, sorts)]


@pytest.mark.parametrize("verify_rule", ["full", "sum"])
def test_the_logs_say_what_crossed_the_wire_byte_for_byte_in_order(world, verify_rule):
    made = world(3, aggregation=AggregationPlan(exchange_timeout_s=60.0, verify=verify_rule))
    tap = Tap()
    made.run(wire=tap)
    for party in (*NAMES[:3], COORDINATOR):
        assert logged(made, party) == tap.sent[party]
        assert verify(path_of(made, party), key_of(made, party)).good
    assert len(tap.sent["birch"]) == 6 * 4
    assert not any(row.repeated for row in log_of(made, "birch", Sent))


def test_what_the_sites_say_they_sent_is_what_the_coordinator_says_it_took(world):
    made = world(3)
    made.run()
    taken = log_of(made, COORDINATOR, Taken)
    for site in NAMES[:3]:
        theirs = [(row.message, row.round, row.digest, row.array_digest) for row in taken if row.peer == site]
        mine = [(r.message, r.round, r.digest, r.array_digest) for r in log_of(made, site, Sent)]
        assert theirs == mine
    assert {row.message for row in taken} == set(REPLIES.values()) - {"abort"}
    ended = log_of(made, COORDINATOR, Happened)
    assert [(row.event, row.round, row.kind, row.code) for row in ended] == [
        ("round_ended", 1, "train", ""),
        ("round_ended", 2, "train", ""),
        ("round_ended", 3, "train", ""),
        ("round_ended", 4, "evaluate", ""),
    ]
    assert ended[0].cohort == NAMES[:3]


def test_a_reply_that_was_lost_and_sent_again_is_twice_in_the_sites_log(world):
    lost = []

    def lose(leg, node, message_type, data):
        if leg == "reply" and message_type == "query.result" and node == FIRST_NODE and not lost:
            return lost.append(data)
        return data

    made = world(3, aggregation=AggregationPlan(exchange_timeout_s=60.0))
    tap = Tap(lose)
    made.run(wire=tap)
    assert logged(made, "alder") == tap.sent["alder"]
    rows = [row for row in log_of(made, "alder", Sent) if row.message == "accept" and row.round == 1]
    silent = [row for row in log_of(made, COORDINATOR, Refused) if row.peer == "alder"]
    assert [(row.code, row.size, row.left) for row in silent] == [("transport.unavailable", 0, 0)]
    again = [
        row for row in log_of(made, COORDINATOR, Sent) if row.peer == "alder" and row.message == "result"
    ]
    assert len(rows) == len([row for row in again if row.round == 1])
    assert [row.repeated for row in rows] == [False, True]


def test_a_reply_that_was_altered_on_its_way_is_refused_in_the_coordinators_log(world):
    def alter(leg, node, message_type, data):
        if leg == "reply" and message_type == "query.survivors" and node == FIRST_NODE + 1:
            cut = data.index(b"confirm")
            return data[:cut] + b"cOnfirm" + data[cut + 7 :]
        return data

    made = world(3)
    tap = Tap(alter)
    made.run(wire=tap)
    assert logged(made, "birch") == tap.sent["birch"]
    refused = [row for row in log_of(made, COORDINATOR, Refused) if row.exchange == "survivors"]
    assert {(row.peer, row.code) for row in refused} == {("birch", "message.malformed")}
    confirms = {row.digest for row in log_of(made, "birch", Sent) if row.message == "confirm"}
    assert all(row.size and row.digest not in confirms for row in refused)


@pytest.mark.parametrize(
    ("exchange", "old", "new"),
    [
        ("start", b"envelope", b"Envelope"),  # no packet at all
        ("start", b"start", b"cohor"),  # cannot be read
        ("survivors", b"survivors", b"survivorz"),
        ("result", b"result", b"cohort"),
    ],
)
def test_an_error_code_on_the_wire_is_in_the_log_with_its_size(world, exchange, old, new):
    def alter(leg, node, message_type, data):
        if leg == "request" and message_type == f"query.{exchange}" and node == FIRST_NODE + 1:
            cut = data.rindex(old) if exchange == "start" else data.index(old, data.index(b"envelope"))
            return data[:cut] + new + data[cut + len(old) :]
        return data

    made = world(3)
    tap = Tap(alter)
    made.run(wire=tap)
    for site in NAMES[:3]:
        assert logged(made, site) == tap.sent[site]
    refusals = log_of(made, "birch", Refused)
    assert refusals
    assert all(row.left == len(row.code) for row in refusals)


def test_a_pause_is_in_the_log_and_a_second_run_goes_on_with_it(world):
    made = world(3)

    def deaf(leg, node, message_type, data):
        return None if message_type == "query.cohort" else data

    outcome = made.run(wire=deaf)
    assert outcome.paused
    events = [(row.event, row.code) for row in log_of(made, COORDINATOR, Happened)]
    assert events[-1] == ("paused", outcome.paused)
    with closing(open_audit(made.federation)) as audit:
        make_study(made.federation, Silent(), audit=audit).resume("The lead:\nsites are back.")
    resumed = log_of(made, COORDINATOR, Happened)[-1]
    assert (resumed.event, resumed.study, resumed.note) == ("resumed", "test", "The lead: sites are back.")
    before = len(log_of(made, COORDINATOR))
    made.run(wire=deaf)
    assert len(log_of(made, COORDINATOR)) > before
    assert verify(path_of(made, COORDINATOR), key_of(made, COORDINATOR)).good


def make_site_with_a_full_log(spec, *, after):
    """birch's log takes nothing more after so many replies."""
    what = decode(spec, SiteSpec, limit_bytes=SPEC_LIMIT_BYTES)
    site = open_site(what, task=lambda _: KnownTask())
    site.approve(what.signed_plan, catalogue_of(what))
    handled = []

    def handle(packet):
        handled.append(packet)
        if what.name == "birch" and len(handled) > after:
            site._egress._log._file._connection.execute("PRAGMA query_only = ON")
        return site.handle(packet)

    return partial(answer, make_client_app(handle), what.node)


@pytest.mark.parametrize("after", [0, 1, 3, 8])
def test_nothing_leaves_a_site_whose_log_cannot_be_written(world, after):
    made = world(3)
    tap = Tap()
    outcome = made.run(wire=tap, factory=partial(make_site_with_a_full_log, after=after))
    assert len(tap.sent["birch"]) == after
    assert logged(made, "birch") == tap.sent["birch"]
    assert outcome.paused
    silent = {row.code for row in log_of(made, COORDINATOR, Refused) if peer(row) == "birch"}
    assert silent == {"site.crashed"}  # what the grid says of a site that said nothing


def test_the_logs_of_worker_processes_are_whole(world):
    made = world(3, workers=2)
    made.run()
    for party in (*NAMES[:3], COORDINATOR):
        assert verify(path_of(made, party), key_of(made, party)).good
    assert len(log_of(made, "cedar", Sent)) == 24
