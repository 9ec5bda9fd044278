"""The coordinator's service: three ports around one SuperLink.

* The port for rounds: TLS 1.3, a client certificate of our CA required, ``FleetGuard``, the Fleet API.
* The port for joining: TLS 1.3, ``Enrolment``.
* The port for the job process, on loopback only: ``LoopbackGuard``, the Runtime API.

It runs no rounds: the job process does, and each restarts without the other. What an outer port refuses is in
the audit log; a roster that is put into the folder is in force within a second.

Not here: TLS (``door``), what is let through (``guard``), who may join (``enrolment``).

Privacy: as ``superlink``.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from wardround_common.audit import AuditLog
from wardround_common.certificates import LEAF_LIFE
from wardround_common.errors import TransportError
from wardround_common.files import OWNER_ONLY, write
from wardround_common.locks import alone
from wardround_server.arrivals import Arrivals
from wardround_server.door import CONNECTIONS, Door, server_context
from wardround_server.enrolment import Enrolment
from wardround_server.guard import BURST, RATE_PER_S, Bucket, Clocked, FleetGuard, LoopbackGuard
from wardround_server.holding import JOB_HOLD_S, SITE_HOLD_S, Bell, Holding
from wardround_server.home import CoordinatorHome
from wardround_server.parcels import ParcelPort
from wardround_server.refusals import EVERY_S, Refusals, Refused
from wardround_server.register import Register
from wardround_server.renewal import Renewal, ServerCertificate
from wardround_server.rosters import Rosters
from wardround_server.runtime import RUN_PATH
from wardround_server.senders import Senders
from wardround_server.superlink import SuperLink

LOOPBACK = "127.0.0.1"
LOOK_S = 1.0
"""Between two looks for what a person changed in the folder."""


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
        AuditError: The audit log cannot be used.
    """
    os.umask(0o077)
    asyncio.run(_until_a_signal(home, ready))


async def _until_a_signal(home: CoordinatorHome, ready: Callable[[], None]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Service(home).run(stop, ready=ready)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lives:
    """How long certificates are valid that are renewed: sites', and the server's."""

    site: datetime.timedelta = LEAF_LIFE
    server: datetime.timedelta = LEAF_LIFE


class Service:
    """The service of one coordinator.

    Args:
        home: Its folder.
        refusals_every_s: Seconds between two rows of the audit log about the same refusals.
        bucket: Makes the allowance of a site.
        lives: How long certificates that are renewed are valid.
        clock: Time, for the server's own certificate.
    """

    def __init__(
        self,
        home: CoordinatorHome,
        *,
        refusals_every_s: float = EVERY_S,
        bucket: Callable[[], Bucket] = lambda: Bucket(rate=RATE_PER_S, burst=BURST),
        lives: Lives = Lives(),
        clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._clock = clock
        self._home = home
        self._lives = lives
        self._refusals_every_s = refusals_every_s
        self._bucket = bucket

    async def run(self, stop: asyncio.Event, *, ready: Callable[[], None]) -> None:
        """Serve until ``stop`` is set.

        Raises:
            StorageError, TransportError, AuditError: As ``serve``.
        """
        lock = alone(self._home.path, "the service", code="coordinator.busy")
        with lock, contextlib.closing(self._home.audit_log()) as audit:
            refusals = Refusals(audit, every_s=self._refusals_every_s)
            try:
                await self._run(audit, refusals.note, stop, ready)
            finally:
                await asyncio.to_thread(refusals.close)

    async def _run(
        self, audit: AuditLog, refused: Refused, stop: asyncio.Event, ready: Callable[[], None]
    ) -> None:
        home, config = self._home, self._home.config
        link = SuperLink(home.secret, late=lambda site: refused("reply.late", site=site))
        register = Register(home, audit, admit=link.admit)
        own = ServerCertificate(home, audit, life=self._lives.server, clock=self._clock)
        own.look(())
        rosters = Rosters(home, authority_key=home.authority_key)
        rosters.look()
        to_sites, to_job = Bell(), Bell()
        from_sites = Arrivals(ParcelPort(Senders(link.app, link.objection), link.fleet), link)
        from_job = ParcelPort(link.app, link.runtime)
        fleet = FleetGuard(
            _held(from_sites, "/v1/fleet", heard=to_sites, told=to_job, hold_s=SITE_HOLD_S),
            register.sites,
            refused=refused,
            renewal=Renewal(home, register, refused=refused, life=self._lives.site),
            used=register.used,
            revoked=rosters.leaves_out,
            bucket=self._bucket,
        )
        loopback = LoopbackGuard(
            _held(from_job, "/v1/runtime", heard=to_job, told=to_sites, hold_s=JOB_HOLD_S),
            secret=home.secret,
            run_path=RUN_PATH,
            new_run=link.new_run,
        )
        enrolment = Enrolment(home, register.joined, refused=refused)
        of_one = config.connections_of_one
        rounds = Door(server_context(home.path, client_ca=home.path / "ca.pem"), refused, of_one=of_one)
        joining = Door(server_context(home.path, client_ca=None), refused, of_one=of_one)
        servers = [
            _server(loopback, host=LOOPBACK, port=config.runtime_port, lifespan="on"),
            _server(Clocked(fleet), host=config.bind, port=config.port, http=rounds),
            _server(Clocked(enrolment), host=config.bind, port=config.enrol_port, http=joining),
        ]

        def look() -> None:
            rosters.look()
            own.look([rounds.context, joining.context])

        await _serve(servers, stop, ready=partial(self._ready, ready), look=look)

    def _ready(self, ready: Callable[[], None]) -> None:
        write(self._home.path / "service.pid", str(os.getpid()).encode(), mode=OWNER_ONLY)
        ready()


async def _serve(
    servers: list[uvicorn.Server],
    stop: asyncio.Event,
    *,
    ready: Callable[[], None],
    look: Callable[[], object],
) -> None:
    """Run servers until ``stop`` is set or one of them ends; ``look`` is called about once a second."""
    tasks = [asyncio.create_task(_run(server)) for server in servers]
    while not all(server.started for server in servers) and not any(task.done() for task in tasks):
        await asyncio.sleep(0.02)
    if not any(task.done() for task in tasks):
        ready()
    while not stop.is_set() and not any(task.done() for task in tasks):
        look()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOOK_S)
    for server in servers:
        server.should_exit = True
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


def _server(app: ASGIApp, *, lifespan: Any = "off", http: Any = "h11", **place: Any) -> uvicorn.Server:  # noqa: ANN401
    return _Server(
        uvicorn.Config(
            app,
            interface="asgi3",
            lifespan=lifespan,
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            ws="none",
            http=http,
            limit_concurrency=CONNECTIONS + 1,
            timeout_graceful_shutdown=3,
            **place,
        )
    )
