"""The site's line to the coordinator: Flower's Fleet API over HTTPS, outbound only.

Long-lived. Asks for messages, answers each with the ClientApp, and comes back by itself when the line is cut.
With ``app`` the only module of this package that knows Flower.

Rules:

* The site listens nowhere. It connects to one address, whose certificate the coordinator's own CA signed,
  and shows its own certificate; TLS 1.3. It follows nobody to another address.
* Flower refuses a clock that is off. Every answer says what time it is there: a difference is told of, in
  seconds, also while it does no harm yet.
* No app bundle is ever asked for: what runs is what is installed.
* The coordinator keeps a message until it is answered, and hands it out again to a site that comes anew.
* What breaks over it is reported as a code and does not end the line; what the
  site's audit log cannot hold is not answered at all.
* The coordinator holds a request for messages until there is one. Where it does not, the site asks less often
  the longer nothing comes.

Not here: what a message means (``app``, ``site``), keys on disk (``home``).

Privacy: carries replies of the guard; of an unforeseen error nothing leaves but ``site.crashed``.

References: Flower 1.41, Fleet API.
"""

from __future__ import annotations

import datetime
import logging
import threading
import time
from collections.abc import Callable
from functools import partial

import httpx
from flwr.app import Context, Error, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.clientapp import ClientApp
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import PullObjectResponse, PushObjectResponse
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
    ObjectPullError,
    ObjectPushError,
    inflate_object_from_contents,
    pull_objects,
    push_objects,
)
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
from google.protobuf.message import DecodeError

from wardround_client.app import CLIENT_APP_RAISED
from wardround_client.line import LineKeys
from wardround_client.trouble import CERTIFICATE, CLOCK, CLOCK_WARNING_S, why
from wardround_common.certificates import load_certificate
from wardround_common.enrolment import REPLY_LIMIT_BYTES, TIME_HEADER
from wardround_common.errors import AuditError, ProtocolError
from wardround_common.files import read
from wardround_common.logs import event
from wardround_common.parcels import Parcels

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
"""Between two attempts to connect: longer after each that failed."""
BUSY_POLL_S, IDLE_POLL_S, IDLE_AFTER_S = 0.2, 2.0, 60.0
REQUEST_S = 60.0
FIRST_LOOK_S, LAST_LOOK_S = 0.02, 1.0
"""Between two looks for parts of a message that the job is still sending."""
_BROKEN = (
    *(httpx.HTTPError, ObjectPullError, ObjectPushError, DecodeError, ProtocolError),
    *(ValueError, LookupError, TypeError, AttributeError),  # Flower reads what came without looking first
)
"""What a line does that is cut, refused, or answered with something else."""


class Link:
    """The line of one site.

    Args:
        keys: Where to, and as whom.
        app: Answers messages.
        told: Is told ``online`` or ``offline`` when that changes, what is wrong, and by how many seconds this
            machine's clock is ahead where that is it.
        look: Is called between messages: the site may take up what a person approved meanwhile.
        renew: Is called between messages; whether the certificate is a new one, to go on with.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        keys: LineKeys,
        app: ClientApp,
        *,
        told: Callable[[str, str, int], None],
        look: Callable[[], None],
        renew: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._app = app
        self._told = told
        self._look = look
        self._renew = renew
        self._clock = clock
        self._last = ("", "", 0)
        self._ahead_s = 0

    def run(self, stop: threading.Event) -> None:
        """Answer until ``stop`` is set, whatever happens to the line."""
        pause = FIRST_PAUSE_S
        while not stop.is_set():
            self._ahead_s = 0
            try:
                _Session(
                    self._keys,
                    self._app,
                    look=self._look,
                    renew=self._renew,
                    online=self._online,
                    heard=self._heard,
                ).run(stop)
            except _BROKEN as error:
                if self._last[0] == "online":
                    pause = FIRST_PAUSE_S
                self._tell("offline", self._why(error))
            stop.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
        self._tell("stopped", "")

    def _online(self) -> None:
        self._tell("online", CLOCK if abs(self._ahead_s) > CLOCK_WARNING_S else "")

    def _heard(self, response: httpx.Response) -> None:
        """What time it is at the coordinator."""
        said = response.headers.get(TIME_HEADER, "")
        if said.isascii() and said.isdigit() and len(said) < 12:
            self._ahead_s = round(self._clock()) - int(said)

    def _why(self, error: Exception) -> str:
        """What broke the line; a server that is shown an expired certificate goes away without a word."""
        code = why(error)
        certificate = load_certificate(read(self._keys.certificate, limit_bytes=REPLY_LIMIT_BYTES))
        now = datetime.datetime.fromtimestamp(self._clock(), datetime.UTC)
        ended = isinstance(error, httpx.TransportError) and now > certificate.not_valid_after_utc
        return CERTIFICATE if ended else code

    def _tell(self, state: str, code: str) -> None:
        seconds = self._ahead_s if code == CLOCK else 0
        before = self._last
        if (state, code) == before[:2] and abs(seconds - before[2]) <= CLOCK_WARNING_S:
            return
        self._last = (state, code, seconds)
        event("link.state", state=state, code=code, seconds=seconds)
        self._told(state, code, seconds)


class _Session:
    """From one activation of the node to the end of the line."""

    def __init__(
        self,
        keys: LineKeys,
        app: ClientApp,
        *,
        look: Callable[[], None],
        renew: Callable[[], bool],
        online: Callable[[], None],
        heard: Callable[[httpx.Response], None],
    ) -> None:
        self._keys = keys
        self._app = app
        self._look = look
        self._renew = renew
        self._online = online
        self._heard = heard
        self._heartbeat_s = keys.heartbeat_s
        self._public = public_key_to_bytes(keys.node_key.public_key())
        self._parcels = make_parcels()
        self._clients: list[FleetHttpClient] = []
        self._connect()

    @property
    def _client(self) -> FleetHttpClient:
        return self._clients[-1]

    def _connect(self) -> None:
        """Requests go with the certificate of now; one that is under way ends as it began."""
        self._clients.append(connection(self._keys, heard=self._heard, parcels=self._parcels))

    def run(self, stop: threading.Event) -> None:
        try:
            request = ActivateNodeRequest(public_key=self._public, heartbeat_interval=self._heartbeat_s)
            node = Node(node_id=self._client.ActivateNode(request).node_id)
            self._online()
            ended = threading.Event()
            beat = threading.Thread(target=self._beat, args=(node, ended), daemon=True)
            beat.start()
            try:
                self._serve(node, stop)
            finally:
                ended.set()
                beat.join()
            self._client.DeactivateNode(DeactivateNodeRequest(node_id=node.node_id))
        finally:
            for client in self._clients:
                client.close()

    def _serve(self, node: Node, stop: threading.Event) -> None:
        heard = time.monotonic()
        while not stop.is_set():
            self._look()
            if self._renew():
                self._connect()
            asked = time.monotonic()
            pulled = self._client.PullMessages(PullMessagesRequest(node=node))
            self._online()
            if pulled.messages_list:
                self._answer(node, pulled)
                heard = time.monotonic()
            else:
                now = time.monotonic()
                pause = IDLE_POLL_S if now - heard > IDLE_AFTER_S else BUSY_POLL_S
                stop.wait(max(0.0, asked + pause - now))

    def _answer(self, node: Node, pulled: PullMessagesResponse) -> None:
        head, tree = message_from_proto(pulled.messages_list[0]), pulled.message_object_trees[0]
        run, identifier = head.metadata.run_id, head.metadata.message_id
        contents = pull_objects(
            [one.object_id for one in iterate_object_tree(tree)],
            make_pull_object_fn_protobuf(self._client.PullObject, node, run),
            initial_backoff=FIRST_LOOK_S,
            backoff_cap=LAST_LOOK_S,
        )
        request = inflate_object_from_contents(identifier, contents)
        if not isinstance(request, Message):
            raise ValueError("expected a message")  # as the line does that is answered with something else
        request.metadata.__dict__["_message_id"] = identifier
        reply = answer(self._app, request, node=node.node_id)
        if reply is not None:
            self._reply(node, run, reply)

    def _reply(self, node: Node, run: int, reply: Message) -> None:
        reply.metadata.__dict__["_message_id"] = reply.object_id
        parts = get_all_nested_objects(reply)
        carried = {name: part.deflate() for name, part in parts.items()}
        with no_object_id_recompute(), self._parcels.carrying(carried):
            pushed = self._client.PushMessages(
                PushMessagesRequest(
                    node=node,
                    messages_list=[message_to_proto(remove_content_from_message(reply))],
                    message_object_trees=[get_object_tree(reply)],
                    clientapp_runtime_list=[0.0],
                )
            )
            left = set(pushed.objects_to_push) - self._parcels.done
            if left:
                send = make_push_object_fn_protobuf(self._client.PushObject, node, run, pushed.session_id)
                push_objects(parts, send, object_ids_to_push=left)

    def _beat(self, node: Node, ended: threading.Event) -> None:
        """Show signs of life, also while a message is worked on."""
        request = SendNodeHeartbeatRequest(node=node, heartbeat_interval=self._heartbeat_s)
        while not ended.wait(self._heartbeat_s / 2):
            try:
                self._client.SendNodeHeartbeat(request)
            except _BROKEN as error:  # the next request of the main thread finds out the same
                event("link.heartbeat", level=logging.WARNING, code=why(error))


def answer(app: ClientApp, request: Message, *, node: int) -> Message | None:
    """What the ClientApp says to a request; None where nothing must leave: it could not be written down."""
    TaskIdentity.run_id, TaskIdentity.node_id = request.metadata.run_id, node
    TaskIdentity.task_id = node
    context = Context(
        run_id=request.metadata.run_id, node_id=node, node_config={}, state=RecordDict(), run_config={}
    )
    try:
        return app(request, context)
    except AuditError as error:
        event("site.silent", level=logging.ERROR, code=error.code)
        return None
    except Exception as error:  # noqa: BLE001 - the edge of the process: the line goes on
        event("site.crashed", level=logging.ERROR, code=type(error).__name__)
        return Message(Error(CLIENT_APP_RAISED, "site.crashed"), reply_to=request)


def make_parcels() -> Parcels:
    """What has the objects of a message travel with it, on one session's connections."""
    found = partial(PullObjectResponse, object_found=True, object_available=True)
    return Parcels(
        found=lambda content: found(object_content=content).SerializeToString(),
        stored=PushObjectResponse(stored=True).SerializeToString(),
    )


def connection(
    keys: LineKeys, *, heard: Callable[[httpx.Response], None], parcels: Parcels
) -> FleetHttpClient:
    """A connection to the coordinator.

    Args:
        keys: Where to, and as whom.
        heard: Is told of every response, as it came.
        parcels: Has the objects of a message travel with it.
    """
    client = FleetHttpClient(
        f"https://{keys.address}",
        interceptors=[
            RuntimeVersionHttpInterceptor(component_name="SuperNode"),
            NodeAuthHttpInterceptor(keys.node_key, keys.node_key.public_key()),
            parcels,
            _Listener(heard),
        ],
        verify=keys.context(),
        timeout=REQUEST_S,
    )
    client._client.follow_redirects = False  # Flower's follows anywhere, also out of TLS
    return client


class _Listener:
    """Passes requests on, and tells of the responses."""

    def __init__(self, heard: Callable[[httpx.Response], None]) -> None:
        self._heard = heard

    def intercept(self, context: ProtobufRequestContext, call_next: ProtobufCall) -> httpx.Response:
        response = call_next(context)
        self._heard(response)
        return response
