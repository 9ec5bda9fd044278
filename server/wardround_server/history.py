"""The accepted rounds of a study, as START tells a site about them.

A site that accepted the last round needs only its ACCEPTs. One that was away gets a chain of links, the
ACCEPTs of each round that it missed, and the state that they lead to.

A site can check an ACCEPT by the roster of the attempt alone: what sites said that are in it no more, or with
another key, is not shown.

Not here: whether a site believes it (the site's ``secagg.links``).

Privacy: signed messages and a state, which is a function of aggregates.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from wardround_common.canonical import decode
from wardround_common.errors import ProtocolError
from wardround_common.messages import MAX_LINKS, MESSAGE_LIMIT_BYTES, Accept, Envelope
from wardround_common.secagg.ring import Ring
from wardround_common.trust import Roster
from wardround_server.journal import RoundRow, corrupt

Link = tuple[bytes, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Welcome:
    """What a site's START says beyond the round.

    Attributes:
        links: ACCEPTs of each round that it missed, oldest first.
        hello: The last HELLO that it sent; empty where none is known.
        state: What the round starts from, packed; None without links.
    """

    links: tuple[Link, ...] = ()
    hello: bytes = b""
    state: Ring | None = None


class History:
    """The rounds that were accepted, in order.

    Args:
        rounds: All rounds that have ended.

    Raises:
        StorageError: ``journal.corrupt``: an ACCEPT is not one of its round.
    """

    def __init__(self, rounds: Iterable[RoundRow]) -> None:
        self._accepted: list[RoundRow] = []
        for row in rounds:
            self.add(row)

    def add(self, row: RoundRow) -> None:
        """One more round has ended."""
        if row.next is not None:
            for site, data in row.accepts.items():
                _check(data, row, site=site)
            self._accepted.append(row)

    def accepts(self, roster: Roster) -> Link:
        """The ACCEPTs of the last accepted round that count under a roster; none before the first."""
        return _counting(self._accepted[-1], roster) if self._accepted else ()

    def missed(self, site: str | None, roster: Roster) -> tuple[Link, ...]:
        """The links from the last round that a site accepted to the present.

        Args:
            site: Its name; None for all rounds.
            roster: Whose ACCEPTs count.
        """
        missed: list[Link] = []
        for row in reversed(self._accepted):
            if site is not None and site in row.accepts:
                break
            missed.append(_counting(row, roster))
        return tuple(reversed(missed[:MAX_LINKS]))


def _counting(row: RoundRow, roster: Roster) -> Link:
    """A round's ACCEPTs, without those of sites that the roster names no more or with another key."""
    keys = {member.name: member.key for member in roster.sites}
    return tuple(
        data
        for site, data in row.accepts.items()
        if site in keys and decode(data, Envelope, limit_bytes=MESSAGE_LIMIT_BYTES).is_signed_by(keys[site])
    )


def _check(data: bytes, row: RoundRow, *, site: str) -> None:
    try:
        envelope = decode(data, Envelope, limit_bytes=MESSAGE_LIMIT_BYTES)
        accept = decode(envelope.body, Accept, limit_bytes=MESSAGE_LIMIT_BYTES)
    except ProtocolError as error:
        raise corrupt(f"an ACCEPT of round {row.number} cannot be read ({error.code})") from error
    if (envelope.sender, envelope.round, accept.next) != (site, row.number, row.next):
        raise corrupt(f"an ACCEPT of round {row.number} belongs elsewhere")
