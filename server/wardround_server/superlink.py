"""Flower's SuperLink inside the coordinator's service: the message store between job and sites.

Rules:

* Process isolation: nothing is started, an executor outside asks for its task with a shared secret.
* Nodes and runs are made here, by this process; Flower's Control API, which has no authentication, is not
  needed and reachable nowhere (``guard``).
* Its store is in memory: what is under way is in the job's journal and in the sites' records, and comes again
  when this process is started anew. So no message lies on the coordinator's disk, and a node has the same
  number in every life: sites are known by it while a round lasts.
* Flower lets a reply that comes too late disappear without a word; here it is told of.
* A run's "app" is a placeholder that no program could unpack: what runs is what is installed.

Not here: ports (``service``), who may speak (``guard``), the job (``runtime``).

Privacy: holds messages in transit: signed envelopes and masked vectors.

References: Flower 1.41, ``create_app``.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Callable, Mapping

from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL, NOOP_ACCOUNT_NAME, NOOP_FLWR_AID
from flwr.proto.fleet_pb2 import PullMessagesResponse, PushMessagesRequest, PushMessagesResponse
from flwr.proto.message_pb2 import Metadata
from flwr.proto.runtime_pb2 import PullAppMessagesResponse, PushAppMessagesRequest, PushAppMessagesResponse
from flwr.server.superlink.linkstate import InMemoryLinkState
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME, NOOP_FEDERATION_ID, TaskType
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.superlink.cli.flower_superlink import SuperLinkLifespan
from flwr.superlink.config_loader import SuperLinkLifespanConfig, load_control_authn_plugin
from flwr.superlink.main import create_app
from google.protobuf.message import DecodeError
from starlette.types import ASGIApp

from wardround_common.canonical import digest
from wardround_common.errors import StorageError
from wardround_common.logs import event
from wardround_common.parcels import that_fit
from wardround_server.senders import FORGED

Pulled = PullMessagesResponse | PullAppMessagesResponse
Sent = PushMessagesRequest | PushAppMessagesRequest
Answered = PushMessagesResponse | PushAppMessagesResponse

MOST_PARTS = 2000
"""Of one message. Flower cuts 44 MB into a dozen."""
_PLACEHOLDER = b"wardround runs what is installed"
_APP = "wardround/study"


class SuperLink:
    """A SuperLink.

    Args:
        secret: What an executor proves that it knows.
        late: Is told the name of a site, from another thread, whose reply came when its request was gone.
    """

    def __init__(self, secret: bytes, *, late: Callable[[str], None] = lambda site: None) -> None:
        config = SuperLinkLifespanConfig(
            control_address="",
            health_server_address=None,
            host="127.0.0.1",
            port=0,
            insecure=True,
            certificates=None,
            superexec_auth_secret=secret,
            authn_plugin=load_control_authn_plugin(),
            event_log_plugin=None,
            fleet_event_log_plugin=None,
            enable_event_log=False,
            artifact_provider=None,
            enable_supernode_auth=True,
            fleet_api_type="grpc-rere",
            fleet_api_address=None,
            simulation=False,
            ssl_ca_certfile=None,
            ssl_certfile=None,
            ssl_keyfile=None,
            database=FLWR_IN_MEMORY_DB_NAME,
            isolation="process",
            runtime_dependency_install=False,
        )
        app = create_app(config, SuperLinkLifespan)
        self._states = app.state.linkstate_factory
        self._late = late
        self.app: ASGIApp = app

    def admit(self, name: str, node_key: bytes) -> None:
        """Let the owner of a node key connect; nothing where it may already."""
        state = self._state
        if state.get_node_id_by_public_key(node_key) is None:
            made = state.create_node(
                NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, node_key, HEARTBEAT_DEFAULT_INTERVAL, name=name
            )
            _renumber(state, made, node_number(node_key))

    def release(self, node_key: bytes) -> None:
        """End the earlier life of a node (``arrivals.Nodes``)."""
        self._state.deactivate_node(node_number(node_key))

    def redeliver(self, node_key: bytes) -> None:
        """Hand out again what a node was given and did not answer (``arrivals.Nodes``)."""
        state, node = self._state, node_number(node_key)
        with state.lock:
            for name, message in state.message_ins_store.items():
                answered = name in state.message_ins_id_to_message_res_id
                if message.metadata.dst_node_id == node and not answered:
                    message.metadata.delivered_at = ""

    def objection(self, request: bytes, node_key: bytes) -> str:
        """Why a request to push is not for Flower; empty where it is (``senders``).

        It is to be one message of the key's node, with its own tree of at most so many parts, and none that
        was pushed before: Flower would keep the tree of each for as long as the run lasts.
        """
        try:
            sent = PushMessagesRequest.FromString(request)
        except DecodeError:
            return FORGED
        roots = [tree.object_id for tree in sent.message_object_trees]
        number = node_number(node_key)
        own = [one.metadata.message_id for one in sent.messages_list if one.metadata.src_node_id == number]
        if len(sent.messages_list) != 1 or roots != own:
            return FORGED
        parts = iterate_object_tree(sent.message_object_trees[0])
        if sum(1 for _ in itertools.islice(parts, MOST_PARTS + 1)) > MOST_PARTS:
            return "guard.too_many_parts"
        return "guard.sent_before" if own[0] in self._state.message_res_store else ""

    def new_run(self) -> int:
        """A run that waits for an executor.

        Raises:
            StorageError: ``superlink.no_run``.
        """
        fab = Fab(hashlib.sha256(_PLACEHOLDER).hexdigest(), _PLACEHOLDER, {})
        self._state.store_app(
            fab=fab,
            federation_id=NOOP_FEDERATION_ID,
            app_id=f"@{_APP}",
            app_type=TaskType.SERVER_APP,
            added_by=NOOP_FLWR_AID,
            is_hub_app=False,
        )
        run = self._state.create_run(
            _APP,
            "1.0.0",
            fab.hash_str,
            {},
            NOOP_FEDERATION_ID,
            None,
            NOOP_FLWR_AID,
            TaskType.SERVER_APP,
        )
        if run == 0:
            raise StorageError(
                "Flower takes no new run",
                remedy="Start the service again, and report this if it happens twice.",
                code="superlink.no_run",
            )
        return run

    @property
    def fleet(self) -> Objects:
        """What sites send and pull, for parcels."""
        return Objects(
            self._state, PullMessagesResponse, PushMessagesRequest, PushMessagesResponse, late=self._late
        )

    @property
    def runtime(self) -> Objects:
        """What jobs send and pull, for parcels."""
        return Objects(self._state, PullAppMessagesResponse, PushAppMessagesRequest, PushAppMessagesResponse)

    @property
    def _state(self) -> InMemoryLinkState:
        state: InMemoryLinkState = self._states.state()
        return state


def node_number(node_key: bytes) -> int:
    """The number of a node, from its key: the same in every life of the service."""
    return int.from_bytes(digest("node number", node_key)[:8], "big") | 1 << 63  # neither 0 nor SuperLink's 1


def _renumber(state: InMemoryLinkState, old: int, new: int) -> None:
    """Give a node that was just made another number than the random one."""
    with state.lock:
        node = state.nodes.pop(old)
        node.node_id = new
        state.nodes[new] = node
        state.node_public_key_to_node_id[node.public_key] = new
        numbers = state.owner_to_node_ids[node.owner_aid]
        numbers.remove(old)
        numbers.add(new)


class Objects:
    """The objects of messages in transit (``parcels.Store``). Made by ``SuperLink``.

    Args:
        state: Flower's.
        pulled: Type of the answer to a pull.
        sent: Type of a request that sends messages.
        answered: Type of the answer to it.
        late: Of sites' replies: as ``SuperLink``. What sites pull may have to be pulled again: it is kept
            until it is answered.
    """

    def __init__(
        self,
        state: InMemoryLinkState,
        pulled: type[Pulled],
        sent: type[Sent],
        answered: type[Answered],
        *,
        late: Callable[[str], None] | None = None,
    ) -> None:
        self._state = state
        self._late = late
        self._pulled, self._sent, self._answered = pulled, sent, answered

    def collect(self, answer: bytes) -> tuple[dict[str, bytes], tuple[str, ...]]:
        """The objects of pulled messages that are there and have room (``Store.collect``)."""
        pulled = self._pulled.FromString(answer)
        objects: dict[str, bytes] = {}
        complete = []
        for message, tree in zip(pulled.messages_list, pulled.message_object_trees, strict=True):
            run, name = message.metadata.run_id, message.metadata.message_id
            names = [one.object_id for one in iterate_object_tree(tree)]
            parts = {one: self._state.get_object(run, one) or b"" for one in names}
            if all(parts.values()) and len(that_fit(objects | parts)) == len(objects | parts):
                objects |= parts
                complete.append(name)
                if self._late is None:
                    self._state.object_store.delete(name)
        return objects, tuple(complete)

    def store(self, request: bytes, answer: bytes, objects: Mapping[str, bytes]) -> tuple[str, ...]:
        """Store what Flower waits for (``Store.store``)."""
        messages, wanted = self._sent.FromString(request).messages_list, self._answered.FromString(answer)
        run, session = messages[0].metadata.run_id, wanted.session_id
        names = [name for name in wanted.objects_to_push if name in objects]
        stored = tuple(name for name in names if self._state.store_object(run, session, name, objects[name]))
        for message in messages:
            if wanted.objects_to_push and (question := message.metadata.reply_to_message_id):
                self._state.object_store.delete(question)  # Flower took the reply: it was asked of this node
            if self._late is not None and not wanted.objects_to_push:
                self._look_for(message.metadata, self._late)
        return stored

    def _look_for(self, metadata: Metadata, late: Callable[[str], None]) -> None:
        """Tell of a reply that Flower did not take, nor had taken before."""
        if metadata.message_id in self._state.message_res_store:
            return
        node = self._state.nodes.get(metadata.src_node_id)
        name = "" if node is None else str(node.name)
        event("reply.late", level=logging.WARNING, site=name)
        late(name)
