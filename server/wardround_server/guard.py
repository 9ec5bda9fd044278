"""What stands before Flower at the coordinator's ports: who may ask for what.

``FleetGuard`` stands at the port that hospitals reach, ``LoopbackGuard`` at the one for the job process.

Rules of ``FleetGuard``, in this order:

* The Fleet API's requests of a site, and one for a new certificate, and nothing else: no Control API, no
  Runtime API, no registration of nodes, no app bundles. Everything else is not found.
* A certificate that enrolment issued (TLS has checked who signed it) to a site that the roster in force does
  not leave out, and with it the node key that was enrolled together with it: one site cannot come as the node
  of another.
* A length that is stated and not above the limit.
* So many requests per certificate and second, and a burst.
* No header twice: this guard and Flower could each read another one.
* A clock that is right within Flower's window, and a time that was not signed before: Flower's signature
  covers the time alone, so that recorded bytes would be taken again as long as the window is open.

A request for a certificate is not Flower's: it has no node key and no time.

What is refused behind this guard, by Flower or ``senders``, is told of too. Every answer says what time it is
here.

Rules of ``LoopbackGuard``: the Runtime API, whose own secret and tokens Flower checks, and the request for a
run, which needs the secret. The Control API is reachable nowhere.

Not here: TLS (``service``), what is in a message.

Privacy: sees names, sizes and times; tells codes, names and addresses.
"""

from __future__ import annotations

import asyncio
import base64
import datetime
import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wardround_common.enrolment import RENEW_PATH, TIME_HEADER
from wardround_server.refusals import Refused

CERTIFICATE = "wardround.certificate"
"""Key of a connection's scope: SHA-256 of the certificate that the peer showed."""
BODY_LIMIT_BYTES = 16 << 20
"""Flower sends larger arrays in pieces."""
BODY_S = 15.0
"""How long a short body may take to arrive."""
JOB_LIMIT_BYTES = 64 << 20
"""Of a job's request: a parcel, or one piece of an array."""
TOKEN_S = 60
"""How old a request for a run may be."""
RATE_PER_S, BURST = 100.0, 400.0
"""One exchange of a round takes a site some fifteen requests."""
_FLEET = frozenset(
    f"/v1/fleet/{name}"
    for name in (
        *("activate-node", "deactivate-node", "send-node-heartbeat", "pull-messages", "push-messages"),
        *("push-object", "pull-object"),
    )
)
_PATHS = _FLEET | {RENEW_PATH}
NODE_KEY_HEADER, CLOCK_HEADER, SIGNATURE_HEADER = b"flwr-public-key", b"flwr-timestamp", b"flwr-signature"
"""Flower's: who asks, when that was signed, and the signature."""
CODE_HEADER = b"wardround-code"
"""Of a refusal behind this guard that is not Flower's: why."""
AHEAD_S, BEHIND_S = 5.0, 305.0
"""By how much Flower lets a site's clock differ."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A site as enrolment knows it."""

    name: str
    node_key: bytes
    identity: bytes = b""
    """Its identity key, by which the roster knows it."""


class Bucket:
    """Lets ``rate`` requests a second pass, and a burst."""

    def __init__(self, *, rate: float, burst: float, now: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._now = rate, burst, now
        self._left, self._at = burst, now()

    def take(self) -> bool:
        """Whether one more may pass now."""
        at = self._now()
        self._left = min(self._burst, self._left + (at - self._at) * self._rate)
        self._at = at
        if self._left < 1:
            return False
        self._left -= 1
        return True


class FleetGuard:
    """The guard of the port that hospitals reach.

    Args:
        app: Flower's.
        sites: Who is enrolled, by certificate; may grow.
        renewal: Makes new certificates.
        used: Is told of each certificate that was shown for a request that is passed on.
        refused: Is told of refusals.
        revoked: Whether the roster in force leaves a site out.
        limit_bytes: Longest body.
        bucket: Makes the allowance of a certificate.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        app: ASGIApp,
        sites: Mapping[bytes, Enrolled],
        *,
        refused: Refused,
        renewal: ASGIApp,
        used: Callable[[bytes], None] = lambda certificate: None,
        revoked: Callable[[Enrolled], bool] = lambda site: False,
        limit_bytes: int = BODY_LIMIT_BYTES,
        bucket: Callable[[], Bucket] = lambda: Bucket(rate=RATE_PER_S, burst=BURST),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._app = app
        self._sites = sites
        self._refused = refused
        self._renewal = renewal
        self._used = used
        self._revoked = revoked
        self._limit_bytes = limit_bytes
        self._bucket = bucket
        self._clock = clock
        self._allowances: dict[str, _Allowance] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            return
        certificate = scope.get(CERTIFICATE, b"")
        site = self._sites.get(certificate)
        name, address = "" if site is None else site.name, address_in(scope)
        no = self._check(scope, site)
        if no is not None:
            self._refused(no.code, site=name, address=address, seconds=no.seconds)
            await answer(send, no.status, no.code.encode())
            return
        self._used(certificate)
        if scope["path"] == RENEW_PATH:
            if self._allowances[name].renewals.take():
                await self._renewal(scope, receive, send)
            else:
                self._refused("guard.renewals", site=name, address=address)
                await answer(send, HTTPStatus.TOO_MANY_REQUESTS, b"guard.renewals")
            return

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in (401, 403):
                code = dict(message.get("headers", ())).get(CODE_HEADER, b"").decode("ascii", "replace")
                self._refused(code or f"fleet.http_{message['status']}", site=name, address=address)
            await send(message)

        await self._app(scope, receive, watched)

    def _check(self, scope: Scope, site: Enrolled | None) -> _No | None:
        """Why a request is refused, or None."""
        if scope["path"] not in _PATHS or scope["method"] != "POST":
            return _No(HTTPStatus.NOT_FOUND, "guard.path")
        if site is None:
            return _No(HTTPStatus.FORBIDDEN, "guard.stranger")
        if self._revoked(site):
            return _No(HTTPStatus.FORBIDDEN, "guard.revoked")
        headers = dict(scope["headers"])
        if len(headers) != len(scope["headers"]):
            return _No(HTTPStatus.BAD_REQUEST, "guard.header_twice")
        flower = scope["path"] != RENEW_PATH
        if flower and headers.get(NODE_KEY_HEADER) != base64.b64encode(site.node_key):
            return _No(HTTPStatus.FORBIDDEN, "guard.other_node")
        length = headers.get(b"content-length", b"")
        if not length.isdigit() or b"transfer-encoding" in headers:
            return _No(HTTPStatus.LENGTH_REQUIRED, "guard.no_length")
        if len(length) > 12 or int(length) > self._limit_bytes:
            return _No(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "guard.too_long")
        allowance = self._allowances.setdefault(site.name, _Allowance(self._bucket(), Once(), _renewals()))
        if not allowance.bucket.take():
            return _No(HTTPStatus.TOO_MANY_REQUESTS, "guard.flood")
        return self._check_time(headers, allowance.once) if flower else None

    def _check_time(self, headers: Mapping[bytes, bytes], once: Once) -> _No | None:
        """Whether the site's clock is right, and it signed this time for the first time."""
        signed, now = headers.get(CLOCK_HEADER, b""), self._clock()
        signed_at = _moment(signed)
        if SIGNATURE_HEADER not in headers or signed_at is None:
            return _No(HTTPStatus.UNAUTHORIZED, "guard.unsigned")
        ahead = signed_at - now
        if not -BEHIND_S < ahead < AHEAD_S:
            return _No(HTTPStatus.PRECONDITION_FAILED, "guard.clock", seconds=round(ahead))
        if not once.take(signed, now):
            return _No(HTTPStatus.CONFLICT, "guard.replay")
        return None


class Once:
    """Knows which times a site has signed, while Flower's window is open for them.

    Not which signatures came: to a time and a key there are many, and whoever has one can make another.
    """

    def __init__(self) -> None:
        self._seen: dict[bytes, float] = {}

    def take(self, signed: bytes, now: float) -> bool:
        """Whether this is the first time; ``now`` in seconds since 1970."""
        key = sha256(signed).digest()[:16]
        while self._seen and next(iter(self._seen.values())) < now:
            del self._seen[next(iter(self._seen))]
        if key in self._seen:
            return False
        self._seen[key] = now + AHEAD_S + BEHIND_S
        return True


def _renewals() -> Bucket:
    """Ten new certificates at once, and then one in six minutes."""
    return Bucket(rate=1 / 360, burst=10)


@dataclass(frozen=True, slots=True)
class _Allowance:
    """What is kept of a site's requests."""

    bucket: Bucket
    once: Once
    renewals: Bucket


@dataclass(frozen=True, slots=True)
class _No:
    """How a request is refused."""

    status: HTTPStatus
    code: str
    seconds: int = 0


class LoopbackGuard:
    """The guard of the port for the job process, on loopback.

    Args:
        app: Flower's.
        secret: What service and job share.
        run_path: Where a run is asked for.
        new_run: Makes one.
    """

    def __init__(self, app: ASGIApp, *, secret: bytes, run_path: str, new_run: Callable[[], object]) -> None:
        self._app = app
        self._run_path = run_path
        self._secret = secret
        self._new_run = new_run

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, make a run, or refuse."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if b"transfer-encoding" in headers or not length.isdigit() or int(length) > JOB_LIMIT_BYTES:
            await answer(send, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        elif scope["path"].startswith("/v1/runtime/"):
            await self._app(scope, receive, send)
        elif scope["path"] != self._run_path:
            await answer(send, HTTPStatus.NOT_FOUND)
        elif not self._knows(headers.get(b"authorization", b"")):
            await answer(send, HTTPStatus.FORBIDDEN)
        else:
            self._new_run()
            await answer(send, HTTPStatus.OK)

    def _knows(self, token: bytes) -> bool:
        """Whether whoever sent a token knows the secret, and made it just now."""
        said = token.split(b":")[0][:12]
        now = int(said) if said.isdigit() else 0
        fresh = abs(now - time.time()) < TOKEN_S
        return hmac.compare_digest(token, run_token(self._secret, now).encode()) and fresh


def run_token(secret: bytes, now: int) -> str:
    """What asks for a run: shows that its sender knows the secret, and not the secret.

    Args:
        secret: What service and job share.
        now: Seconds since 1970.
    """
    return f"{now}:{hmac.digest(secret, f'wardround run {now}'.encode(), 'sha256').hex()}"


class Clocked:
    """Says in each answer what time it is here, so that a site with a wrong clock can say so.

    Args:
        app: What answers.
        clock: Seconds since 1970.
    """

    def __init__(self, app: ASGIApp, *, clock: Callable[[], float] = time.time) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""

        async def timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                now = (TIME_HEADER.encode(), str(int(self._clock())).encode())
                message = {**message, "headers": [*message.get("headers", ()), now]}
            await send(message)

        await self._app(scope, receive, timed)


def address_in(scope: Scope) -> str:
    """The network address that a request came from."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def _moment(text: bytes) -> float | None:
    """Seconds since 1970 in the form that Flower signs; None where it is another."""
    try:
        at = datetime.datetime.fromisoformat(text.decode("ascii"))
        return at.timestamp() if at.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


async def read_body(receive: Receive, *, limit_bytes: int, timeout_s: float = BODY_S) -> bytes:
    """A request's body, or the beginning of one that is longer than ``limit_bytes``.

    Raises:
        TimeoutError: It does not come.
    """
    data, more = b"", True
    async with asyncio.timeout(timeout_s):
        while more and len(data) <= limit_bytes:
            message = await receive()
            data += message.get("body", b"")
            more = message.get("more_body", False)
    return data


async def answer(send: Send, status: HTTPStatus, body: bytes = b"", *, code: str = "") -> None:
    """Answer a request and be done with it; ``code``: why it is refused, for the guard in front."""
    headers = [(b"content-length", str(len(body)).encode()), (b"content-type", b"application/octet-stream")]
    if code:
        headers.append((CODE_HEADER, code.encode()))
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": body})
