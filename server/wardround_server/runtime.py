"""The job's side of the SuperLink: claim a run, and run the ServerApp on it.

Rules:

* The run is a means: every run is as good as another, and what a study has reached is in its journal.
* The service may be killed and come back; the messages on their way are lost with it, and ``app`` sends them
  again.
* Heartbeats end before the run is reported as ended: Flower would interrupt this process otherwise.

Not here: what the ServerApp does (``app``, ``study``).

Privacy: moves messages between this process and the SuperLink on the same machine.

References: Flower 1.41, Runtime API.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

import httpx
from flwr.app import Context, Error, Message, Metadata, RecordDict
from flwr.app.message import make_message, remove_content_from_message
from flwr.common.constant import ErrorCode, SubStatus
from flwr.common.serde import context_from_proto, message_from_proto, message_to_proto, run_from_proto
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    PullObjectResponse,
    PushObjectResponse,
)
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    PullAppMessagesRequest,
    PullTaskInputRequest,
    PushAppMessagesRequest,
    PushTaskOutputRequest,
    SendTaskHeartbeatRequest,
)
from flwr.serverapp import ServerApp
from flwr.supercore.constant import TaskType
from flwr.supercore.heartbeat import HeartbeatSender
from flwr.supercore.inflatable.inflatable_object import (
    InflatableObject,
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
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
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid import HttpGrid
from google.protobuf.message import DecodeError

from wardround_common.errors import ProtocolError, TransportError
from wardround_common.logs import event
from wardround_common.parcels import Parcels
from wardround_server.guard import run_token

PARTS_S, FIRST_LOOK_S = 300.0, 0.02
"""How long a job waits for the parts of a reply that are still on their way, and its first look again."""
_NO_REPLY = (ObjectPullError, DecodeError, LookupError, AttributeError, TypeError, ValueError, RecursionError)
"""What opening a reply runs into that a site made up."""
RUN_PATH = "/wardround/run"
"""Of the service on loopback: asks for a new run."""
PATIENCE_S, RENEWAL_S = 30.0, 2.0
"""How long a job waits for a run: its first, and one after the service was away."""
_NONE: Final = "no token"
_FOUND = partial(PullObjectResponse, object_found=True, object_available=True)
_LOOPBACK = "127.0.0.1,localhost"


@dataclass(frozen=True, kw_only=True, slots=True)
class Runtime:
    """Where the service answers on this machine.

    Attributes:
        address: ``host:port`` on loopback.
        secret: What service and job share.
    """

    address: str
    secret: bytes

    def run(self, app: ServerApp) -> None:
        """Run ``app`` to its end.

        Raises:
            TransportError: ``coordinator.no_service``.
        """
        os.environ["NO_PROXY"] = os.environ["no_proxy"] = _LOOPBACK
        grid = JobGrid(self, self.claim(patience_s=PATIENCE_S))
        beat = HeartbeatSender(grid.beat)
        beat.start()
        status = SubStatus.FAILED
        try:
            app(grid, grid.context)
            status = SubStatus.COMPLETED
        finally:
            beat.stop()
            grid.end(status)

    def claim(self, *, patience_s: float) -> str:
        """The token of a new run's task.

        Raises:
            TransportError: ``coordinator.no_service``.
        """
        guarded = frozenset({"/flwr.proto.Runtime/AcquireTask"})
        client = RuntimeHttpClient(
            f"http://{self.address}",
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="SuperExec"),
                SuperExecAuthHttpInterceptor(master_secret=self.secret, protected_methods=guarded),
            ],
        )
        deadline = time.monotonic() + patience_s
        try:
            self._ask_for_run()
            while time.monotonic() < deadline:
                got = client.AcquireTask(AcquireTaskRequest(supported_task_types=[TaskType.SERVER_APP]))
                if got.HasField("task") and got.token:
                    return str(got.token)
                time.sleep(0.1)
        except httpx.HTTPError as error:
            raise _no_service(type(error).__name__) from error
        finally:
            client.close()
        raise _no_service("it has no run to give")

    def _ask_for_run(self) -> None:
        headers = {"authorization": run_token(self.secret, int(time.time()))}
        url = f"http://{self.address}{RUN_PATH}"
        httpx.post(url, headers=headers, timeout=PATIENCE_S).raise_for_status()


class JobGrid(HttpGrid):
    """Flower's Grid, whose messages travel as parcels, and that survives the service.

    Where the service does not answer, or does not know the run any more, every call is a ``TransportError``
    until it is back; then there is a new run, and whatever was sent on the old one is forgotten.

    Args:
        runtime: Where the service is.
        token: Of a run's task.
    """

    def __init__(self, runtime: Runtime, token: str) -> None:
        super().__init__(runtime_api_address=runtime.address, insecure=True, token=token)
        self._runtime = runtime
        self._parcels = Parcels(
            found=lambda content: _FOUND(object_content=content).SerializeToString(),
            stored=PushObjectResponse(stored=True).SerializeToString(),
        )
        self.context = self._begin()

    def get_node_ids(self) -> Iterable[int]:
        """The nodes that are online."""
        with self._answered():
            self._renew()
            return super().get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages, their objects with them; they were made for the run that there is."""
        messages = list(messages)
        with self._answered():
            if self._renew():
                raise _no_service("there is a new run")
            return super().push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterator[Message]:
        """Replies that are there, each opened by itself: what a site made of one is that site's alone."""
        with self._answered():
            if self._renew():
                raise _no_service("there is a new run")
            pulled = self._runtime_client.PullMessages(PullAppMessagesRequest(message_ids=message_ids))
            heads = [message_from_proto(message).metadata for message in pulled.messages_list]
            for head, tree in zip(heads, pulled.message_object_trees, strict=True):
                yield self._opened(head, [one.object_id for one in iterate_object_tree(tree)])

    def _opened(self, head: Metadata, names: list[str]) -> Message:
        """A reply; where it cannot be opened, the error that says so for the message that it answers."""
        client = self._runtime_client
        pull = make_pull_object_fn_protobuf(client.PullObject, self.node, head.run_id)
        try:
            contents = pull_objects(names, pull, max_time=PARTS_S, initial_backoff=FIRST_LOOK_S)
            message = inflate_object_from_contents(head.message_id, contents)
            client.ConfirmMessageReceived(
                ConfirmMessageReceivedRequest(
                    node=self.node, run_id=head.run_id, message_object_id=head.message_id
                )
            )
            if not isinstance(message, Message):
                raise TypeError("expected a message")
            if message.metadata.reply_to_message_id != head.reply_to_message_id:
                raise ValueError("expected a reply to the message that it is stored for")
            if not message.has_error() and not isinstance(message.content, RecordDict):
                raise TypeError("expected records")
            return message
        except _NO_REPLY as error:
            event("reply.unreadable", level=logging.WARNING, code=type(error).__name__)
            return make_message(metadata=head, error=Error(ErrorCode.MESSAGE_UNAVAILABLE, "unreadable"))

    def beat(self) -> bool:
        """Show the service that the run goes on."""
        client = self._client
        with contextlib.suppress(httpx.HTTPError):  # whoever sends next finds out
            if client is not None:
                client.SendTaskHeartbeat(SendTaskHeartbeatRequest())
        return True

    def end(self, status: str) -> None:
        """Report how the run ended, and hang up."""
        with contextlib.suppress(httpx.HTTPError):
            self._runtime_client.PushTaskOutput(PushTaskOutputRequest(sub_status=status, details=""))
        self.close()

    @contextlib.contextmanager
    def _answered(self) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, ObjectPushError, ProtocolError, ValueError) as error:
            self.close()
            self._token = _NONE
            event("service.lost", level=logging.WARNING, code=type(error).__name__)
            raise _no_service(type(error).__name__) from error

    def _renew(self) -> bool:
        """Take up a new run where there is none; whether that was so."""
        if self._token is not _NONE:
            return False
        self._token = self._runtime.claim(patience_s=RENEWAL_S)
        self._begin()
        return True

    def _begin(self) -> Context:
        """Take up the run that the token is for."""
        given = self._runtime_client.PullTaskInput(PullTaskInputRequest())
        TaskIdentity.task_id, TaskIdentity.run_id = given.task_id, given.run.run_id
        TaskIdentity.node_id = given.context.node_id
        self.set_run(run_from_proto(given.run))
        return context_from_proto(given.context)

    def _connect(self) -> None:
        """As Flower does, but for its answer to a lost run, which is to interrupt this process."""
        self._client = RuntimeHttpClient(
            f"http://{self._runtime.address}",
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="flwr-serverapp"),
                RuntimeTokenHttpInterceptor(token=self._token),
                self._parcels,
            ],
        )

    def _try_push_messages(self, run_id: int, messages: Iterable[Message]) -> list[str]:
        """As Flower does, but that each object is serialised once, and goes along."""
        messages = list(messages)
        parts: dict[str, InflatableObject] = {}
        for message in messages:
            parts |= get_all_nested_objects(message)
        request = PushAppMessagesRequest(
            messages_list=[message_to_proto(remove_content_from_message(message)) for message in messages],
            message_object_trees=[get_object_tree(message) for message in messages],
        )
        client = self._runtime_client
        with self._parcels.carrying({name: part.deflate() for name, part in parts.items()}):
            pushed = client.PushMessages(request)
            left = set(pushed.objects_to_push) - self._parcels.done
            if left:
                send = make_push_object_fn_protobuf(client.PushObject, self.node, run_id, pushed.session_id)
                push_objects(parts, send, object_ids_to_push=left)
        return list(pushed.message_ids)


def _no_service(why: str) -> TransportError:
    return TransportError(
        f"the coordinator's service does not answer on this machine ({why})",
        remedy="Start it with `wardround-coordinator run DIR`, and keep it running.",
        code="coordinator.no_service",
        retryable=True,
    )
