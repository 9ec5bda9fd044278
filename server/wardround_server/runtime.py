"""The job's side of the SuperLink: claim a run, and run the ServerApp on it.

Rules:

* The run is a means: every run is as good as another, and what a study has reached is in its journal.
* Heartbeats end before the run is reported as ended: Flower would interrupt this process otherwise.

Not here: what the ServerApp does (``app``, ``study``).

Privacy: moves messages between this process and the SuperLink on the same machine.

References: Flower 1.41, Runtime API.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import httpx
from flwr.common.constant import SubStatus
from flwr.common.serde import context_from_proto, run_from_proto
from flwr.proto.runtime_pb2 import AcquireTaskRequest, PullTaskInputRequest, PushTaskOutputRequest
from flwr.serverapp import ServerApp
from flwr.supercore.constant import TaskType
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor, SuperExecAuthHttpInterceptor
from flwr.supercore.retry import make_simple_http_retry_invoker
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid import HttpGrid

from wardround_common.errors import TransportError

RUN_PATH = "/wardround/run"
"""Of the service on loopback: asks for a new run."""
PATIENCE_S = 30.0
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
        grid = HttpGrid(runtime_api_address=self.address, insecure=True, token=self._claim())
        client = grid._runtime_client
        given = client.PullTaskInput(PullTaskInputRequest())
        TaskIdentity.task_id, TaskIdentity.run_id = given.task_id, given.run.run_id
        TaskIdentity.node_id = given.context.node_id
        grid.set_run(run_from_proto(given.run))
        beat = HeartbeatSender(make_task_heartbeat_fn_http(client))
        beat.start()
        status = SubStatus.FAILED
        try:
            app(grid, context_from_proto(given.context))
            status = SubStatus.COMPLETED
        finally:
            beat.stop()
            client.PushTaskOutput(PushTaskOutputRequest(sub_status=status, details=""))
            grid.close()

    def _claim(self) -> str:
        """The token of a run's task."""
        guarded = frozenset({"/flwr.proto.Runtime/AcquireTask"})
        client = RuntimeHttpClient.from_server_address(
            server_address=self.address,
            insecure=True,
            root_certificates=None,
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="SuperExec"),
                SuperExecAuthHttpInterceptor(master_secret=self.secret, protected_methods=guarded),
            ],
            retry_invoker=make_simple_http_retry_invoker(),
        )
        deadline = time.monotonic() + PATIENCE_S
        self._ask_for_run()
        try:
            while time.monotonic() < deadline:
                got = client.AcquireTask(AcquireTaskRequest(supported_task_types=[TaskType.SERVER_APP]))
                if got.HasField("task") and got.token:
                    return str(got.token)
                time.sleep(0.1)
        finally:
            client.close()
        raise _no_service("it has no run to give")

    def _ask_for_run(self) -> None:
        headers = {"authorization": f"Bearer {self.secret.hex()}"}
        try:
            url = f"http://{self.address}{RUN_PATH}"
            httpx.post(url, headers=headers, timeout=PATIENCE_S).raise_for_status()
        except httpx.HTTPError as error:
            raise _no_service(type(error).__name__) from error


def _no_service(why: str) -> TransportError:
    return TransportError(
        f"the coordinator's service does not answer on this machine ({why})",
        remedy="Start it with `wardround-coordinator run DIR`, and keep it running.",
        code="coordinator.no_service",
        retryable=True,
    )
