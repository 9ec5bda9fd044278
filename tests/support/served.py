"""The coordinator's real service in this process, on loopback, and sites that joined it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from wardround_client.home import SiteHome
from wardround_client.join import join
from wardround_common.audit import Entry, TurnedAway, verify
from wardround_common.audit.check import read as read_log
from wardround_common.enrolment import read_code
from wardround_common.errors import WardroundError
from wardround_common.identity import SigningKey
from wardround_common.trust import Member, Roster, sign_roster
from wardround_server.enrolment import invite
from wardround_server.home import CoordinatorConfig, CoordinatorHome, create
from wardround_server.service import Service
from wardround_simulations.deployed import free_ports

PATIENCE_S = 30.0
PULL = "/v1/fleet/pull-messages"
TODAY = datetime.date.today()


def new_coordinator(path: Path) -> CoordinatorHome:
    port, enrol_port, runtime_port = free_ports(3)
    config = CoordinatorConfig(host="127.0.0.1", port=port, enrol_port=enrol_port, runtime_port=runtime_port)
    return create(path, config)


@contextlib.contextmanager
def running(home: CoordinatorHome, **options) -> Iterator[Service]:
    """The service of a folder, until the block ends."""
    service, loop, stop = Service(home, **options), asyncio.new_event_loop(), asyncio.Event()
    ready, failed = threading.Event(), []

    def serve() -> None:
        try:
            loop.run_until_complete(service.run(stop, ready=ready.set))
        except WardroundError as error:  # told by the thread that waits
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert ready.wait(PATIENCE_S)
        if failed:
            raise failed[0]
        yield service
    finally:
        if not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE_S)
        loop.close()


def join_site(home: CoordinatorHome, path: Path, name: str = "alder") -> SiteHome:
    """A site joins the service that runs."""
    return join(path, read_code(invite(home, name)))


def url(home: CoordinatorHome, path: str, *, port: str = "port", scheme: str = "https") -> str:
    return f"{scheme}://127.0.0.1:{getattr(home.config, port)}{path}"


def tls(site: SiteHome | None, home: CoordinatorHome) -> ssl.SSLContext:
    """TLS as a site, or as somebody without a certificate."""
    if site is not None:
        return site.line.context()
    return ssl.create_default_context(cafile=home.path / "ca.pem")


def post(home: CoordinatorHome, site: SiteHome | None, path: str = PULL, **options) -> httpx.Response:
    """A request over a connection of its own."""
    port = options.pop("port", "port")
    options = {"content": b"", "verify": tls(site, home), "trust_env": False} | options
    return httpx.post(url(home, path, port=port), **options)


def node_headers(home: CoordinatorHome, name: str = "alder", *, at: datetime.datetime | None = None):
    """The headers of a request of a node, but that its signature is none."""
    key = (home.path / "sites" / name / "node.pub").read_bytes()
    at = at or datetime.datetime.now(datetime.UTC)
    return {
        "flwr-public-key": base64.b64encode(key).decode(),
        "flwr-timestamp": at.isoformat(),
        "flwr-signature": base64.b64encode(b"none").decode(),
    }


def rows(home: CoordinatorHome) -> list[Entry]:
    """All rows of the audit log, each checked."""
    return [entry for _, entry in read_log(home.path / "audit.sqlite", home.signer.key.public)]


def turned_away(home: CoordinatorHome) -> dict[str, TurnedAway]:
    """The last row about each code."""
    return {row.code: row for row in rows(home) if isinstance(row, TurnedAway)}


def until(there: Callable[[], object], what: str = "") -> None:
    """Wait for what happens in another thread."""
    deadline = time.monotonic() + PATIENCE_S
    while not there():
        assert time.monotonic() < deadline, what or "it did not happen"
        time.sleep(0.02)


def is_in_order(home: CoordinatorHome) -> bool:
    return verify(home.path / "audit.sqlite", home.signer.key.public).good


def give_roster(
    home: CoordinatorHome, authority: SigningKey, *sites: SiteHome, version: int = 1, **changes
) -> bytes:
    """The authority signs a roster of these sites, and the coordinator takes it up."""
    signed = roster_of(home, authority, *sites, version=version, **changes)
    home.take_roster(signed, authority_key=authority.public, today=TODAY)
    return signed


def roster_of(
    home: CoordinatorHome, authority: SigningKey, *sites: SiteHome, version: int = 1, **changes
) -> bytes:
    fields = {
        "version": version,
        "issued": TODAY.isoformat(),
        "expires": (TODAY + datetime.timedelta(20)).isoformat(),
        "sites": tuple(Member(site.config.name, site.signer.key.public) for site in sites),
        "lead": SigningKey.generate().public,
        "coordinator": home.signer.key.public,
    }
    return sign_roster(Roster(**(fields | changes)), authority)
