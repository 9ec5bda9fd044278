"""What is wrong with the line: a code for the log, a sentence for a person.

Not here: the line (``link``).

Privacy: codes and seconds.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Final

import httpx

CLOCK: Final = "link.clock"
CERTIFICATE: Final = "link.certificate"
REVOKED: Final = "link.revoked"
CLOCK_WARNING_S: Final = 5
"""The coordinator refuses a clock that is more ahead, and one that is five minutes behind."""
SAID: Final = {
    "guard.clock": CLOCK,
    "guard.revoked": REVOKED,
    "guard.stranger": "link.stranger",
    "guard.flood": "link.flood",
}
"""What the coordinator's port says."""
_NOT_YET_VALID, _EXPIRED = 9, 10
_REMEDIES: Final = {
    CLOCK: "Set this machine's clock, and keep it right with NTP; the line comes back by itself.",
    CERTIFICATE: "A certificate of the line has expired, or this machine's clock is wrong: check the clock "
    "first, then ask the coordinator.",
    REVOKED: "The roster in force does not name this site with its key: ask the authority.",
    "link.stranger": "The coordinator does not know this site's certificate any more: ask it whether the "
    "site was joined again elsewhere, or put back from an older backup.",
    "link.proxyerror": "The hospital's proxy refuses the tunnel: ask for the coordinator's address and port "
    "to be opened there.",
    "link.other_server": "Whoever answers at the coordinator's address has a certificate of somebody else: "
    "look for a proxy that opens TLS between here and there.",
}


def why(error: Exception) -> str:
    """The code of what broke a line."""
    if isinstance(error, httpx.HTTPStatusError):
        said = error.response.text[:60]
        return SAID.get(said, f"link.http_{error.response.status_code}")
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            verdicts = {_NOT_YET_VALID: CLOCK, _EXPIRED: CERTIFICATE}
            return verdicts.get(cause.verify_code, "link.other_server")
    return f"link.{type(error).__name__.lower()}"


def words(code: str, seconds: int) -> str:
    """What a person should know and do, or nothing.

    Args:
        code: What the line said last.
        seconds: By how much this machine's clock is ahead of the coordinator's.
    """
    remedy = _REMEDIES.get(code, "")
    if not seconds:
        return remedy
    return f"This machine's clock is {abs(seconds)} s {'ahead' if seconds > 0 else 'behind'}. {remedy}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__
