"""TLS at the outer ports: who gets through the handshake, and who is told of as turned away.

A connection is accepted in clear, and TLS is begun on it here and not by whoever accepts: so the reason why a
handshake fails, and where it came from, are known.

Not here: what is asked over a connection (``guard``, ``enrolment``).

Rules:

* A handshake has some seconds, and so have a request's headers, from when the connection stands or the answer
  before was complete.
* So many connections of one address, and of all.
* The certificate can change while the door is open: new handshakes show the new one.

Privacy: sees network addresses, and who shows which certificate.

References: RFC 8446; OpenSSL, ``SSL_R_*`` and ``X509_V_ERR_*``.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from wardround_server.guard import CERTIFICATE
from wardround_server.home import SERVER
from wardround_server.refusals import Refused

HANDSHAKE_S: Final = 10.0
HEADERS_S: Final = 15.0
CONNECTIONS: Final = 1000
_REASONS: Final = {
    "HTTP_REQUEST": "tls.plain_http",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "tls.no_certificate",
    "UNSUPPORTED_PROTOCOL": "tls.old_version",
    "NO_SHARED_CIPHER": "tls.old_version",
}
_VERDICTS: Final = {9: "tls.certificate_not_yet_valid", 10: "tls.certificate_expired"}


class Door:
    """Makes the protocol of each connection of a port, for uvicorn.

    Args:
        context: The port's TLS.
        refused: Is told of what fails.
        handshake_s: How long a handshake may take.
        headers_s: How long a request's headers may take.
        of_one: Connections of one address.
        of_all: Connections altogether.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        refused: Refused,
        *,
        handshake_s: float = HANDSHAKE_S,
        headers_s: float = HEADERS_S,
        of_one: int = 100,
        of_all: int = CONNECTIONS,
    ) -> None:
        self.context = context
        self.refused = refused
        self.handshake_s = handshake_s
        self.headers_s = headers_s
        self._of_one, self._of_all = of_one, of_all
        self._open: Counter[str] = Counter()

    def __call__(self, **given: Any) -> asyncio.Protocol:  # noqa: ANN401 - uvicorn's own
        """A connection's protocol, from what uvicorn gives to one."""
        return _Threshold(self, given)

    def enter(self, address: str) -> bool:
        """Whether one more connection of an address may stand."""
        if self._open[address] >= self._of_one or self._open.total() >= self._of_all:
            if not self._open[address]:
                del self._open[address]
            return False
        self._open[address] += 1
        return True

    def leave(self, address: str) -> None:
        """A connection that had entered is gone."""
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]


def server_context(folder: Path, *, client_ca: Path | None) -> ssl.SSLContext:
    """TLS 1.3 with the server's key and certificate in ``folder``.

    Args:
        folder: The coordinator's.
        client_ca: The CA that a client's certificate must be of; None asks for none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(folder / SERVER)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class _Threshold(asyncio.Protocol):
    """A connection until TLS stands; then the HTTP protocol has it."""

    def __init__(self, door: Door, given: dict[str, Any]) -> None:
        self._door = door
        self._given = given
        self._early = b""
        self._shaking: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        address = address_of(transport)
        if not self._door.enter(address):
            self._door.refused("door.too_many", address=address)
            transport.abort()
            return
        transport.pause_reading()  # until TLS reads
        self._shaking = asyncio.get_running_loop().create_task(self._shake(transport, address))

    def data_received(self, data: bytes) -> None:
        """What came in one piece with the end of the handshake."""
        self._early += data

    async def _shake(self, transport: asyncio.Transport, address: str) -> None:
        secured = None
        try:
            secured = await asyncio.get_running_loop().start_tls(
                transport,
                self,
                self._door.context,
                server_side=True,
                ssl_handshake_timeout=self._door.handshake_s,
            )
        except (ssl.SSLError, TimeoutError, ConnectionAbortedError) as error:
            self._door.refused(_code(error), address=address)
        except OSError:  # the peer went away, which is no refusal
            pass
        finally:
            if secured is None:
                self._door.leave(address)
        if secured is not None:
            inner = _Http(self._door, address, self._given)
            secured.set_protocol(inner)
            inner.connection_made(secured)
            if self._early:
                inner.data_received(self._early)


class _Http(H11Protocol):
    """HTTP/1.1 that tells the application whose certificate was shown, and waits some seconds for headers."""

    def __init__(self, door: Door, address: str, given: dict[str, Any]) -> None:
        super().__init__(**given)
        self._door, self._address = door, address
        self._waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        connection = transport.get_extra_info("ssl_object")
        shown = connection.getpeercert(binary_form=True) if connection else None
        fingerprint, inner = sha256(shown).digest() if shown else b"", self.app

        async def named(scope: Scope, receive: Receive, send: Send) -> None:
            self._heard()
            scope[CERTIFICATE] = fingerprint
            await inner(scope, receive, send)

        self.app = named
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._heard()
        self._door.leave(self._address)
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        self._wait()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        self._door.refused("http.malformed", address=self._address)
        super().send_400_response(msg)

    def _wait(self) -> None:
        self._heard()
        self._waiting = self.loop.call_later(self._door.headers_s, self._overdue)

    def _heard(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _overdue(self) -> None:
        self._door.refused("http.slow", address=self._address)
        self.transport.abort()


def address_of(transport: asyncio.BaseTransport) -> str:
    """The network address at the other end, without its port."""
    name = transport.get_extra_info("peername")
    return str(name[0]) if name else ""


def _code(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERDICTS.get(error.verify_code, "tls.other_certificate")
    if isinstance(error, ssl.SSLError):
        return _REASONS.get(error.reason or "", "tls.failed")
    return "tls.slow"
