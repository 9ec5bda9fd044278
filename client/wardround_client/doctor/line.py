"""The line: whether the coordinator answers this site over TLS, and what time it has.

One request, of the kind that the daemon repeats all the time, without content and without the signature that
Flower wants: a coordinator that knows this certificate and this node's key asks for that signature, one that
does not know them refuses before.

Privacy: shows the site's certificate and the public half of its node key, as the daemon does.
"""

from __future__ import annotations

import base64
import email.utils
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import httpx
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from wardround_client.doctor.finding import Finding, fail, ok, warn
from wardround_client.home import SiteHome
from wardround_client.line import LineKeys
from wardround_client.trouble import CLOCK_WARNING_S, REVOKED, SAID, words
from wardround_common.enrolment import TIME_HEADER

PATH: Final = "/v1/fleet/send-node-heartbeat"
PATIENCE_S: Final = 10.0
BEHIND_FAIL_S: Final = 300.0
"""A clock that is further behind is refused, and one that is ahead by more than ``CLOCK_WARNING_S``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answer:
    status: int
    code: str
    """Why the guard refuses, as a line says it (``trouble``)."""
    clock_s: float | None
    asked_s: float
    """Between question and answer."""


def coordinator(home: SiteHome) -> Iterator[Finding]:
    """Whether it answers, knows this site, and has the same time."""
    keys = home.line
    try:
        answer = _ask(keys, proxy=home.config.proxy)
    except httpx.HTTPError as error:
        yield _unreachable(keys, error)
        yield ok("clock", "not told, the coordinator was not reached")
        return
    yield _reached(keys, answer)
    yield _clock(answer)


def _ask(keys: LineKeys, *, proxy: str) -> _Answer:
    public = keys.node_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    headers = {"content-type": "application/protobuf", "flwr-public-key": base64.b64encode(public).decode()}
    before = time.time()
    with httpx.Client(verify=keys.context(), proxy=proxy or None, timeout=PATIENCE_S) as client:
        response = client.post(f"https://{keys.address}{PATH}", content=b"", headers=headers)
    return _Answer(
        status=response.status_code,
        code=SAID.get(response.text[:60], ""),
        clock_s=_told(response.headers),
        asked_s=(before + time.time()) / 2,
    )


def _told(headers: httpx.Headers) -> float | None:
    """The coordinator's time, where it says it."""
    try:
        if TIME_HEADER in headers:
            return float(headers[TIME_HEADER])
        return email.utils.parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError):
        return None


def _reached(keys: LineKeys, answer: _Answer) -> Finding:
    where = f"{keys.address} answers over TLS"
    if answer.code == REVOKED:
        return fail("coordinator", f"{where}, and does not let this site in", remedy=words(REVOKED, 0))
    if answer.status == HTTPStatus.FORBIDDEN:
        return fail(
            "coordinator",
            f"{where}, and does not know this site's certificate or node",
            remedy="Ask the coordinator whether another folder joined under this name since; join anew.",
        )
    if answer.status == HTTPStatus.NOT_FOUND:
        return fail(
            "coordinator", f"{where}, but is no coordinator's port for rounds", remedy="Check its port."
        )
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return warn("coordinator", f"{where} with status {answer.status}", remedy="Try again in a minute.")
    return ok("coordinator", f"{where}, and knows this site")


def _unreachable(keys: LineKeys, error: httpx.HTTPError) -> Finding:
    kind = type(error).__name__
    if "CERTIFICATE" in str(error).upper():
        return fail(
            "coordinator",
            f"whoever answers at {keys.address} has no certificate of the coordinator's CA ({kind})",
            remedy="Check whether a proxy in between opens TLS: it must let this address through unopened.",
        )
    return fail(
        "coordinator",
        f"{keys.address} is not reached ({kind})",
        remedy="Open that address for outgoing connections, set HTTPS_PROXY if there is a proxy, and ask "
        "whether the coordinator's service runs.",
    )


def _clock(answer: _Answer) -> Finding:
    if answer.clock_s is None:
        return ok("clock", "not told by the coordinator")
    ahead = answer.asked_s - answer.clock_s
    said = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the coordinator's"
    remedy = "Set this machine's clock by a time server, or ask the coordinator about its own."
    if not -BEHIND_FAIL_S <= ahead <= CLOCK_WARNING_S:
        return fail("clock", said, remedy=remedy)
    return warn("clock", said, remedy=remedy) if ahead < -CLOCK_WARNING_S else ok("clock", said)
