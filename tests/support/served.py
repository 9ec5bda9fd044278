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
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from wardround_client.app import make_client_app
from wardround_client.home import SiteHome
from wardround_client.join import join
from wardround_client.line import LineKeys
from wardround_client.link import Link
from wardround_common.audit import Entry, TurnedAway, verify
from wardround_common.audit.check import read as read_log
from wardround_common.authority import make_card
from wardround_common.certificates import LEAF_LIFE, key_pem, make_request, new_key
from wardround_common.enrolment import JoinRequest, read_code
from wardround_common.errors import WardroundError
from wardround_common.files import OWNER_ONLY, write
from wardround_common.identity import SigningKey
from wardround_common.trust import Member, Roster, sign_roster
from wardround_server.enrolment import admit, invite
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


def enrolled(
    home: CoordinatorHome,
    folder: Path,
    name: str = "alder",
    *,
    identity: SigningKey | None = None,
    life: datetime.timedelta = LEAF_LIFE,
) -> LineKeys:
    """The keys of a site that was admitted while no service runs, for tests that play the site themselves."""
    folder.mkdir(parents=True)
    key, node = new_key(), new_key()
    code = read_code(invite(home, name))
    request = make_request(key, name)
    public = node.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    card = make_card(name, identity or SigningKey.generate())
    admit(home, JoinRequest(site=name, secret=code.secret, request=request, node_key=public, card=card))
    certificate = home.issuer.for_site(request, name, life=life)
    write(home.path / "sites" / name / "certificate.pem", certificate)
    write(folder / "tls.pem", key_pem(key) + certificate, mode=OWNER_ONLY)
    (folder / "ca.pem").write_bytes((home.path / "ca.pem").read_bytes())
    return LineKeys(
        address=f"127.0.0.1:{home.config.port}",
        ca=folder / "ca.pem",
        certificate=folder / "tls.pem",
        node_key=node,
    )


class Told:
    """What a line said of itself."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str, int]] = []

    def __call__(self, state: str, code: str, seconds: int) -> None:
        self.all.append((state, code, seconds))

    @property
    def last(self) -> tuple[str, str]:
        return self.all[-1][:2] if self.all else ("", "")


@contextlib.contextmanager
def linked(keys: LineKeys, **options) -> Iterator[Told]:
    """The production line of a site that answers with what it is asked, until the block ends."""
    told, stop = Told(), threading.Event()
    app = make_client_app(lambda packet: packet)
    link = Link(keys, app, told=told, **({"look": lambda: None} | options))
    thread = threading.Thread(target=link.run, args=(stop,))
    thread.start()
    try:
        yield told
    finally:
        stop.set()
        thread.join(PATIENCE_S)


def url(home: CoordinatorHome, path: str, *, port: str = "port", scheme: str = "https") -> str:
    return f"{scheme}://127.0.0.1:{getattr(home.config, port)}{path}"


def tls(site: SiteHome | LineKeys | None, home: CoordinatorHome) -> ssl.SSLContext:
    """TLS as a site, or as somebody without a certificate."""
    if site is not None:
        return (site.line if isinstance(site, SiteHome) else site).context()
    return ssl.create_default_context(cafile=home.path / "ca.pem")


def post(
    home: CoordinatorHome, site: SiteHome | LineKeys | None, path: str = PULL, **options
) -> httpx.Response:
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
        "content-type": "application/protobuf",
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


def roster_of(
    home: CoordinatorHome, authority: SigningKey, *names: str, version: int = 1, **changes
) -> bytes:
    """A roster of sites that joined."""
    fields = {
        "version": version,
        "issued": TODAY.isoformat(),
        "expires": (TODAY + datetime.timedelta(20)).isoformat(),
        "sites": tuple(Member(name, home.enrolled_site(name).identity) for name in names),
        "lead": SigningKey.generate().public,
        "coordinator": home.signer.key.public,
    }
    return sign_roster(Roster(**(fields | changes)), authority)
