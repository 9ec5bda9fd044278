"""Certificates that are renewed while everything runs: a site's over its line, and the server's own.

Rules:

* The line is the proof: who shows a certificate that counts may have another of the same name, for a key that
  signed the request. The guard has checked the certificate shown, the roster, the length and the rate.
* The old certificate counts until the new one is used (``register``).
* The server's certificate is renewed where its CA lies; connections that stand are not touched.

Not here: what is let through (``guard``).

Privacy: names and public keys of institutions.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Sequence
from http import HTTPStatus
from ssl import SSLContext

from starlette.types import Receive, Scope, Send

from wardround_common.audit import AuditLog
from wardround_common.certificates import LEAF_LIFE, is_due, load_certificate, requested_name
from wardround_common.enrolment import REQUEST_LIMIT_BYTES
from wardround_common.errors import ConsentError, WardroundError
from wardround_common.logs import event
from wardround_common.trust import COORDINATOR
from wardround_server.guard import CERTIFICATE, address_in, answer, read_body
from wardround_server.home import SERVER, CoordinatorHome
from wardround_server.refusals import Refused
from wardround_server.register import Register, certified


class Renewal:
    """Answers a site that asks for its next certificate.

    Args:
        home: The coordinator's folder.
        register: Who is enrolled.
        refused: Is told of refusals.
        life: How long a certificate is valid.
    """

    def __init__(
        self,
        home: CoordinatorHome,
        register: Register,
        *,
        refused: Refused,
        life: datetime.timedelta = LEAF_LIFE,
    ) -> None:
        self._home = home
        self._register = register
        self._refused = refused
        self._life = life

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A new certificate in PEM for the site whose certificate was shown, or the code of a refusal."""
        site = self._register.sites[scope[CERTIFICATE]]
        try:
            request = await read_body(receive, limit_bytes=REQUEST_LIMIT_BYTES)
            if requested_name(request) != site.name:
                raise _other_name()
            made = self._home.issuer.for_site(request, site.name, life=self._life)
            self._register.renewed(site, made)
        except (WardroundError, TimeoutError) as error:
            code = error.code if isinstance(error, WardroundError) else "http.slow"
            self._refused(code, site=site.name, address=address_in(scope))
            await answer(send, HTTPStatus.FORBIDDEN, code.encode())
            return
        event("renewal.site", site=site.name)
        await answer(send, HTTPStatus.OK, made)


class ServerCertificate:
    """Looks after the server's own certificate.

    Args:
        home: The coordinator's folder.
        audit: Its audit log.
        life: How long a new one is valid.
        clock: Time.
    """

    def __init__(
        self,
        home: CoordinatorHome,
        audit: AuditLog,
        *,
        life: datetime.timedelta = LEAF_LIFE,
        clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._home = home
        self._audit = audit
        self._life = life
        self._clock = clock
        self._current = home.server_certificate

    def look(self, contexts: Sequence[SSLContext]) -> None:
        """Renew the certificate where it is time, and show the new one from now on."""
        if not is_due(self._current, self._clock()):
            return
        try:
            self._renew(contexts)
        except WardroundError as error:
            event("renewal.failed", level=logging.ERROR, site=COORDINATOR, code=error.code)

    def _renew(self, contexts: Sequence[SSLContext]) -> None:
        pair = self._home.new_server_pair(life=self._life)
        fresh = load_certificate(pair)
        self._audit.append(certified(COORDINATOR, fresh))
        self._home.write_server_pair(pair)
        self._current = fresh
        for context in contexts:
            context.load_cert_chain(self._home.path / SERVER)
        event("renewal.server")


def _other_name() -> ConsentError:
    return ConsentError(
        "a certificate is renewed under the name that it has",
        remedy="Join anew where a site has another name.",
        code="renewal.other_name",
    )
