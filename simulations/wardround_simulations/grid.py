"""Flower's Grid on one machine: the production ServerApp and ClientApps, with bytes between them.

Every message is serialised as on the network and passes ``wire``, which tests use to listen, to alter or
to lose it. The only module of this package that knows Flower.

Not here: processes (``workers``), what a message means.

Privacy: carries what a network would carry.

References: Flower 1.41 ``Grid`` interface; ARCHITECTURE.md, "Flower at the edge".
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from google.protobuf.message import DecodeError

from wardround_common.errors import AuditError
from wardround_common.logs import event
from wardround_simulations.workers import Workers

Leg = Literal["request", "reply"]
Wire = Callable[[Leg, int, str, bytes], bytes | None]

FIRST_NODE = 2
POLL_S = 0.05
NODE_UNAVAILABLE = 5
CLIENT_APP_CRASHED = 8


def unchanged(leg: Leg, node: int, message_type: str, data: bytes) -> bytes | None:
    """A wire that delivers everything as it is."""
    return data


def answer(app: ClientApp, node: int, data: bytes) -> bytes:
    """What a node does with a request: decode, run the ClientApp, encode. Called in the workers.

    Returns:
        The reply; nothing where the request is no Flower message, or the site's audit log cannot be written.
    """
    _identify(node)
    request = _decode(data)
    if request is None:
        return b""
    context = Context(run_id=1, node_id=node, node_config={}, state=RecordDict(), run_config={})
    try:
        return _encode(app(request, context))
    except AuditError as error:
        event("site.silent", level=logging.ERROR, code=error.code)
        return b""


def run_server_app(app: ServerApp, grid: LocalGrid) -> None:
    """Run a ServerApp to its end on ``grid``."""
    app(grid, Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config={}))


class LocalGrid(Grid):
    """A Grid whose nodes live in ``workers``; node ``FIRST_NODE + i`` is the i-th of them."""

    def __init__(self, workers: Workers, *, wire: Wire = unchanged) -> None:
        _identify(1)
        self._workers = workers
        self._wire = wire
        self._replies: dict[str, Message] = {}
        self._waiting: dict[int, Message] = {}

    def set_run(self, run: Run) -> None:
        """Not needed: a local grid has one run."""

    @property
    def run(self) -> Run:
        """The one run."""
        return Run.create_empty(run_id=1)

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """A message as ``Message`` itself makes it."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """All nodes."""
        return [FIRST_NODE + i for i in range(self._workers.nodes)]

    def push_messages(self, messages: Iterable[Message]) -> Sequence[str]:
        """Hand each message to the worker of its node."""
        return [self._push(message) for message in messages]

    def _push(self, message: Message) -> str:
        node = message.metadata.dst_node_id
        message.metadata.__dict__["_message_id"] = identifier = uuid.uuid4().hex
        data = self._wire("request", node, message.metadata.message_type, _encode(message))
        if data is None:
            self._lose(message)
        else:
            self._waiting[node] = message
            self._workers.submit(node - FIRST_NODE, data)
        return identifier

    def pull_messages(self, message_ids: Iterable[str]) -> Sequence[Message]:
        """Replies to ``message_ids`` that are there, after waiting a moment for one."""
        wanted = list(message_ids)
        if not any(identifier in self._replies for identifier in wanted):
            for index, data in self._workers.poll(POLL_S):
                self._receive(FIRST_NODE + index, data)
        return [self._replies.pop(identifier) for identifier in wanted if identifier in self._replies]

    def _receive(self, node: int, data: bytes | None) -> None:
        request = self._waiting.pop(node)
        if data is None:
            return self._lose(request, code=CLIENT_APP_CRASHED, reason="site.crashed")
        wired = self._wire("reply", node, request.metadata.message_type, data)
        reply = None if wired is None else _decode(wired)
        if reply is None:
            return self._lose(request)
        self._replies[request.metadata.message_id] = reply
        return None

    def _lose(self, request: Message, *, code: int = NODE_UNAVAILABLE, reason: str = "unavailable") -> None:
        self._replies[request.metadata.message_id] = Message(Error(code, reason), reply_to=request)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Sequence[Message]:
        """Push, and pull until every reply is there or ``timeout`` seconds are over."""
        waiting = set(self.push_messages(messages))
        deadline = None if timeout is None else time.monotonic() + timeout
        replies: list[Message] = []
        while waiting and (deadline is None or time.monotonic() < deadline):
            arrived = self.pull_messages(waiting)
            replies += arrived
            waiting -= {message.metadata.reply_to_message_id for message in arrived}
        return replies


def _identify(node: int) -> None:
    """``Message`` reads who is speaking from class attributes."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, node, node


def _encode(message: Message) -> bytes:
    return bytes(message_to_proto(message).SerializeToString())


def _decode(data: bytes) -> Message | None:
    """The message in ``data``, or None where there is none."""
    try:
        proto = ProtoMessage.FromString(data)
        message = message_from_proto(proto)
    except (DecodeError, ValueError, TypeError):
        return None
    message.metadata.__dict__["_message_id"] = proto.metadata.message_id
    return message
