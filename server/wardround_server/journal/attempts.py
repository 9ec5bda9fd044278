"""The attempts of the round that is under way: every reply taken, every exchange closed.

Rules:

* A reply is on disk before the coordinator acts on it further, an exchange's closing before the next requests
  go out: what was sent can always be computed again from what is written.
* Under ``verify = full`` a masked vector is written with its MASKED, since RESULT needs it. Otherwise one sum
  is kept, and the MASKEDs are written with it when exchange 3 closes; a coordinator that stops before that
  asks again, and sites that are still there answer with the same bytes.
* All of it is deleted when the round ends, but the last HELLO of each site.

Not here: what a reply means (``secagg``), what stays of a round (``study``).

Privacy: messages as they were signed, and masked vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wardround_common.messages import Packet
from wardround_common.secagg.ring import Ring
from wardround_server.journal import vectors
from wardround_server.journal.database import Database, from_column, to_column


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptRow:
    """An attempt at the round that is under way.

    Attributes:
        number: Counts from 1.
        round: The round's number.
        kind: The round's kind.
        roster: The roster that it was begun with, as the authority signed it.
        failed: Code of the error that ended it; None while it is under way.
        masked: Whether a site may have sent its vector before it failed, so that ABORTs must close it.
        members: Its cohort, once exchange 1 has closed.
    """

    number: int
    round: int
    kind: str
    roster: bytes
    failed: str | None
    masked: bool
    members: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """A reply that was taken: from which site, at which node, and what it said."""

    site: str
    node: int
    packet: Packet


class AttemptLog:
    """What is written about one attempt. Made by ``Journal``."""

    def __init__(self, database: Database, attempt: int) -> None:
        self._database = database
        self._attempt = attempt

    def replies(self, exchange: str) -> tuple[Recorded, ...]:
        """The replies that were taken in an exchange, in that order, with the vectors that were kept."""
        rows = self._database.rows(
            "SELECT site, node, envelope FROM reply WHERE attempt = ? AND exchange = ? ORDER BY seq",
            self._attempt,
            exchange,
        )
        kept = exchange == "envelopes"
        return tuple(
            Recorded(
                site=site,
                node=from_column(node),
                packet=Packet(envelope, self.vector(site) if kept else None),
            )
            for site, node, envelope in rows
        )

    def is_closed(self, exchange: str) -> bool:
        """Whether an exchange has ended: whoever has not answered in it has dropped out."""
        select = "SELECT 1 FROM closed WHERE attempt = ? AND exchange = ?"
        return bool(self._database.rows(select, self._attempt, exchange))

    def take(self, exchange: str, *, site: str, node: int, packet: Packet) -> None:
        """Write a reply, its array too, and the site's last HELLO where it is one."""
        with self._database.transaction(f"reply {self._attempt} {exchange} {site}") as connection:
            connection.execute(
                "INSERT INTO reply (attempt, exchange, site, node, envelope) VALUES (?, ?, ?, ?, ?)",
                (self._attempt, exchange, site, to_column(node), packet.envelope),
            )
            if packet.array is not None:
                vectors.put(connection, self._upload(site), packet.array)
            if exchange == "start":
                connection.execute(
                    "INSERT OR REPLACE INTO hello VALUES (?, ?, ?)", (site, to_column(node), packet.envelope)
                )

    def close(self, exchange: str) -> None:
        """Write that an exchange has ended."""
        with self._database.transaction(f"close {self._attempt} {exchange}") as connection:
            connection.execute("INSERT INTO closed VALUES (?, ?)", (self._attempt, exchange))

    def close_with_sum(self, uploads: Mapping[str, bytes], total: Ring) -> None:
        """Write that exchange 3 has ended, with the MASKEDs by site and the sum of their vectors."""
        with self._database.transaction(f"close {self._attempt} envelopes") as connection:
            connection.executemany(
                "INSERT INTO reply (attempt, exchange, site, node, envelope) "
                "VALUES (?, 'envelopes', ?, 0, ?)",
                [(self._attempt, site, envelope) for site, envelope in uploads.items()],
            )
            vectors.put(connection, f"attempt {self._attempt} sum", total)
            connection.execute("INSERT INTO closed VALUES (?, 'envelopes')", (self._attempt,))

    def fail(self, code: str, *, masked: bool) -> None:
        """Write that the attempt has ended without a sum, and forget its vectors.

        Args:
            code: Why.
            masked: Whether a site may have sent its vector; nobody can have opened in any case.
        """
        with self._database.transaction(f"fail {self._attempt}") as connection:
            connection.execute(
                "UPDATE attempt SET failed = ?, masked = ? WHERE number = ?", (code, masked, self._attempt)
            )
            vectors.drop(connection, f"attempt {self._attempt} ", all_below=True)

    def total(self) -> Ring | None:
        """The sum that was written when exchange 3 closed."""
        return vectors.get(self._database, f"attempt {self._attempt} sum")

    def vector(self, site: str) -> Ring | None:
        """A masked vector that was kept with its MASKED."""
        return vectors.get(self._database, self._upload(site))

    def _upload(self, site: str) -> str:
        return f"attempt {self._attempt} upload {site}"
