"""What the rows of a site's protocol record mean.

Not here: when they are written and what they forbid (``record``), SQL (``tables``).

Privacy: digests, names and messages that left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wardround_common.canonical import decode
from wardround_common.messages import MESSAGE_LIMIT_BYTES, Kind, RoundContext


@dataclass(frozen=True, kw_only=True, slots=True)
class AcceptedRound:
    """A round that this site accepted.

    Attributes:
        round: Its number.
        kind: Its kind.
        attempt: The attempt that led to it.
        start: Digest of the state that it started from.
        next: Digest that the site signed as its outcome.
        message: The ACCEPT envelope.
    """

    round: int
    kind: Kind
    attempt: int
    start: bytes
    next: bytes
    message: bytes

    @property
    def state(self) -> bytes:
        """Digest of the state after it: EVALUATE leaves it as it was."""
        return self.next if self.kind == "train" else self.start


@dataclass(frozen=True, kw_only=True, slots=True)
class BegunAttempt:
    """The attempt that this site began last: which, from which state, under which roster (as signed)."""

    context: RoundContext
    start: bytes
    roster: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class SentUpload:
    """What a site needs to go on after MASKED, besides the peers' shares; all of it messages.

    Attributes:
        cohort: Names of the cohort, ascending.
        t: Its threshold.
        hellos: Its HELLO envelopes, by name in ascending order.
        deals: The DEAL envelopes, likewise.
        message: This site's MASKED envelope.
    """

    cohort: tuple[str, ...]
    t: int
    hellos: tuple[bytes, ...]
    deals: tuple[bytes, ...]
    message: bytes


def sent_upload(row: dict[str, Any]) -> SentUpload:
    """The row of ``masked``."""
    cohort, t, hellos = decode(
        row["hellos"], tuple[tuple[str, ...], int, tuple[bytes, ...]], limit_bytes=MESSAGE_LIMIT_BYTES
    )
    deals = decode(row["deals"], tuple[bytes, ...], limit_bytes=MESSAGE_LIMIT_BYTES)
    return SentUpload(cohort=cohort, t=t, hellos=hellos, deals=deals, message=row["message"])


def accepted_round(row: dict[str, Any]) -> AcceptedRound:
    """The row of ``accepted``."""
    return AcceptedRound(
        **{name: row[name] for name in ("round", "kind", "attempt", "start", "next", "message")}
    )
