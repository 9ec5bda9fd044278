"""What stands before Flower at the coordinator's ports: who may ask for what.

``FleetGuard`` stands at the port that hospitals reach, ``LoopbackGuard`` at the one for the job process.

Rules of ``FleetGuard``, in this order:

* The Fleet API's requests of a site, and nothing else: no Control API, no Runtime API, no registration of
  nodes, no app bundles. Everything else is not found.
* A certificate that enrolment issued (TLS has checked who signed it), and with it the node key that was
  enrolled together with it: one site cannot come as the node of another.
* A length that is stated and not above the limit.
* So many requests per certificate and second, and a burst.

Rules of ``LoopbackGuard``: the Runtime API, whose own secret and tokens Flower checks, and the request for a
run, which needs the secret. The Control API is reachable nowhere.

Not here: TLS (``service``), what is in a message.

Privacy: sees names, sizes and times; logs codes.
"""

from __future__ import annotations

import base64
import hmac
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import ASGIApp, Receive, Scope, Send

from wardround_common.logs import event

CERTIFICATE = "wardround.certificate"
"""Key of a connection's scope: SHA-256 of the certificate that the peer showed."""
BODY_LIMIT_BYTES = 16 << 20
"""Flower sends larger arrays in pieces."""
RATE_PER_S, BURST = 100.0, 400.0
"""One exchange of a round takes a site some fifteen requests."""
_FLEET = frozenset(
    f"/v1/fleet/{name}"
    for name in (
        *("activate-node", "deactivate-node", "send-node-heartbeat", "pull-messages", "push-messages"),
        *("push-object", "pull-object", "confirm-message-received"),
    )
)
NODE_KEY_HEADER = b"flwr-public-key"


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A site as enrolment knows it."""

    name: str
    node_key: bytes


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
        limit_bytes: Longest body.
        bucket: Makes the allowance of a certificate.
    """

    def __init__(
        self,
        app: ASGIApp,
        sites: Mapping[bytes, Enrolled],
        *,
        limit_bytes: int = BODY_LIMIT_BYTES,
        bucket: Callable[[], Bucket] = lambda: Bucket(rate=RATE_PER_S, burst=BURST),
    ) -> None:
        self._app = app
        self._sites = sites
        self._limit_bytes = limit_bytes
        self._bucket = bucket
        self._buckets: dict[bytes, Bucket] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        refused = self._check(scope)
        if refused is None:
            await self._app(scope, receive, send)
            return
        status, code, site = refused
        event("guard.refused", level=logging.WARNING, code=code, site=site)
        if scope["type"] == "http":
            await answer(send, status)

    def _check(self, scope: Scope) -> tuple[HTTPStatus, str, str] | None:
        """Why a request is refused, or None."""
        if scope["type"] != "http" or scope["path"] not in _FLEET or scope["method"] != "POST":
            return HTTPStatus.NOT_FOUND, "guard.path", ""
        certificate = scope.get(CERTIFICATE, b"")
        site = self._sites.get(certificate)
        if site is None:
            return HTTPStatus.FORBIDDEN, "guard.stranger", ""
        headers = dict(scope["headers"])
        if headers.get(NODE_KEY_HEADER) != base64.b64encode(site.node_key):
            return HTTPStatus.FORBIDDEN, "guard.other_node", site.name
        length = headers.get(b"content-length", b"")
        if not length.isdigit() or b"transfer-encoding" in headers:
            return HTTPStatus.LENGTH_REQUIRED, "guard.no_length", site.name
        if len(length) > 12 or int(length) > self._limit_bytes:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "guard.too_long", site.name
        if not self._buckets.setdefault(certificate, self._bucket()).take():
            return HTTPStatus.TOO_MANY_REQUESTS, "guard.flood", site.name
        return None


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
        self._token = b"Bearer " + secret.hex().encode()
        self._new_run = new_run

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, make a run, or refuse."""
        if scope["type"] == "lifespan" or scope["path"].startswith("/v1/runtime/"):
            await self._app(scope, receive, send)
        elif scope["path"] != self._run_path:
            await answer(send, HTTPStatus.NOT_FOUND)
        elif not hmac.compare_digest(dict(scope["headers"]).get(b"authorization", b""), self._token):
            await answer(send, HTTPStatus.FORBIDDEN)
        else:
            self._new_run()
            await answer(send, HTTPStatus.OK)


async def answer(send: Send, status: HTTPStatus, body: bytes = b"") -> None:
    """Answer a request and be done with it."""
    headers = [(b"content-length", str(len(body)).encode()), (b"content-type", b"application/octet-stream")]
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": body})
