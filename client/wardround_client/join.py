"""Joining: the site makes its keys, and has the TLS key certified for the one-time secret of a join code.

Rules:

* Private keys are made here and never travel.
* The CA is the one whose fingerprint the code names; the secret goes only to a server that this CA certified.
* A folder that exists is never joined into: keys are not replaced.

Not here: what a code is (``wardround_common.enrolment``).

Privacy: sends the site's name and public keys.
"""

from __future__ import annotations

import hmac
import os
import ssl
import time
from hashlib import sha256
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from wardround_client.home import (
    CA,
    CARD,
    CONFIG,
    IDENTITY,
    NODE_KEY,
    PATIENTS,
    SITE_KEY,
    TLS,
    SiteHome,
)
from wardround_client.trouble import CLOCK, why
from wardround_common.authority import keyfile, make_card
from wardround_common.canonical import decode, encode
from wardround_common.certificates import key_pem, load_certificate, make_request, new_key
from wardround_common.enrolment import CA_PATH, JOIN_PATH, REPLY_LIMIT_BYTES, JoinCode, JoinReply, JoinRequest
from wardround_common.errors import ConfigError, ConsentError, TransportError
from wardround_common.files import OWNER_ONLY, new_folder, write
from wardround_common.identity import SigningKey

SECRET_BYTES = 32
PATIENCE_S = 20.0
_CA_LIMIT_BYTES = 8192


def join(path: Path, code: JoinCode) -> SiteHome:
    """Join in ``path``, which must not exist.

    Raises:
        ConfigError: ``site.exists``; ``join.expired``; ``join.clock``.
        TransportError: ``join.unreachable``.
        ConsentError: ``join.other_ca``: somebody else answered; ``join.refused``.
        StorageError: ``files.unwritable``.
    """
    if path.exists():
        raise ConfigError(
            f"{path} exists", remedy="Name a new folder; keys are never replaced.", code="site.exists"
        )
    if time.time() > code.expires:
        raise ConfigError(
            "the join code has expired, or this machine's clock is wrong",
            remedy="Check the clock, then ask the coordinator for a fresh code.",
            code="join.expired",
        )
    with new_folder(path) as fresh:
        _join(fresh, code)
    return SiteHome(path)


def _join(folder: Path, code: JoinCode) -> None:
    identity, tls, node = Ed25519PrivateKey.generate(), new_key(), new_key()
    card = make_card(code.site, SigningKey(identity))
    ca = _fetch_ca(code)
    request = JoinRequest(
        site=code.site,
        secret=code.secret,
        request=make_request(tls, code.site),
        node_key=_public(node),
        card=card,
    )
    reply = _ask(code, ca, request)
    load_certificate(reply.certificate)
    write(folder / IDENTITY, keyfile.seal(identity, None), mode=OWNER_ONLY)
    write(folder / CARD, card, mode=OWNER_ONLY)
    write(folder / TLS, key_pem(tls) + reply.certificate, mode=OWNER_ONLY)
    write(folder / NODE_KEY, key_pem(node), mode=OWNER_ONLY)
    write(folder / CA, ca.encode(), mode=OWNER_ONLY)
    write(folder / PATIENTS, os.urandom(SECRET_BYTES), mode=OWNER_ONLY)
    write(folder / SITE_KEY, os.urandom(SECRET_BYTES), mode=OWNER_ONLY)
    config = f'name = "{code.site}"\nhost = "{reply.host}"\nport = {reply.port}\n\n'
    config += "[policy]\n# This site's own limits; what is left out has the safe value.\n\n"
    config += '[machine]\n# device = "cuda" trains on a GPU; physical_batch bounds its memory.\n'
    write(folder / CONFIG, config.encode(), mode=OWNER_ONLY)


def _fetch_ca(code: JoinCode) -> str:
    """The CA's certificate in PEM: whoever sent it, it is the one that the code names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing secret is sent on this one
    response = _request("GET", code, CA_PATH, context, b"")
    found = response.content
    if len(found) > _CA_LIMIT_BYTES or not hmac.compare_digest(sha256(found).digest(), code.ca):
        raise ConsentError(
            "whoever answers at the coordinator's address has another CA than the join code names",
            remedy="Check the network between here and the coordinator, and the code, by phone.",
            code="join.other_ca",
        )
    return ssl.DER_cert_to_PEM_cert(found)


def _ask(code: JoinCode, ca: str, request: JoinRequest) -> JoinReply:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=ca)
    response = _request("POST", code, JOIN_PATH, context, encode(request))
    if response.status_code != httpx.codes.OK:
        raise ConsentError(
            "the coordinator refuses to let this site join",
            remedy="Ask the coordinator for a fresh code with `wardround-coordinator enrol SITE`.",
            code="join.refused",
        )
    return decode(response.content, JoinReply, limit_bytes=REPLY_LIMIT_BYTES)


def _request(method: str, code: JoinCode, path: str, context: ssl.SSLContext, body: bytes) -> httpx.Response:
    try:
        with httpx.Client(verify=context, timeout=PATIENCE_S, follow_redirects=False) as client:
            return client.request(method, f"https://{code.host}:{code.port}{path}", content=body)
    except httpx.HTTPError as error:
        if why(error) == CLOCK:
            raise ConfigError(
                "this machine's clock is behind: the coordinator's certificate is not valid yet",
                remedy="Set the clock, and keep it right with NTP; then join with the same code.",
                code="join.clock",
            ) from error
        raise TransportError(
            f"the coordinator does not answer at {code.host}:{code.port} ({type(error).__name__})",
            remedy="Ask whether its service runs, and open that address for outgoing connections.",
            code="join.unreachable",
            retryable=True,
        ) from error


def _public(key: EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
