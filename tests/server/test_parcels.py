"""Parcels, sites that come anew, jobs that outlive their service: on a real SuperLink."""

import asyncio
import contextlib
import os
import threading
from collections import Counter
from functools import partial

import httpx
import numpy as np
import pytest
import uvicorn
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PullMessagesRequest, PushMessagesRequest
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.proto.message_pb2 import (
    Metadata,
    ObjectTree,
    PullObjectRequest,
    PullObjectResponse,
    PushObjectResponse,
)
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_protobuf_utils import (
    make_pull_object_fn_protobuf,
    make_push_object_fn_protobuf,
)
from flwr.supercore.inflatable.inflatable_utils import (
    inflate_object_from_contents,
    pull_objects,
    push_objects,
)
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from wardround_common.certificates import new_key
from wardround_common.errors import TransportError
from wardround_common.parcels import MEDIA_TYPE, ROOM_BYTES, Parcel, Parcels, pack, that_fit, unpack
from wardround_server.arrivals import Arrivals
from wardround_server.guard import LoopbackGuard
from wardround_server.parcels import ParcelPort
from wardround_server.runtime import RUN_PATH, JobGrid, Runtime
from wardround_server.senders import Senders
from wardround_server.superlink import SuperLink, node_number
from wardround_simulations.deployed import free_ports

SECRET = os.urandom(32)
KEY, OTHER = new_key(), new_key()
PUBLIC = public_key_to_bytes(KEY.public_key())


class Service:
    """A SuperLink behind its port, without TLS and without the guard of the outer port; counts requests."""

    def __init__(self, port):
        self.port, self.requests = port, Counter()
        self.late = []
        self.link = SuperLink(SECRET, late=self.late.append)
        self.link.admit("alder", PUBLIC)
        self.link.admit("birch", public_key_to_bytes(OTHER.public_key()))
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(started)), daemon=True)
        self._thread.start()
        assert started.wait(30)

    async def _run(self, started):
        flower = Senders(self.link.app, self.link.objection)
        fleet = Arrivals(ParcelPort(flower, self.link.fleet), self.link)
        runtime = ParcelPort(self.link.app, self.link.runtime)
        loopback = LoopbackGuard(runtime, secret=SECRET, run_path=RUN_PATH, new_run=self.link.new_run)

        async def app(scope, receive, send):
            path = scope.get("path", "")
            self.requests[path] += 1
            await (fleet if path.startswith("/v1/fleet/") else loopback)(scope, receive, send)

        self.server = uvicorn.Server(
            uvicorn.Config(app, port=self.port, log_level="error", timeout_graceful_shutdown=1)
        )
        self.server.capture_signals = contextlib.nullcontext
        task = asyncio.create_task(self.server.serve())
        while not self.server.started:
            await asyncio.sleep(0.01)
        started.set()
        await task

    def stop(self):
        self.server.should_exit = True
        self._thread.join(30)


@pytest.fixture
def service():
    made = Service(free_ports(1)[0])
    yield made
    made.stop()


@pytest.fixture
def grid(service):
    runtime = Runtime(address=f"127.0.0.1:{service.port}", secret=SECRET)
    made = JobGrid(runtime, runtime.claim(patience_s=10))
    yield made
    made.end("completed")


class Client:
    """A site's end of the line, as ``link`` has it."""

    def __init__(self, service, *, parcels=True, key=KEY):
        found = partial(PullObjectResponse, object_found=True, object_available=True)
        self.parcels = Parcels(
            found=lambda content: found(object_content=content).SerializeToString(),
            stored=PushObjectResponse(stored=True).SerializeToString(),
        )
        auth = NodeAuthHttpInterceptor(key, key.public_key())
        chain = [RuntimeVersionHttpInterceptor(component_name="SuperNode"), auth]
        url = f"http://127.0.0.1:{service.port}"
        self.http = FleetHttpClient(url, interceptors=[*chain, *([self.parcels] if parcels else [])])
        public = public_key_to_bytes(key.public_key())
        request = ActivateNodeRequest(public_key=public, heartbeat_interval=30.0)
        self.node = Node(node_id=self.http.ActivateNode(request).node_id)

    def pull(self):
        pulled = self.http.PullMessages(PullMessagesRequest(node=self.node))
        if not pulled.messages_list:
            return None
        head = message_from_proto(pulled.messages_list[0])
        names = [one.object_id for one in iterate_object_tree(pulled.message_object_trees[0])]
        pull = make_pull_object_fn_protobuf(self.http.PullObject, self.node, head.metadata.run_id)
        contents = pull_objects(names, pull, initial_backoff=0.01)
        message = inflate_object_from_contents(head.metadata.message_id, contents)
        message.metadata.__dict__["_message_id"] = head.metadata.message_id
        return message

    def push(self, reply, *, carried=None):
        reply.metadata.__dict__["_message_id"] = reply.object_id
        parts = get_all_nested_objects(reply)
        content = {name: part.deflate() for name, part in parts.items()}
        with no_object_id_recompute(), self.parcels.carrying(content if carried is None else carried):
            pushed = self.http.PushMessages(
                PushMessagesRequest(
                    node=self.node,
                    messages_list=[message_to_proto(remove_content_from_message(reply))],
                    message_object_trees=[get_object_tree(reply)],
                )
            )
            run = reply.metadata.run_id
            send = make_push_object_fn_protobuf(self.http.PushObject, self.node, run, pushed.session_id)
            push_objects(parts, send, object_ids_to_push=set(pushed.objects_to_push))


def record(words=100):
    data = np.arange(words, dtype=np.uint32)
    array = Array(dtype="uint32", shape=data.shape, stype="raw", data=data.tobytes())
    return RecordDict(
        {"packet": ConfigRecord({"envelope": b"e" * 50}), "arrays": ArrayRecord({"ring": array})}
    )


def asked(grid, client, content=None):
    (name,) = grid.push_messages([Message(content or record(), client.node.node_id, "query.start")])
    return name


def same(message, content):
    return (
        message.content["packet"] == content["packet"]
        and message.content["arrays"]["ring"].data == content["arrays"]["ring"].data
    )


def test_a_message_and_its_reply_take_four_requests(service, grid):
    client = Client(service)
    before = service.requests.total()
    name = asked(grid, client)
    message = client.pull()
    assert same(message, record())
    client.push(Message(record(50), reply_to=message))
    (reply,) = grid.pull_messages([name])
    assert same(reply, record(50))
    assert service.requests.total() - before == 4


@pytest.mark.parametrize("theirs", [True, False])
def test_what_does_not_fit_a_parcel_and_who_knows_none_go_flowers_way(service, grid, theirs):
    client = Client(service, parcels=theirs)
    large = record((ROOM_BYTES // 4) + 1000)
    name = asked(grid, client, large)
    message = client.pull()
    assert same(message, large)
    larger = record((ROOM_BYTES // 4) + 2000)
    client.push(Message(larger, reply_to=message))
    (reply,) = grid.pull_messages([name])
    assert same(reply, larger)
    assert service.requests["/v1/fleet/push-object"] >= 1
    assert service.requests["/v1/fleet/pull-object"] >= 1


def test_an_object_that_flower_did_not_ask_for_is_not_stored(service, grid):
    client = Client(service)
    asked(grid, client)
    message = client.pull()
    state = service.link._state
    before = set(state.object_store.store)
    reply = Message(record(7), reply_to=message)
    parts = {name: part.deflate() for name, part in get_all_nested_objects(reply).items()}
    client.push(reply, carried=parts | {"0" * 64: b"planted"})
    assert state.object_store.get("0" * 64) is None
    assert set(parts) <= set(state.object_store.store) | before


def test_a_parcel_without_the_signature_of_the_node_stores_nothing(service, grid):
    client = Client(service)
    asked(grid, client)
    request = PushMessagesRequest(node=client.node).SerializeToString()
    before = dict(service.link._state.object_store.store)
    url = f"http://127.0.0.1:{service.port}/v1/fleet/push-messages"
    body = pack(Parcel(request, {"0" * 64: b"planted"}))
    answer = httpx.post(url, content=body, headers={"content-type": MEDIA_TYPE}, trust_env=False)
    assert answer.status_code == 401
    assert answer.headers["content-type"] != MEDIA_TYPE
    assert dict(service.link._state.object_store.store) == before


@pytest.mark.parametrize("body", [b"", b"\xc1", pack(Parcel(b"", {}))[:-1], b"\x93\xc4\x00\x80\x90\x00"])
def test_a_body_that_is_no_parcel_is_refused(service, body):
    url = f"http://127.0.0.1:{service.port}/v1/fleet/push-messages"
    answer = httpx.post(url, content=body, headers={"content-type": MEDIA_TYPE}, trust_env=False)
    assert answer.status_code == 400


def test_a_site_that_comes_anew_gets_again_what_it_did_not_answer_and_nothing_else(service, grid):
    client = Client(service)
    first = asked(grid, client, record(10))
    client.push(Message(record(1), reply_to=client.pull()))
    asked(grid, client, record(20))
    assert same(client.pull(), record(20))
    assert client.pull() is None
    again = Client(service)  # at once: its earlier life has said nothing of its end
    assert again.node.node_id == client.node.node_id
    assert same(again.pull(), record(20))
    assert again.pull() is None
    (reply,) = grid.pull_messages([first])
    assert same(reply, record(1))


def test_a_request_is_forgotten_when_it_is_answered(service, grid):
    client = Client(service)
    name = asked(grid, client)
    message = client.pull()
    assert name in service.link._state.object_store.store
    client.push(Message(record(2), reply_to=message))
    assert name not in service.link._state.object_store.store


@pytest.mark.parametrize("parcels", [True, False])
def test_a_reply_in_the_name_of_another_node_is_refused_and_that_nodes_own_counts(service, grid, parcels):
    victim, liar = Client(service, key=OTHER), Client(service, parcels=parcels)
    name = asked(grid, victim)
    message = victim.pull()
    with pytest.raises(httpx.HTTPStatusError) as caught:
        liar.push(Message(record(66), reply_to=message))
    response = caught.value.response
    assert (response.status_code, response.text) == (403, "guard.forged_sender")
    assert response.headers["wardround-code"] == "guard.forged_sender"
    victim.push(Message(record(8), reply_to=message))
    (reply,) = grid.pull_messages([name])
    assert same(reply, record(8))
    assert service.late == []


def test_a_push_is_one_message_of_ones_own_with_its_own_tree():
    link = SuperLink(SECRET)
    mine = node_number(PUBLIC)
    own, other = (
        ProtoMessage(metadata=Metadata(src_node_id=number, message_id="m")) for number in (mine, mine - 1)
    )
    tree, another = ObjectTree(object_id="m"), ObjectTree(object_id="n")

    def refused(messages, trees):
        sent = PushMessagesRequest(messages_list=messages, message_object_trees=trees)
        return link.objection(sent.SerializeToString(), PUBLIC) == "guard.forged_sender"

    assert not refused([own], [tree])
    assert refused([other], [tree])
    assert refused([own, other], [tree])
    assert refused([own, own], [tree, tree])
    assert refused([own], [another])
    assert refused([own], [])
    assert refused([], [])
    assert link.objection(b"\xff", PUBLIC) == "guard.forged_sender"
    wide = ObjectTree(object_id="m", children=[another] * 2000)
    sent = PushMessagesRequest(messages_list=[own], message_object_trees=[wide])
    assert link.objection(sent.SerializeToString(), PUBLIC) == "guard.too_many_parts"


def test_a_reply_is_pushed_once(service, grid):
    client = Client(service)
    asked(grid, client)
    reply = Message(record(3), reply_to=client.pull())
    client.push(reply)
    with pytest.raises(httpx.HTTPStatusError) as caught:
        client.push(reply)
    assert (caught.value.response.status_code, caught.value.response.text) == (403, "guard.sent_before")


def altered(reply, how):
    """A reply as a liar stores it: its parts by name, and what of them arrives."""
    parts = {name: part.deflate() for name, part in get_all_nested_objects(reply).items()}
    root = reply.object_id
    if how == "garbage":
        parts[root] = b"no object"
    elif how == "no part":
        head = parts[root]
        parts[root] = head.replace(head[-64:], b"0" * 64)
    elif how == "not a message":
        parts[root] = next(part for name, part in parts.items() if part.startswith(b"ConfigRecord"))
    return parts


@pytest.mark.parametrize("how", ["garbage", "no part", "not a message"])
def test_a_reply_that_cannot_be_opened_is_its_sites_alone(service, grid, how):
    liar, other = Client(service), Client(service, key=OTHER)
    first, second = asked(grid, liar), asked(grid, other, record(8))
    reply = Message(record(3), reply_to=liar.pull())
    reply.metadata.__dict__["_message_id"] = root = reply.object_id
    parts = altered(reply, how)
    state = service.link._state
    liar.push(reply)
    for name in parts:  # as if they had been stored so: Flower checks what it is sent, by name
        state.object_store.store[name].content = parts[name]
    assert root in state.object_store.store
    other.push(Message(record(4), reply_to=other.pull()))
    replies = {one.metadata.reply_to_message_id: one for one in grid.pull_messages([first, second])}
    assert replies[first].has_error()
    assert same(replies[second], record(4))


def test_a_reply_in_the_place_of_another_is_not_believed(service, grid):
    client = Client(service)
    first = asked(grid, client)
    asked(grid, client, record(8))
    message, later = client.pull(), client.pull()
    reply = Message(record(3), reply_to=message)
    inner = Message(record(3), reply_to=later)
    reply.metadata.__dict__["_message_id"] = reply.object_id
    client.push(reply)
    inner.metadata.__dict__["_message_id"] = inner.object_id
    store = service.link._state.object_store.store
    store[reply.object_id].content = inner.deflate()
    (got,) = grid.pull_messages([first])
    assert got.has_error()
    assert got.metadata.reply_to_message_id == first


def test_a_site_cannot_take_away_what_another_was_asked(service, grid):
    liar, victim = Client(service), Client(service, key=OTHER)
    asked(grid, liar)
    name = asked(grid, victim, record(9))
    forged = Message(record(66), reply_to=liar.pull())
    forged.metadata.__dict__["_reply_to_message_id"] = name
    liar.push(forged)  # in its own name, and so not taken
    assert name in service.link._state.object_store.store
    assert same(victim.pull(), record(9))


def test_two_replies_that_share_parts_and_come_at_once_both_arrive(service, grid):
    clients = [Client(service), Client(service, key=OTHER)]
    names = [asked(grid, client) for client in clients]
    for client in clients:
        client.push(Message(record(8), reply_to=client.pull()))
    replies = list(grid.pull_messages(names))
    assert [reply.has_error() for reply in replies] == [False, False]
    assert all(same(reply, record(8)) for reply in replies)


def test_a_reply_that_comes_when_its_request_is_gone_is_told_of_with_the_sites_name(service, grid):
    client = Client(service)
    name = asked(grid, client)
    message = client.pull()
    reply = Message(record(1), reply_to=message)
    client.push(reply)
    assert len(list(grid.pull_messages([name]))) == 1
    assert service.late == []
    client.push(Message(record(2), reply_to=message))
    assert service.late == ["alder"]
    assert [one.has_error() for one in grid.pull_messages([name])] == [True]


def test_a_node_has_the_same_number_in_every_life_of_the_service():
    numbers = set()
    for _ in range(2):
        link = SuperLink(SECRET)
        link.admit("alder", PUBLIC)
        link.admit("alder", PUBLIC)
        numbers.add(link._state.get_node_id_by_public_key(PUBLIC))
    assert numbers == {node_number(PUBLIC)}
    assert node_number(PUBLIC) != node_number(public_key_to_bytes(new_key().public_key()))


def test_a_job_says_so_while_the_service_is_away_and_goes_on_when_it_is_back(service, grid):
    client = Client(service)
    asked(grid, client)
    port = service.port
    service.stop()
    for act in (lambda: list(grid.pull_messages(["x"])), grid.get_node_ids, lambda: asked(grid, client)):
        with pytest.raises(TransportError) as caught:
            act()
        assert caught.value.code == "coordinator.no_service"
    assert grid.beat()
    back = Service(port)
    try:
        again = Client(back)
        with pytest.raises(TransportError):
            asked(grid, again, record(30))  # made for a run that is gone
        name = asked(grid, again, record(30))
        message = again.pull()
        assert same(message, record(30))
        again.push(Message(record(3), reply_to=message))
        (reply,) = grid.pull_messages([name])
        assert same(reply, record(3))
    finally:
        back.stop()


def test_a_run_that_the_service_does_not_know_any_more_is_replaced(service, grid):
    client = Client(service)
    grid._token = "0" * 64  # as after a restart that was too quick to be seen
    grid.close()
    for _ in range(2):  # lost; and made for a run that is gone
        with pytest.raises(TransportError):
            asked(grid, client)
    name = asked(grid, client, record(4))
    client.push(Message(record(5), reply_to=client.pull()))
    assert same(next(iter(grid.pull_messages([name]))), record(5))


def test_an_object_that_nobody_has_is_not_in_a_parcel(service, grid):
    client = Client(service)
    request = PullObjectRequest(node=client.node, run_id=grid.run.run_id, object_id="1" * 64)
    assert not client.http.PullObject(request).object_found


def test_a_parcel_has_room_for_so_much():
    objects = {"a": b"x" * (ROOM_BYTES - 10), "b": b"y" * 11, "c": b"z" * 10}
    assert list(that_fit(objects)) == ["a", "c"]
    parcel = Parcel(b"flower", {"a": b"1"}, ("a",))
    assert unpack(pack(parcel)) == parcel
