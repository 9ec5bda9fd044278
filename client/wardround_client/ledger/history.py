"""What follows from the ledger's records: which studies are open, what was spent, who is charged with what.

A pure projection: records in, answers out. Reading the chain from its start gives the same history as living
through it.

Rules:

* A patient is charged with a study through the snapshots that the study was approved for.
* While a study is open its patients are charged with all that is planned; once it is closed, with the spends
  of rounds that used a snapshot they are in. What is spent is never more than what was planned.
* A patient pays for one kind of round only: training patients for "train", the others for "evaluate".

Privacy: knows snapshots, not patients.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from wardround_client.ledger.records import (
    Closed,
    Opened,
    Output,
    Record,
    Registered,
    Reservation,
    Spend,
    kind_charged,
)
from wardround_common.accounting import Event
from wardround_common.messages import Kind


@dataclass(kw_only=True, slots=True)
class Study:
    """One study's account."""

    plan_digest: bytes
    reservations: dict[bytes, Reservation] = field(default_factory=dict)
    """By snapshot; all of one plan."""
    spends: dict[tuple[int, Kind], Spend] = field(default_factory=dict)
    closed: bool = False

    @property
    def reservation(self) -> Reservation:
        """What the plan promises and costs; the same for every snapshot."""
        return next(iter(self.reservations.values()))

    @property
    def last_round(self) -> int:
        """Highest round spent, -1 before the first."""
        return max((number for number, _ in self.spends), default=-1)

    def spent(self, kind: Kind) -> list[Event]:
        """Return the events of all rounds of ``kind``."""
        return [spend.event for spend in self.spends.values() if spend.kind == kind]

    def charged(self, kind: Kind, snapshots: frozenset[bytes]) -> list[Event]:
        """Return the events for which patients pay who are in ``snapshots`` and pay for ``kind``."""
        if not self.closed:
            planned = self.reservation.planned(kind)
            return [] if planned is None or snapshots.isdisjoint(self.reservations) else [planned]
        spends = self.spends.values()
        return [spend.event for spend in spends if spend.kind == kind and spend.snapshot in snapshots]


class History:
    """All records so far, by what they are about."""

    def __init__(self) -> None:
        self.opened: Opened | None = None
        self.members: dict[bytes, Registered] = {}
        self.studies: dict[str, Study] = {}
        self.outputs: dict[int, Output] = {}

    def apply(self, record: Record) -> None:
        """Take note of the next record of the chain."""
        match record:
            case Opened():
                self.opened = record
            case Registered():
                self.members[record.snapshot] = record
            case Reservation():
                study = self.studies.setdefault(record.study, Study(plan_digest=record.plan_digest))
                study.reservations[record.snapshot] = record
            case Spend():
                self.studies[record.study].spends[record.round, record.kind] = record
            case Output():
                self.outputs[record.spend_seq] = record
            case Closed():
                self.studies[record.study].closed = True

    def charged(self, side: int, snapshots: frozenset[bytes], *, without: str = "") -> Iterator[Event]:
        """Yield every event that patients of ``side`` who are in ``snapshots`` are charged with.

        Args:
            side: 0 training, 1 validation, 2 test.
            snapshots: All snapshots that the patients are in.
            without: A study to leave out.
        """
        for name, study in self.studies.items():
            if name != without:
                yield from study.charged(kind_charged(side), snapshots)
