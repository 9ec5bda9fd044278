"""The coordinator dies at every durable write and at every message, is started again, and nothing is lost.

Sites live on; what was on its way to a site when the coordinator died arrives, and its reply is lost.
"""

import contextlib
import sqlite3
from functools import partial

import numpy as np
import pytest
from federations import make_known_site

from wardround_client.policy import SitePolicy
from wardround_client.site import open_ledger
from wardround_common.messages import EXCHANGES, peek_request
from wardround_common.plan import AggregationPlan
from wardround_common.secagg.ring import vector_digest
from wardround_common.trust import plan_digest
from wardround_server.app import FlowerTransport
from wardround_server.journal import Journal
from wardround_server.observer import Silent
from wardround_server.transport import Reply
from wardround_simulations.federation import make_study, make_workers
from wardround_simulations.grid import FIRST_NODE, LocalGrid


class Killed(BaseException):
    """The coordinator's process is gone."""


class Reaper:
    """Counts the points at which the coordinator may die, and lets it die at one of them."""

    def __init__(self, at=None):
        self.at, self.passed = at, []

    def __call__(self, name):
        self.passed.append(name)
        if len(self.passed) - 1 == self.at:
            raise Killed(name)

    def wire(self, leg, node, message_type, data):
        self(f"{leg} {message_type} {node}")
        return data


class Watched:
    """A transport that keeps what was asked of each node in each attempt, and loses what it is told to."""

    def __init__(self, transport, asked, lost):
        self.transport, self.asked, self.lost = transport, asked, lost

    def nodes(self):
        return self.transport.nodes()

    def exchange(self, name, packets, *, timeout_s):
        contexts = {}
        for node, packet in packets.items():
            envelope = peek_request(packet.envelope, sites=3)
            contexts[node] = (envelope.round, envelope.attempt, name, node - FIRST_NODE)
            self.asked.setdefault(contexts[node], set()).add((packet.envelope, digest_of(packet.array)))
        for reply in self.transport.exchange(name, packets, timeout_s=timeout_s):
            if contexts[reply.node] in self.lost:
                reply = Reply(node=reply.node, packet=None, code="transport.timeout")
            yield reply


def digest_of(array):
    return None if array is None else vector_digest(array)


class Lives:
    """One study of a coordinator that is started again whenever it has died."""

    def __init__(self, small, folder, *, lost=()):
        self.federation = small.federation
        self.path = folder / "journal.sqlite"
        self.workers = make_workers(self.federation, make_known_site)
        self.lost, self.asked = lost, {}

    def live(self, reaper):
        journal = Journal(self.path, plan=plan_digest(self.federation.plan), hook=reaper)
        try:
            study = make_study(self.federation, Silent(), journal=journal)
            transport = FlowerTransport(LocalGrid(self.workers, wire=reaper.wire), poll_s=0.0)
            study.run(Watched(transport, self.asked, self.lost))
            return study.outcome
        finally:
            journal.close()
            for _ in self.workers.poll(0.0):
                pass

    def opens(self, site):
        """How often this site released shares, by round."""
        path = self.federation.home(site) / "protocol.sqlite"
        with contextlib.closing(sqlite3.connect(path)) as db:
            return dict(db.execute("SELECT round, count(*) FROM released GROUP BY round"))

    def spends(self, site):
        identifier = self.federation.scenario.secrets.ledger_id(site)
        ledger = open_ledger(self.federation.home(site), policy=SitePolicy(), simulation_id=identifier)
        try:
            assert ledger.verify() > 0
            return [spend.round for spend in ledger.spends("test")]
        finally:
            ledger.shut()


class Case:
    """A plan and what gets lost: ``quiet`` is how its study ends when the coordinator never dies."""

    def __init__(self, world, tmp_path, verify, *, lost=(), rounds=2):
        aggregation = AggregationPlan(exchange_timeout_s=60.0, verify=verify)
        self.make = partial(world, 3, rounds=rounds, aggregation=aggregation)
        self.tmp_path, self.lost = tmp_path, lost
        reaper = Reaper()
        self.quiet = self.lives("quiet").live(reaper)
        self.points = reaper.passed
        assert [record.void for record in self.quiet.records] == [""] * (rounds + 1)

    def lives(self, name):
        folder = self.tmp_path / name
        folder.mkdir()
        return Lives(self.make(out=f"{name}/sites"), folder, lost=self.lost)

    def die_at(self, *points):
        lives = self.lives("-".join(map(str, points)))
        try:
            with pytest.raises(Killed):
                lives.live(Reaper(points[0]))
            for point in points[1:]:
                with contextlib.suppress(Killed):  # the second life may be shorter
                    lives.live(Reaper(point))
            self.check(lives, lives.live(Reaper()))
        except BaseException as error:
            error.add_note(f"the coordinator died at {[(p, self.points[p]) for p in points]}")
            raise
        finally:
            lives.workers.close()

    def check(self, lives, outcome):
        assert outcome.state.digest == self.quiet.state.digest
        assert np.array_equal(outcome.counts, self.quiet.counts)
        assert outcome.releasable
        for record, quiet in zip(outcome.records, self.quiet.records, strict=True):
            assert (record.number, record.kind, record.attempts) == (quiet.number, quiet.kind, quiet.attempts)
            assert (record.void, record.cohort, record.survivors) == ("", quiet.cohort, quiet.survivors)
            assert record.accepted == quiet.accepted
        rounds = [record.number for record in self.quiet.records]
        for site in lives.federation.names:
            assert lives.spends(site) == rounds
            assert lives.opens(site) == dict.fromkeys(rounds, 1)
        for where, said in lives.asked.items():
            assert len(said) == 1, f"two different requests at {where}"


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    ("verify", "lost"),
    [("full", ()), ("sum", ()), ("full", ((1, 1, "envelopes", 1),)), ("sum", ((1, 1, "survivors", 2),))],
)
def test_a_coordinator_that_dies_at_any_point_and_is_started_again_loses_nothing(
    world, tmp_path, verify, lost, capsys
):
    case = Case(world, tmp_path, verify, lost=lost, rounds=1 if lost else 2)
    assert case.quiet.records[0].attempts == (2 if lost else 1)
    for point in range(len(case.points)):
        case.die_at(point)
    with capsys.disabled():
        what = f"verify = {verify}, {'a retry' if lost else 'no retry'}"
        print(f"\ncoordinator, {what}: killed and resumed at {len(case.points)} points")


@pytest.mark.end_to_end
def test_a_coordinator_that_dies_again_while_it_goes_on_loses_nothing(world, tmp_path):
    case = Case(world, tmp_path, "full", lost=((1, 1, "envelopes", 1),), rounds=1)
    draw = np.random.default_rng(5)
    for first in range(3, len(case.points), 6):
        case.die_at(first, int(draw.integers(0, 25)))


@pytest.mark.parametrize("verify", ["full", "sum"])
def test_a_coordinator_that_dies_around_the_closing_of_an_exchange_loses_nothing(world, tmp_path, verify):
    case = Case(world, tmp_path, verify)
    ends = [i for i, name in enumerate(case.points) if "close" in name or "end round" in name]
    for point in ends[:: 6 if verify == "full" else 7]:
        case.die_at(point)


def test_points_lie_before_and_after_every_durable_write_and_at_every_message(world, tmp_path):
    points = Case(world, tmp_path, "full", rounds=1).points
    for name in (
        "begin 1",
        "reply 1 start alder",
        "close 1 confirms",
        "reply 1 envelopes cedar",
        "end round 2",
    ):
        assert f"before {name}" in points
        assert f"after {name}" in points
    for leg in ("request", "reply"):
        for exchange in EXCHANGES[:6]:
            assert sum(name == f"{leg} query.{exchange} {FIRST_NODE}" for name in points) == 2
