"""6: who accepted a round, and whether anybody accepted another.

Every ACCEPT is a signature that a round leads to one digest. The coordinator computed that digest too; a site
that signed another one has either made a mistake, or shows that somebody did.

Not here: what follows from evidence (``study``).

Privacy: signatures and digests.

References: ARCHITECTURE.md, "A round, message by message".
"""

from __future__ import annotations

from wardround_common.errors import SecAggError
from wardround_common.messages import Accept, Opened, Packet
from wardround_common.secagg.terms import RoundTerms
from wardround_server.secagg import checks


class Acceptance:
    """The ACCEPTs of an attempt.

    Args:
        terms: Of the attempt.
        t3: The transcript that ACCEPTs cover.
        survivors: The sites in the sum, in ascending order.
        asked: The sites that RESULT goes to.
        blamed: Gets the name of each site whose ACCEPT contradicts its own transcript.
    """

    def __init__(
        self,
        terms: RoundTerms,
        *,
        t3: bytes,
        survivors: tuple[str, ...],
        asked: tuple[str, ...],
        blamed: dict[str, str],
    ) -> None:
        self._terms = terms
        self._t3 = t3
        self._survivors = survivors
        self._asked = asked
        self._blamed = blamed
        self._accepted: dict[str, Opened[Accept]] = {}
        self._contradicting: dict[str, Opened[Accept]] = {}

    def take(self, reply: Packet, *, site: str, next_digest: bytes) -> str:
        """An ACCEPT of the round as the coordinator computed it (``CoordinatorSession.take_accept``)."""
        accept = self._terms.wire.open(reply.envelope, Accept, transcript=self._t3, sender=site)
        checks.check_sender(site, self._asked, self._accepted)
        try:
            checks.check_accept(accept, Accept(self._survivors, self._terms.state, next_digest))
        except SecAggError as error:
            if accept.body.next != next_digest:
                self._contradicting[site] = accept
            else:
                self._blamed[site] = error.code
            raise
        self._accepted[site] = accept
        return site

    @property
    def accepted(self) -> dict[str, bytes]:
        """The ACCEPT envelopes taken, by site in ascending order."""
        return {site: self._accepted[site].data for site in sorted(self._accepted)}

    @property
    def evidence(self) -> dict[str, bytes]:
        """ACCEPTs of another outcome than the coordinator's, by site, where ACCEPTs contradict each other."""
        found = {**self._accepted, **self._contradicting}
        if len({accept.body.next for accept in found.values()}) < 2:
            return {}
        return {site: self._contradicting[site].data for site in sorted(self._contradicting)}
