"""A hospital's power fails at every durable write and before every reply: nothing changes.

One site of three (all of which must be there) is cut off at one point of two TRAIN rounds and the EVALUATE
round, and starts again from its disk; the coordinator and the other sites go on. Whatever the point, the run
ends with the model and the counts of the run without failures, no round is paid for or opened twice, and none
is void. Training that was cut short is repeated from its stored secret, to the same bytes.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from crashes import Countdown, PowerCut, watched
from federations import NAMES, KnownTask, make_world

from wardround_client.app import make_client_app
from wardround_client.site import open_ledger
from wardround_common.canonical import decode
from wardround_common.messages import TABLE, Envelope, Open
from wardround_common.plan import AggregationPlan
from wardround_simulations.grid import answer
from wardround_simulations.sites import SPEC_LIMIT_BYTES, SiteSpec, catalogue_of, open_site

VICTIM = NAMES[1]
ROUNDS = 2


class Task(KnownTask):
    """Counts how often each site computed something."""

    def __init__(self) -> None:
        self.trained: list[str] = []
        self.counted = 0

    def train_round(self, plan, *, site, **rest):
        self.trained.append(site)
        return super().train_round(plan, site=site, **rest)

    def evaluate(self, plan, **rest):
        self.counted += 1
        return super().evaluate(plan, **rest)


class Hospital:
    """A site that starts again from its disk when its power has failed."""

    def __init__(self, spec: bytes, *, task: Task, power: Countdown, sent: list[bytes]) -> None:
        self._spec = decode(spec, SiteSpec, limit_bytes=SPEC_LIMIT_BYTES)
        self._task, self._power, self._sent = task, power, sent
        self._start()

    def _start(self) -> None:
        self.site = open_site(self._spec, task=lambda _: self._task)
        self.site.approve(self._spec.signed_plan, catalogue_of(self._spec))

    def __call__(self, data: bytes) -> bytes:
        if self._spec.name != VICTIM:
            return self._answer(data)
        self._power.on = True
        try:
            reply = self._answer(data)
            self._power("reply")
        except PowerCut:
            self._power.on = False
            self.site.close()
            self._start()
            return b""
        self._power.on = False
        return reply

    def _answer(self, data: bytes) -> bytes:
        def handle(packet):
            reply = self.site.handle(packet)
            self._sent.append(reply.envelope)
            return reply

        return answer(make_client_app(handle), self._spec.node, data)


def run(tmp_path, *, fatal=0, verify="full"):
    aggregation = AggregationPlan(exchange_timeout_s=60.0, verify=verify)
    world = make_world(tmp_path, 3, rounds=ROUNDS, aggregation=aggregation)
    power, task, sent = Countdown(fatal), Task(), []
    with watched(power):
        outcome = world.run(factory=partial(Hospital, task=task, power=power, sent=sent))
    assert outcome.paused == ""
    assert [record.void for record in outcome.records] == [""] * (ROUNDS + 1)
    opens = {}
    for data in set(sent):
        if (envelope := opened(data)) is not None:
            opens.setdefault((envelope.sender, envelope.round), set()).add(data)
    assert all(len(different) == 1 for different in opens.values())
    costs = []
    for site in world.federation.names:
        ledger = open_ledger(
            world.federation.home(site),
            policy=world.federation.policy,
            simulation_id=world.federation.scenario.secrets.ledger_id(site),
        )
        costs.append(ledger.epsilon_spent("test"))
        ledger.shut()
    return power.told, (outcome.state.digest, outcome.counts.tolist(), costs), task


def opened(data: bytes) -> Envelope | None:
    """The envelope, if it is an OPEN."""
    try:
        envelope = decode(data, Envelope, limit_bytes=1 << 20)
    except Exception:  # noqa: BLE001 - a parcel, for one
        return None
    return envelope if envelope.type == TABLE[Open].type else None


@pytest.mark.end_to_end
@pytest.mark.parametrize("verify", ["full", "sum"])
def test_a_site_that_loses_power_at_any_point_changes_nothing(tmp_path, capsys, verify):
    told, expected, task = run(tmp_path / "undisturbed", verify=verify)
    assert task.trained.count(VICTIM) == ROUNDS
    for fatal, name in enumerate(told, start=1):
        _, found, task = run(tmp_path / str(fatal), fatal=fatal, verify=verify)
        assert found == expected, (fatal, name)
        assert task.trained.count(NAMES[0]) == ROUNDS, (fatal, name)
        assert task.trained.count(VICTIM) <= ROUNDS + 1, (
            fatal,
            name,
        )
    with capsys.disabled():
        print(f" {len(told)} crash points", end="")


def test_the_points_include_every_database_the_head_files_and_every_reply(tmp_path):
    told, _, _ = run(tmp_path)
    names = {name.split()[-1] for name in told}
    chains = {"ledger.sqlite", "ledger.head", "audit.sqlite", "audit.head"}
    assert names == chains | {"scratch.sqlite", "protocol.sqlite", "reply"}
    assert told.count("after audit.sqlite") == told.count("reply")
    assert told.count("reply") == 6 * (ROUNDS + 1)
    assert np.all([name == "reply" or name.startswith(("before", "after")) for name in told])
