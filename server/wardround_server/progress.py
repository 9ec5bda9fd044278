"""A study's progress as lines of text, one per round.

Privacy: names of sites, times, codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from wardround_common.state import StudyState
from wardround_server.observer import RoundRecord


class Lines:
    """An observer that writes a line when a round ends."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def exchange_began(self, record: RoundRecord, exchange: str, sites: Sequence[str]) -> None:
        """Nothing."""

    def replied(self, record: RoundRecord, exchange: str, site: str) -> None:
        """Nothing."""

    def round_ended(self, record: RoundRecord, state: StudyState) -> None:
        """Write how it ended."""
        ended = f"void ({record.void})" if record.void else f"accepted by {', '.join(record.accepted)}"
        seconds = sum(record.seconds.values())
        print(f"round {record.number} ({record.kind}): {ended}, {seconds:.1f} s", file=self._out, flush=True)
