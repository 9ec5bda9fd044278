"""What happened in a study, for whoever watches: a screen, a log, a report.

Privacy: names of sites, sizes, times, codes, and states, which are functions of aggregates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from wardround_common.messages import Kind
from wardround_common.state import StudyState


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """Bytes between the coordinator and one site in one exchange."""

    exchange: str
    site: str
    to_site_bytes: int
    from_site_bytes: int


@dataclass(kw_only=True, slots=True)
class RoundRecord:
    """One round as the coordinator saw it.

    Attributes:
        number: Rounds count from 1, through both kinds.
        kind: ``train`` or ``evaluate``.
        attempts: Attempts begun.
        cohort: Sites of the last attempt.
        survivors: Sites whose vector is in the sum.
        accepted: Sites that accepted the result.
        void: Empty, or the code of the error that made the round void.
        seconds: Wall time per exchange, all attempts together.
        traffic: Bytes per exchange and site.
        refusals: Error code per site that did not answer or refused, by exchange.
        blamed: Error code per site that provably broke the protocol, in any attempt.
    """

    number: int
    kind: Kind
    attempts: int = 0
    cohort: tuple[str, ...] = ()
    survivors: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    void: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    traffic: list[Traffic] = field(default_factory=list)
    refusals: list[tuple[str, str, str]] = field(default_factory=list)
    blamed: dict[str, str] = field(default_factory=dict)


class Observer(Protocol):
    """Is told while a study runs."""

    def exchange_began(self, record: RoundRecord, exchange: str, sites: Sequence[str]) -> None:
        """Requests were sent to ``sites`` (empty: to every node)."""
        ...

    def replied(self, record: RoundRecord, exchange: str, site: str) -> None:
        """A site's reply was accepted."""
        ...

    def round_ended(self, record: RoundRecord, state: StudyState) -> None:
        """The round was accepted or is void; ``state`` is the state from now on."""
        ...


class Silent:
    """Watches nothing."""

    def exchange_began(self, record: RoundRecord, exchange: str, sites: Sequence[str]) -> None:
        """Nothing."""

    def replied(self, record: RoundRecord, exchange: str, site: str) -> None:
        """Nothing."""

    def round_ended(self, record: RoundRecord, state: StudyState) -> None:
        """Nothing."""
