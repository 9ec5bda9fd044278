"""How far a study has come: what a coordinator holds in memory, and reads back from its journal.

Not here: how it goes on (``study``), the file (``journal``).

Rules: what does not fit together in the journal is refused: a state or a sum that is not the one that sites
accepted, a record of another round.

Privacy: states and sums of counts, which are functions of aggregates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from wardround_common.aggregate import Aggregation
from wardround_common.canonical import decode
from wardround_common.errors import ProtocolError
from wardround_common.plan import StudyPlan
from wardround_common.secagg.ring import decode_counts
from wardround_common.secagg.thresholds import threshold
from wardround_common.state import StudyState, initial_state, unpack
from wardround_server.journal import Journal, RoundRow, corrupt
from wardround_server.observer import RoundRecord

_RECORD_LIMIT_BYTES: Final = 1 << 28


@dataclass(kw_only=True, slots=True)
class StudyOutcome:
    """How a study ended.

    Attributes:
        state: The last accepted state.
        records: All rounds.
        counts: The sum of the noised counts in ring levels, int64 [cells]; None without an evaluation.
        counted_sites: Sites whose counts are in the sum.
        paused: Empty, or the code of the error that paused the study.
    """

    state: StudyState
    records: list[RoundRecord] = field(default_factory=list)
    counts: npt.NDArray[np.int64] | None = None
    counted_sites: tuple[str, ...] = ()
    paused: str = ""

    @property
    def accepted_by(self) -> tuple[str, ...]:
        """The sites that accepted the last accepted TRAIN round, and so the state."""
        last = self._last_accepted
        return () if last is None else last.accepted

    @property
    def releasable(self) -> bool:
        """Whether at least t sites of the last accepted TRAIN round's cohort accepted the state."""
        last = self._last_accepted
        return last is not None and len(last.accepted) >= threshold(len(last.cohort))

    @property
    def _last_accepted(self) -> RoundRecord | None:
        accepted = [record for record in self.records if record.kind == "train" and not record.void]
        return accepted[-1] if accepted else None


def remembered(journal: Journal, sums: Aggregation) -> StudyOutcome:
    """How far a study has come, from its journal.

    Raises:
        StorageError: ``journal.*``: what the journal says does not fit together.
    """
    rows = journal.rounds()
    records = [record_of(row) for row in rows]
    state = _state(journal, sums.plan)
    trained = [row.next for row, record in zip(rows, records, strict=True) if _led_on(row, record)]
    if state.digest != (trained[-1] if trained else initial_state(sums.plan).digest):
        raise corrupt("the state is not the one that was accepted last")
    outcome = StudyOutcome(state=state, records=records, paused=journal.paused())
    if (total := journal.counts()) is not None:
        counted = sums.counted(state, total)
        survivors = [r.survivors for row, r in zip(rows, records, strict=True) if row.next == counted]
        if not survivors:
            raise corrupt("the counts are not those that were accepted")
        outcome.counts, outcome.counted_sites = decode_counts(total), survivors[0]
    return outcome


def _state(journal: Journal, plan: StudyPlan) -> StudyState:
    words = journal.state()
    if words is None:
        return initial_state(plan)
    try:
        return unpack(plan, words)
    except ProtocolError as error:
        raise corrupt(f"the state cannot be read ({error.code})") from error


def record_of(row: RoundRow) -> RoundRecord:
    """What happened in a round, as the journal has it.

    Raises:
        StorageError: ``journal.corrupt``.
    """
    try:
        record = decode(row.record, RoundRecord, limit_bytes=_RECORD_LIMIT_BYTES)
    except ProtocolError as error:
        raise corrupt(f"the record of round {row.number} cannot be read ({error.code})") from error
    if record.number != row.number or bool(record.void) != (row.next is None):
        raise corrupt(f"the record of round {row.number} belongs elsewhere")
    return record


def _led_on(row: RoundRow, record: RoundRecord) -> bool:
    return row.next is not None and record.kind == "train"
