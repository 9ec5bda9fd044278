"""Flower's SuperLink inside the coordinator's service: the message store between job and sites.

Rules:

* Process isolation: nothing is started, an executor outside asks for its task with a shared secret.
* Nodes and runs are made here, by this process; Flower's Control API, which has no authentication, is not
  needed and reachable nowhere (``guard``).
* A run's "app" is a placeholder that no program could unpack: what runs is what is installed.

Not here: ports (``service``), who may speak (``guard``), the job (``runtime``).

Privacy: Flower's database holds messages in transit: signed envelopes and masked vectors.

References: Flower 1.41, ``create_app``.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL, NOOP_ACCOUNT_NAME, NOOP_FLWR_AID
from flwr.server.superlink.linkstate import LinkState
from flwr.supercore.constant import NOOP_FEDERATION_ID, TaskType
from flwr.supercore.fab import Fab
from flwr.superlink.cli.flower_superlink import SuperLinkLifespan
from flwr.superlink.config_loader import SuperLinkLifespanConfig, load_control_authn_plugin
from flwr.superlink.main import create_app
from starlette.types import ASGIApp

from wardround_common.errors import StorageError

_PLACEHOLDER = b"wardround runs what is installed"
_APP = "wardround/study"


class SuperLink:
    """A SuperLink on a database.

    Args:
        database: SQLite file; made if absent.
        secret: What an executor proves that it knows.
    """

    def __init__(self, database: Path, secret: bytes) -> None:
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
            database=str(database),
            isolation="process",
            runtime_dependency_install=False,
        )
        app = create_app(config, SuperLinkLifespan)
        self._states = app.state.linkstate_factory
        self.app: ASGIApp = app

    def admit(self, name: str, node_key: bytes) -> None:
        """Let the owner of a node key connect; nothing where it may already."""
        if self._state.get_node_id_by_public_key(node_key) is None:
            self._state.create_node(
                NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, node_key, HEARTBEAT_DEFAULT_INTERVAL, name=name
            )

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
                "Flower's database takes no new run",
                remedy="Check free space and permissions of the coordinator's data folder.",
                code="superlink.no_run",
            )
        return run

    @property
    def _state(self) -> LinkState:
        state: LinkState = self._states.state()
        return state
