"""A whole study over the coordinator's real service, in which sites lie on the line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PullMessagesRequest
from flwr.proto.node_pb2 import Node
from hospitals import SECRETS, Hospitals
from msgspec import structs
from served import (
    TODAY,
    enrolled,
    is_in_order,
    new_coordinator,
    roster_of,
    rows,
    running,
    turned_away,
    until,
)

from wardround_client.app import make_client_app
from wardround_client.line import HEARTBEAT_S
from wardround_client.link import _Session
from wardround_common.audit import Refused, Taken
from wardround_common.canonical import decode, encode
from wardround_common.messages import peek_request
from wardround_common.messages.envelope import _LABEL, Envelope
from wardround_common.trust import sign_plan
from wardround_server import service
from wardround_server.steering import Steering
from wardround_server.superlink import SuperLink

pytestmark = pytest.mark.end_to_end
LIAR, VICTIM, REPLAYER = "alder", "birch", "cedar"


class Player(_Session):
    """One site, message by message: the production line and guard, and what a liar does instead."""

    def __init__(self, keys, handle) -> None:
        super().__init__(
            keys,
            make_client_app(handle),
            look=lambda: None,
            renew=lambda: False,
            online=lambda: None,
            heard=lambda response: None,
        )
        request = ActivateNodeRequest(public_key=self._public, heartbeat_interval=10 * HEARTBEAT_S)
        self.node = Node(node_id=self._client.ActivateNode(request).node_id)

    def turn(self) -> None:
        pulled = self._client.PullMessages(PullMessagesRequest(node=self.node))
        if pulled.messages_list:
            self._answer(self.node, pulled)


class Forger(Player):
    """Answers the COHORT of another node too, before that one can."""

    def __init__(self, keys, handle) -> None:
        super().__init__(keys, handle)
        self.victim = 0
        self.forged = 0

    def _reply(self, node, run, reply) -> None:
        if reply.metadata.message_type == "query.cohort" and not self.forged:
            self.forged += 1
            packet, own = reply.content["packet"], dict(reply.metadata.__dict__)
            envelope = packet["envelope"]
            packet["envelope"] = in_the_name_of(VICTIM, envelope)
            reply.metadata.__dict__["_src_node_id"] = self.victim
            reply.metadata.__dict__["_reply_to_message_id"] = self._asked()
            with pytest.raises(httpx.HTTPStatusError) as caught:
                super()._reply(node, run, reply)
            assert caught.value.response.text == "guard.forged_sender"
            packet["envelope"] = envelope
            reply.metadata.__dict__.update(own)
        super()._reply(node, run, reply)

    def _asked(self) -> str:
        """The number of the message that the victim was sent, which a real liar has to guess."""
        until(self._waiting, "the victim is asked too")
        return self._waiting()[0]

    def _waiting(self) -> list[str]:
        messages = list(Opened.last._state.message_ins_store.items())
        return [name for name, message in messages if message.metadata.dst_node_id == self.victim]


class Victim(Player):
    """A site that is slower with its COHORT than the liar."""

    liar: Forger

    def _answer(self, node, pulled) -> None:
        while pulled.messages_list[0].metadata.message_type == "query.cohort" and not self.liar.forged:
            self.liar.turn()
        super()._answer(node, pulled)


class Opened(SuperLink):
    """The production one, that a liar can look into."""

    last: SuperLink

    def __init__(self, *given, **options) -> None:
        super().__init__(*given, **options)
        Opened.last = self


def in_the_name_of(name: str, deal: bytes) -> bytes:
    """A DEAL as if another had sent it; the liar has but its own key to sign with."""
    envelope, *shares = decode(deal, tuple[bytes, tuple[bytes, ...]], limit_bytes=1 << 20)
    claim = structs.replace(decode(envelope, Envelope, limit_bytes=1 << 20), sender=name)
    signature = SECRETS.key(LIAR).sign(_LABEL, claim.signed_bytes)
    return encode([encode(structs.replace(claim, signature=signature)), *shares])


class Recorder(httpx.BaseTransport):
    """Passes requests on, and keeps the pushes."""

    def __init__(self, inner) -> None:
        self.inner = inner
        self.pushes = []

    def handle_request(self, request):
        request.read()
        if request.url.path == "/v1/fleet/push-messages":
            self.pushes.append((str(request.url), dict(request.headers), request.content))
        return self.inner.handle_request(request)


class Replayed:
    """A site that says HELLO of the first round again in the second."""

    def __init__(self, handle) -> None:
        self._handle = handle
        self._first = None

    def __call__(self, packet):
        reply = self._handle(packet)
        claim = peek_request(packet.envelope, sites=4)
        if claim.type == "start":
            self._first = self._first or reply
            return self._first
        return reply


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lies")
    home = new_coordinator(folder / "coordinator")
    hospitals = Hospitals(folder / "sites", 4, rounds=2)
    keys = {
        name: enrolled(home, folder / "keys" / name, name, identity=SECRETS.key(name))
        for name in hospitals.names
    }
    authority = SECRETS.key("authority")
    home.take_roster(
        roster_of(home, authority, *hospitals.names), authority_key=authority.public, today=TODAY
    )
    home.add_study(sign_plan(hospitals.plan, SECRETS.key("lead")))
    Steering(home, hospitals.plan.study).open()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "SITE_HOLD_S", 0.02)  # the sites take turns
        patch.setattr(service, "SuperLink", Opened)
        with running(home):
            job, recorder = play(home, hospitals, keys, folder)
            recorder.inner.close()
            yield SimpleNamespace(home=home, job=job, said=(folder / "job.out").read_text())
    hospitals.close()


def play(home, hospitals, keys, folder):
    """The study, in a process of its own; the sites take turns here."""
    handles = {name: hospitals.sites[name].handle for name in hospitals.names}
    handles[REPLAYER] = Replayed(handles[REPLAYER])
    kinds = {LIAR: Forger, VICTIM: Victim}
    players = {name: kinds.get(name, Player)(keys[name], handles[name]) for name in hospitals.names}
    players[LIAR].victim, players[VICTIM].liar = players[VICTIM].node.node_id, players[LIAR]
    client = players[LIAR]._client._client
    recorder = client._transport = Recorder(client._transport)
    program = Path(sys.executable).with_name("wardround-coordinator")
    with (folder / "job.out").open("wb") as out:
        job = subprocess.Popen(
            [program, "study", "run", home.path, hospitals.plan.study], stdout=out, stderr=out
        )
        try:
            while job.poll() is None:
                for player in players.values():
                    player.turn()
        finally:
            job.kill()
            job.wait()
    url, headers, content = recorder.pushes[-1]
    again = recorder.inner.handle_request(httpx.Request("POST", url, headers=headers, content=content))
    assert again.status_code == 409
    return job, recorder


def refused(home):
    return {(row.peer, row.exchange, row.round): row.code for row in rows(home) if isinstance(row, Refused)}


def test_the_study_ends_well_all_the_same(ran):
    assert ran.job.returncode == 0, ran.said
    assert (ran.home.path / "studies" / "test" / "report" / "model.safetensors").is_file()


def test_a_reply_in_the_name_of_another_node_is_refused_and_in_the_audit_log(ran):
    until(lambda: "guard.forged_sender" in turned_away(ran.home))
    assert turned_away(ran.home)["guard.forged_sender"].site == LIAR


def test_the_one_in_whose_name_it_was_is_heard_all_the_same(ran):
    assert not [one for one in refused(ran.home) if one[0] == VICTIM]
    assert (VICTIM, "deal", 1, 1) in {
        (row.peer, row.message, row.round, row.attempt) for row in rows(ran.home) if isinstance(row, Taken)
    }


def test_a_signed_envelope_that_was_sent_before_is_refused_and_in_the_audit_log(ran):
    assert refused(ran.home)[REPLAYER, "start", 2].startswith("message.")


def test_recorded_bytes_of_a_push_are_refused_and_in_the_audit_log(ran):
    until(lambda: "guard.replay" in turned_away(ran.home))
    assert turned_away(ran.home)["guard.replay"].site == LIAR
    assert is_in_order(ran.home)
