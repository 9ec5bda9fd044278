"""The site's certificate is renewed over the line, before it expires.

Rules:

* The key of a new certificate is made here and never travels.
* Key and certificate are one file, replaced in one piece: a site that is stopped in between has the pair
  before, which counts until the new one is used.
* What comes must be the CA's, for that key and this name.
* A renewal that fails is told of and tried again later; the line goes on.

Not here: the line (``link``), when it is opened anew.

Privacy: sends the site's name and a public key.
"""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable

import httpx
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from wardround_client.line import LineKeys
from wardround_client.trouble import why
from wardround_common.certificates import (
    RENEWED_AT,
    certified_name,
    is_due,
    key_pem,
    load_certificate,
    make_request,
    new_key,
)
from wardround_common.enrolment import RENEW_PATH, REPLY_LIMIT_BYTES
from wardround_common.errors import ConsentError, ProtocolError, WardroundError
from wardround_common.files import OWNER_ONLY, read, write
from wardround_common.logs import event

LOOK_S = 60.0
AGAIN_S = 3600.0
PATIENCE_S = 20.0


class Renewer:
    """Looks after the certificate of one site.

    Args:
        keys: Where to, and as whom.
        share: Share of its life that is left when a certificate is renewed.
        look_s: Seconds between two looks at it.
        again_s: Seconds after which a renewal that failed is tried again.
        clock: Time.
    """

    def __init__(
        self,
        keys: LineKeys,
        *,
        share: float = RENEWED_AT,
        look_s: float = LOOK_S,
        again_s: float = AGAIN_S,
        clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._keys = keys
        self._share = share
        self._look_s, self._again_s = look_s, again_s
        self._clock = clock
        self._next_look = 0.0

    def look(self) -> bool:
        """Renew the certificate where it is time; whether there is a new one, to open the line with."""
        if time.monotonic() < self._next_look:
            return False
        self._next_look = time.monotonic() + self._look_s
        try:
            before = load_certificate(read(self._keys.certificate, limit_bytes=REPLY_LIMIT_BYTES))
            if not is_due(before, self._clock(), share=self._share):
                return False
            self._renew(certified_name(before))
        except (WardroundError, httpx.HTTPError) as error:
            code = error.code if isinstance(error, WardroundError) else why(error)
            event("renewal.failed", level=logging.WARNING, code=code)
            self._next_look = time.monotonic() + self._again_s
            return False
        event("renewal.site")
        return True

    def _renew(self, name: str) -> None:
        key = new_key()
        made = self._ask(make_request(key, name))
        self._check(made, key, name)
        write(self._keys.certificate, key_pem(key) + made, mode=OWNER_ONLY)

    def _ask(self, request: bytes) -> bytes:
        with httpx.Client(verify=self._keys.context(), timeout=PATIENCE_S, follow_redirects=False) as client:
            reply = client.post(f"https://{self._keys.address}{RENEW_PATH}", content=request)
        if reply.status_code != httpx.codes.OK or len(reply.content) > REPLY_LIMIT_BYTES:
            raise ConsentError(
                f"the coordinator renews no certificate (status {reply.status_code})",
                remedy="Ask the coordinator why; its audit log says so.",
                code="renewal.refused",
            )
        return reply.content

    def _check(self, made: bytes, key: EllipticCurvePrivateKey, name: str) -> None:
        certificate = load_certificate(made)
        ca = load_certificate(read(self._keys.ca, limit_bytes=REPLY_LIMIT_BYTES))
        if (
            not _is_issued_by(certificate, ca)
            or certificate.public_key() != key.public_key()
            or certified_name(certificate) != name
        ):
            raise ProtocolError(
                "the new certificate is not the CA's, or not for this site's key and name",
                remedy="Ask the coordinator what answers there.",
                code="renewal.bad_certificate",
            )


def _is_issued_by(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
