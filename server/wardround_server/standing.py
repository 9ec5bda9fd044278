"""How far a study is, for people: read from its folder, while a job may be running.

Privacy: names of institutions, numbers of rounds, codes, notes.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Literal

from msgspec import Struct

from wardround_common.files import read
from wardround_common.locks import is_held
from wardround_common.plan import StudyPlan
from wardround_common.trust import SIGNED_LIMIT_BYTES, open_plan, plan_digest
from wardround_server.control import Control
from wardround_server.job import JOURNAL, REPORT
from wardround_server.journal import Journal
from wardround_server.observer import RoundRecord
from wardround_server.outcome import record_of

State = Literal["new", "open", "running", "paused", "stopped", "done"]


class Standing(Struct, frozen=True, kw_only=True):
    """How far a study is."""

    study: str
    plan: str
    state: State
    why: str
    """Of a pause or a stop: when, by what, and what was said."""
    ended: int
    """Rounds that have ended, void ones too."""
    rounds: int
    """Rounds in all, the evaluation too."""
    void: int
    cohort: tuple[str, ...]
    """Of the last round."""
    away: tuple[str, ...]
    """Sites of the plan of which no answer counted in the last round."""
    accepted_by: tuple[str, ...]
    """Who accepted the last TRAIN round that is not void."""
    report: str | None

    @property
    def line(self) -> str:
        """For people, in one line."""
        why = f" ({self.why})" if self.why else ""
        return f"{self.state}{why}, {self.ended} of {self.rounds} rounds ended, {self.void} void"

    @property
    def text(self) -> str:
        """For people."""
        lines = [f"{self.study}: {self.line}", f"  plan {self.plan}"]
        if self.ended:
            lines.append(f"  last cohort: {_names(self.cohort)}; away: {_names(self.away)}")
            lines.append(f"  accepted by: {_names(self.accepted_by)}")
        if self.report:
            lines.append(f"  report: {self.report}")
        return "\n".join(lines)


def standing(folder: Path) -> Standing:
    """How far the study in a folder is.

    Raises:
        StorageError: ``journal.*``.
    """
    plan = open_plan(read(folder / "plan", limit_bytes=SIGNED_LIMIT_BYTES), today=datetime.date.min)
    records, paused = _journal(folder, plan)
    rounds = plan.rounds + (plan.evaluation is not None)
    state, why = _state(folder, paused=paused, done=len(records) == rounds)
    last = records[-1] if records else None
    cohort = () if last is None else last.cohort
    accepted = [one.accepted for one in records if one.kind == "train" and not one.void]
    report = folder / REPORT / "report.html"
    return Standing(
        study=plan.study,
        plan=plan_digest(plan).hex(),
        state=state,
        why=why,
        ended=len(records),
        rounds=rounds,
        void=sum(bool(one.void) for one in records),
        cohort=cohort,
        away=() if last is None else _away(plan, last),
        accepted_by=accepted[-1] if accepted else (),
        report=str(report) if report.is_file() else None,
    )


def _away(plan: StudyPlan, record: RoundRecord) -> tuple[str, ...]:
    heard = {*record.cohort, *(item.site for item in record.traffic)}
    return tuple(site.name for site in plan.sites if site.name not in heard)


def _journal(folder: Path, plan: StudyPlan) -> tuple[list[RoundRecord], str]:
    """The rounds, and the code of a pause."""
    if not (folder / JOURNAL).exists():
        return [], ""
    journal = Journal(folder / JOURNAL, plan=plan_digest(plan), read_only=True)
    try:
        return [record_of(row) for row in journal.rounds()], journal.paused()
    finally:
        journal.close()


def _state(folder: Path, *, paused: str, done: bool) -> tuple[State, str]:
    control = Control(folder)
    mark = control.stopped or control.paused
    why = paused if mark is None else " ".join(part for part in (f"since {mark.since}", mark.note) if part)
    if is_held(folder):
        return "running", f"ends before the next round, {why}" if mark is not None else ""
    if control.stopped is not None:
        return "stopped", why
    if done:
        return "done", ""
    if mark is not None or paused:
        return "paused", why
    return ("new" if control.opened is None else "open"), ""


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"
