"""How a site enrols: one code that a person carries, one request, one reply.

The coordinator issues a join code: where it is, the fingerprint of its CA, a one-time secret and when the
code expires. The site makes its keys, connects to a server whose certificate that CA signed, and sends the
secret, a request for a certificate, its node key and its identity card. Private keys never travel.

Not here: TLS and files (``wardround_client.join``, ``wardround_server.enrolment``).

Rules:

* A code is for one site and one use.
* Enrolment gives a connection. A site's word counts when the authority's roster names its key.

Privacy: names and public keys of institutions; the code is a secret until it is used.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

from msgspec import Meta, Struct

from wardround_common.canonical import decode, encode
from wardround_common.errors import ConfigError, ProtocolError
from wardround_common.plan_parts import Name

SECRET_BYTES = 16
CODE_LIMIT_BYTES = 1024
REQUEST_LIMIT_BYTES = 8192
REPLY_LIMIT_BYTES = 16384
CA_PATH, JOIN_PATH = "/v1/ca", "/v1/join"
RENEW_PATH = "/wardround/renew"
"""Of the port for rounds: a request for a certificate, DER, from the site whose certificate is shown."""
TIME_HEADER = "wardround-time"
"""Of every answer of the outer ports: seconds since 1970, there."""
_PREFIX = "wardround1-"

Host = Annotated[str, Meta(min_length=1, max_length=253, pattern=r"\A[A-Za-z0-9.:-]+\Z")]
Port = Annotated[int, Meta(ge=1, le=65535)]


class JoinCode(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person carries from the coordinator to the site."""

    site: Name
    host: Host
    port: Port
    """Of enrolment; the address for rounds is in the reply."""
    ca: Annotated[bytes, Meta(min_length=32, max_length=32)]
    """SHA-256 over the CA's certificate."""
    secret: Annotated[bytes, Meta(min_length=SECRET_BYTES, max_length=SECRET_BYTES)]
    expires: Annotated[int, Meta(ge=0)]
    """Seconds since 1970."""


class JoinRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the site sends."""

    site: Name
    secret: Annotated[bytes, Meta(min_length=SECRET_BYTES, max_length=SECRET_BYTES)]
    request: Annotated[bytes, Meta(max_length=4096)]
    """For a TLS certificate, DER."""
    node_key: Annotated[bytes, Meta(max_length=1024)]
    """Public half of the key that Flower knows the node by, as Flower writes it."""
    card: Annotated[bytes, Meta(max_length=1024)]


class JoinReply(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the coordinator answers."""

    certificate: Annotated[bytes, Meta(max_length=8192)]
    """Of the site's TLS key, PEM."""
    host: Host
    port: Port


def write_code(code: JoinCode) -> str:
    """The code as people copy it."""
    return _PREFIX + base64.urlsafe_b64encode(encode(code)).decode("ascii").rstrip("=")


def read_code(text: str) -> JoinCode:
    """The code that a person typed or pasted.

    Raises:
        ConfigError: ``join.bad_code``.
    """
    body = "".join(text.split()).removeprefix(_PREFIX)
    try:
        data = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        return decode(data, JoinCode, limit_bytes=CODE_LIMIT_BYTES)
    except (ProtocolError, binascii.Error, ValueError) as error:
        raise ConfigError(
            "this is not a complete join code",
            remedy="Copy the whole line that `wardround-coordinator enrol` printed.",
            code="join.bad_code",
        ) from error
