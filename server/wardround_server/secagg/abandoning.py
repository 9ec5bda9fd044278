"""Closing an attempt that failed: ABANDON out, ABORTs in.

After a failure behind ENVELOPES a site may have sent its masked vector, and will not send its update again in
this round before it has seen that enough members of the failed attempt's cohort have sworn never to open it.

Not here: why so many are enough (``wardround_common.secagg.retry``), when to ask again (``rounds``).

Rules:

* Only an attempt whose CONFIRMS have not been handed out can be abandoned: nobody can have opened it.
* An ABORT covers no transcript: it holds whatever view of the attempt its sender had.

Privacy: names and signatures.

References: ARCHITECTURE.md, "A round, message by message".
"""

from __future__ import annotations

from wardround_common.messages import NO_TRANSCRIPT, Abandon, Abort, Opened, Packet, Signer
from wardround_common.secagg.terms import RoundTerms
from wardround_common.secagg.thresholds import threshold
from wardround_server.secagg.checks import check_sender

LEAST_COLLUDERS = 1
"""``max_colluders`` of the most trusting site; a site that wants more ABORTs says so (``more``)."""


class FailedAttempt:
    """An attempt that can neither finish nor be opened, and who has sworn so.

    Args:
        terms: Of the failed attempt.
        members: Its cohort, in ascending order.
        signer: The coordinator's name and identity key.
    """

    def __init__(self, terms: RoundTerms, *, members: tuple[str, ...], signer: Signer) -> None:
        self._terms = terms
        self._members = members
        self._signer = signer
        self._aborts: dict[str, Opened[Abort]] = {}
        self._needed = len(members) - threshold(len(members)) + 1 + LEAST_COLLUDERS

    @property
    def attempt(self) -> int:
        """Its number."""
        return self._terms.context.attempt

    @property
    def closed(self) -> bool:
        """Whether enough members have sent ABORT."""
        return len(self._aborts) >= min(self._needed, len(self._members))

    @property
    def aborts(self) -> tuple[bytes, ...]:
        """The ABORT envelopes, by name in ascending order."""
        return tuple(self._aborts[name].data for name in sorted(self._aborts))

    def requests(self) -> dict[str, Packet]:
        """ABANDON, to every member that has not sent ABORT yet."""
        packet = Packet(self._terms.wire.seal(Abandon(), transcript=NO_TRANSCRIPT, signer=self._signer))
        return {name: packet for name in self._members if name not in self._aborts}

    def take_abort(self, reply: Packet, *, site: str) -> str:
        """An ABORT.

        Raises:
            ProtocolError: The message itself, or ``secagg.not_asked``, ``secagg.answered_twice``.
        """
        abort = self._terms.wire.open(reply.envelope, Abort, transcript=NO_TRANSCRIPT, sender=site)
        check_sender(site, self._members, self._aborts)
        self._aborts[site] = abort
        return site

    def more(self) -> None:
        """Ask for one ABORT more than there is: a site did not find them enough."""
        self._needed = max(self._needed, len(self._aborts) + 1)
