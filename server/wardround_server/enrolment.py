"""Who may join: invitations, and what a site that has one is given.

Rules:

* An invitation is for one site, one use and a time; the folder keeps a digest of its secret.
* The certificate is made, and only then the invitation removed: a crash in between leaves an invitation that
  its owner can still use.
* The card must name the site that was invited, and its key must have signed it.
* Every certificate is in the audit log, and every refusal.

Not here: whose word counts (the authority's roster), ports (``service``).

Privacy: names, network addresses and public keys of institutions.
"""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import Callable
from http import HTTPStatus

from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import Struct
from starlette.types import Receive, Scope, Send

from wardround_common.authority import make_card, open_card
from wardround_common.canonical import decode, digest, encode
from wardround_common.certificates import certificate_fingerprint
from wardround_common.enrolment import (
    CA_PATH,
    JOIN_PATH,
    REQUEST_LIMIT_BYTES,
    SECRET_BYTES,
    JoinCode,
    JoinReply,
    JoinRequest,
    write_code,
)
from wardround_common.errors import ConfigError, ConsentError, WardroundError
from wardround_common.files import OWNER_ONLY, read, write
from wardround_common.identity import SigningKey
from wardround_common.logs import event
from wardround_common.trust import COORDINATOR
from wardround_server.guard import Bucket, address_in, answer, read_body
from wardround_server.home import CERTIFICATE_FILE, CoordinatorHome
from wardround_server.refusals import Refused

CODE_HOURS = 72
_INVITATION_LIMIT_BYTES = 256
_LEAD = "lead"


class Invitation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A code that was not used yet."""

    secret: bytes
    """Digest of the code's secret."""
    expires: int


def invite(home: CoordinatorHome, site: str, *, hours: int = CODE_HOURS) -> str:
    """A join code for a site; one that was issued before and not used is void from now on.

    Raises:
        ConfigError: ``enrol.bad_name``.
    """
    config, secret = home.config, os.urandom(SECRET_BYTES)
    try:
        make_card(site, SigningKey.generate())  # the name as cards and plans have it
    except WardroundError as error:
        raise _bad_name(site) from error
    if site in (COORDINATOR, _LEAD):
        raise _bad_name(site)
    expires = int(time.time()) + hours * 3600
    invitation = Invitation(secret=_digest(secret), expires=expires)
    write(home.path / "invitations" / site, encode(invitation), mode=OWNER_ONLY)
    ca = certificate_fingerprint(home.issuer.certificate)
    host, port = config.enrol_host or config.host, config.public_enrol_port or config.enrol_port
    return write_code(JoinCode(site=site, host=host, port=port, ca=ca, secret=secret, expires=expires))


def admit(home: CoordinatorHome, request: JoinRequest) -> JoinReply:
    """Certify a site that was invited, and keep what it sent.

    Raises:
        ConsentError: ``enrol.not_invited``: no, another, or an expired invitation.
        ProtocolError: The card or the request for a certificate is not acceptable.
    """
    place = home.path / "invitations" / request.site
    invitation = None
    if place.is_file():
        data = read(place, limit_bytes=_INVITATION_LIMIT_BYTES)
        invitation = decode(data, Invitation, limit_bytes=_INVITATION_LIMIT_BYTES)
    expected = bytes(32) if invitation is None else invitation.secret
    known = hmac.compare_digest(expected, _digest(request.secret))
    if invitation is None or not known or time.time() > invitation.expires:
        raise _not_invited()
    card = open_card(request.card)
    if card.name != request.site:
        raise _not_invited()
    certificate = home.issuer.for_site(request.request, request.site)
    folder = home.path / "sites" / request.site
    folder.mkdir(mode=0o700, exist_ok=True)
    write(folder / "card", request.card)
    write(folder / "node.pub", request.node_key)
    write(folder / CERTIFICATE_FILE, certificate)
    place.unlink()
    event("enrol.joined", site=request.site)
    config = home.config
    return JoinReply(certificate=certificate, host=config.host, port=config.public_port or config.port)


class Enrolment:
    """The port for joining.

    Args:
        home: The coordinator's folder.
        joined: Is told the name of a site that joined.
        refused: Is told of refusals.
    """

    def __init__(self, home: CoordinatorHome, joined: Callable[[str], None], *, refused: Refused) -> None:
        self._home = home
        self._joined = joined
        self._refused = refused
        self._ca = home.issuer.certificate.public_bytes(Encoding.DER)
        self._bucket = Bucket(rate=1.0, burst=30.0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Show the CA's certificate, or let a site join."""
        if scope["type"] != "http":
            return
        address = address_in(scope)
        if not self._bucket.take():
            self._refused("enrol.flood", address=address)
            await answer(send, HTTPStatus.TOO_MANY_REQUESTS)
        elif (scope["method"], scope["path"]) == ("GET", CA_PATH):
            await answer(send, HTTPStatus.OK, self._ca)
        elif (scope["method"], scope["path"]) == ("POST", JOIN_PATH):
            await self._join(receive, send, address)
        else:
            self._refused("enrol.path", address=address)
            await answer(send, HTTPStatus.NOT_FOUND)

    async def _join(self, receive: Receive, send: Send, address: str) -> None:
        try:
            data = await read_body(receive, limit_bytes=REQUEST_LIMIT_BYTES)
            request = decode(data, JoinRequest, limit_bytes=REQUEST_LIMIT_BYTES)
            reply = admit(self._home, request)
            self._joined(request.site)
        except (WardroundError, TimeoutError) as error:
            code = error.code if isinstance(error, WardroundError) else "http.slow"
            self._refused(code, address=address)
            await answer(send, HTTPStatus.FORBIDDEN, code.encode())
            return
        await answer(send, HTTPStatus.OK, encode(reply))


def _digest(secret: bytes) -> bytes:
    return digest("join secret", secret)


def _bad_name(site: str) -> ConfigError:
    return ConfigError(
        f"{site!r} is no name for a site",
        remedy="Use the name that plans will have: lower-case letters, digits and hyphens.",
        code="enrol.bad_name",
    )


def _not_invited() -> ConsentError:
    return ConsentError(
        "the join code is not one that waits for this site",
        remedy="Ask the coordinator for a fresh code with `wardround-coordinator enrol SITE`.",
        code="enrol.not_invited",
    )
