"""The coordinator's service: three ports around one SuperLink.

* The port for rounds: TLS 1.3, a client certificate of our CA required, ``FleetGuard``, the Fleet API.
* The port for joining: TLS 1.3, ``Enrolment``.
* The port for the job process, on loopback only: ``LoopbackGuard``, the Runtime API.

It runs no rounds: the job process does, and each restarts without the other.

Not here: what is let through (``guard``), who may join (``enrolment``).

Privacy: as ``superlink``.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import ssl
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from wardround_common.errors import StorageError, TransportError
from wardround_common.files import OWNER_ONLY, write
from wardround_server.arrivals import Arrivals
from wardround_server.enrolment import Enrolment
from wardround_server.guard import CERTIFICATE, FleetGuard, LoopbackGuard
from wardround_server.holding import JOB_HOLD_S, SITE_HOLD_S, Bell, Holding
from wardround_server.home import CoordinatorHome
from wardround_server.parcels import ParcelPort
from wardround_server.runtime import RUN_PATH
from wardround_server.superlink import SuperLink

LOOPBACK = "127.0.0.1"
CONNECTIONS = 1000


class _NamedPeer(H11Protocol):
    """HTTP/1.1 that tells the application which certificate the peer showed."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        connection = transport.get_extra_info("ssl_object")
        shown = connection.getpeercert(binary_form=True) if connection else None
        fingerprint, inner = sha256(shown).digest() if shown else b"", self.app

        async def named(scope: Scope, receive: Receive, send: Send) -> None:
            scope[CERTIFICATE] = fingerprint
            await inner(scope, receive, send)

        self.app = named


class _Server(uvicorn.Server):
    """A server that leaves signals to whoever runs several of them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(home: CoordinatorHome, *, ready: Callable[[], None]) -> None:
    """Run the service until SIGTERM or SIGINT.

    Args:
        home: The coordinator's folder.
        ready: Called when all ports are open.

    Raises:
        StorageError: ``coordinator.busy``: the service runs already.
        TransportError: ``coordinator.port``: a port is taken.
    """
    with _alone(home.path):
        os.umask(0o077)
        asyncio.run(_serve(home, ready))


async def _serve(home: CoordinatorHome, ready: Callable[[], None]) -> None:
    config, secret = home.config, home.secret
    link = SuperLink(secret)
    sites = home.enrolled()
    for site in sites.values():
        link.admit(site.name, site.node_key)

    def joined(name: str) -> None:
        fingerprint, site = home.enrolled_site(home.path / "sites" / name)
        for old in [one for one, other in sites.items() if other.name == name]:
            del sites[old]
        link.admit(site.name, site.node_key)
        sites[fingerprint] = site

    to_sites, to_job = Bell(), Bell()
    from_sites = Arrivals(ParcelPort(link.app, link.fleet), link)
    from_job = ParcelPort(link.app, link.runtime)
    fleet = FleetGuard(_held(from_sites, "/v1/fleet", heard=to_sites, told=to_job, hold_s=SITE_HOLD_S), sites)
    loopback = LoopbackGuard(
        _held(from_job, "/v1/runtime", heard=to_job, told=to_sites, hold_s=JOB_HOLD_S),
        secret=secret,
        run_path=RUN_PATH,
        new_run=link.new_run,
    )
    servers = [
        _server(loopback, host=LOOPBACK, port=config.runtime_port, lifespan="on"),
        _server(
            fleet,
            host=config.bind,
            port=config.port,
            **_tls(home.path, ssl.CERT_REQUIRED),
            ssl_ca_certs=str(home.path / "ca.pem"),
            http=_NamedPeer,
        ),
        _server(
            Enrolment(home, joined),
            host=config.bind,
            port=config.enrol_port,
            **_tls(home.path, ssl.CERT_NONE),
        ),
    ]
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, servers)
    tasks = [asyncio.create_task(_run(server)) for server in servers]
    while not all(server.started for server in servers) and not any(task.done() for task in tasks):
        await asyncio.sleep(0.02)
    if not any(task.done() for task in tasks):
        pid = str(os.getpid()).encode()
        write(home.path / "service.pid", pid, mode=OWNER_ONLY)
        ready()
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    _stop(servers)
    await asyncio.gather(*tasks)


async def _run(server: uvicorn.Server) -> None:
    try:
        await server.serve()
    except SystemExit as error:  # how uvicorn says that a port cannot be opened
        raise TransportError(
            f"port {server.config.port} cannot be opened",
            remedy="Free it, or name another in coordinator.toml.",
            code="coordinator.port",
        ) from error


def _held(app: ASGIApp, api: str, *, heard: Bell, told: Bell, hold_s: float) -> ASGIApp:
    return Holding(
        app, pull=f"{api}/pull-messages", push=f"{api}/push-", heard=heard, told=told, hold_s=hold_s
    )


def _server(app: ASGIApp, *, lifespan: Any = "off", **options: Any) -> uvicorn.Server:  # noqa: ANN401
    return _Server(
        uvicorn.Config(
            app,
            lifespan=lifespan,
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            ws="none",
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=3,
            **{"http": "h11", **options},
        )
    )


def _tls(home: Path, client: ssl.VerifyMode) -> dict[str, Any]:
    def modern(config: uvicorn.Config, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        context = default()
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context

    return {
        "ssl_certfile": str(home / "server.pem"),
        "ssl_keyfile": str(home / "server.key"),
        "ssl_cert_reqs": client,
        "ssl_context_factory": modern,
    }


def _stop(servers: list[uvicorn.Server]) -> None:
    for server in servers:
        server.should_exit = True


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StorageError(
                f"the service of {folder} is running",
                remedy="Stop it first.",
                code="coordinator.busy",
                retryable=True,
            ) from error
        yield
    finally:
        os.close(handle)
