"""The job process: runs one study on the service's SuperLink, and writes its report.

Rules:

* What the study has reached is in its journal; a job that was stopped is started again and goes on there.
* One job per study (a lock on its folder).
* What people decide meanwhile counts before the next round (``control``).
* A roster that is taken up while the job runs is that of the next attempt.

Not here: how a study goes (``study``), the SuperLink (``service``).

Privacy: sums over cohorts, and states that follow from them.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from wardround_common.aggregate import Aggregation
from wardround_common.errors import ConfigError
from wardround_common.files import read
from wardround_common.locks import alone
from wardround_common.logs import close_log, log_to
from wardround_common.plan import StudyPlan
from wardround_common.trust import SIGNED_LIMIT_BYTES, open_plan, plan_digest
from wardround_server.app import make_server_app
from wardround_server.control import Control, halted
from wardround_server.home import CoordinatorHome
from wardround_server.journal import Journal
from wardround_server.observer import Observer
from wardround_server.outcome import StudyOutcome, remembered
from wardround_server.report import write_model_card, write_release, write_report
from wardround_server.reporting import deployment_report
from wardround_server.rosters import Rosters
from wardround_server.runtime import Runtime
from wardround_server.study import CoordinatorStudy, StudySetup

REPORT = "report"
JOURNAL = "journal.sqlite"
JOB, BUSY = "the job", "coordinator.busy"
"""Who alone writes to a study's folder, and what somebody else is told (``locks``)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobEnded:
    """How a job ended.

    Attributes:
        report: The path of the report.
        paused: Empty, or the code of what keeps the study from going on.
    """

    report: Path
    paused: str


def run_job(
    home: CoordinatorHome,
    study: str,
    observer: Observer,
    *,
    command: str,
    run: Callable[..., None] | None = None,
) -> JobEnded:
    """Run a study to its end, or until it pauses or is stopped, and report.

    Args:
        home: The coordinator's folder.
        study: A study that was opened.
        observer: Is told what happens.
        command: The command line, for the report.
        run: Runs the study's ServerApp; None: on the service of this machine.

    Raises:
        WardroundError: It is not open, paused or stopped; no roster, an expired plan, no service, a damaged
            journal.
    """
    folder = home.study(study)
    control = Control(folder)
    control.check()
    today = datetime.date.today()
    plan = open_plan(read(folder / "plan", limit_bytes=SIGNED_LIMIT_BYTES), today=today)
    rosters = Rosters(home, authority_key=lambda: bytes.fromhex(plan.authority_key))
    rosters.take()
    setup = StudySetup(plan=plan, signer=home.signer, roster=rosters.newest)
    with alone(folder, JOB, code=BUSY), opened_journal(folder, plan) as journal:
        if paused := journal.paused():
            raise halted(paused)
        handler = log_to(folder / "log.jsonl")
        audit = home.audit_log()
        try:
            running = CoordinatorStudy(setup, observer, journal=journal, audit=audit, halt=control.halt)
            runtime = Runtime(address=f"127.0.0.1:{home.config.runtime_port}", secret=home.secret)
            (run or runtime.run)(make_server_app(running.run, poll_s=0.1))
            report = _report(plan, running.outcome, folder / REPORT, command=command)
            return JobEnded(report=report, paused=running.outcome.paused)
        finally:
            audit.close()
            close_log(handler)


def report_anew(home: CoordinatorHome, study: str, *, command: str) -> Path:
    """Write the report of what a study has reached by its journal; runs nothing.

    Raises:
        ConfigError: ``study.not_begun``.
        StorageError: ``coordinator.busy``: a job runs, and will report; ``journal.*``.
    """
    folder = home.study(study)
    plan = open_plan(read(folder / "plan", limit_bytes=SIGNED_LIMIT_BYTES), today=datetime.date.min)
    if not (folder / JOURNAL).exists():
        raise ConfigError(
            "the study has not begun",
            remedy="Run it with `wardround-coordinator study run DIR STUDY`.",
            code="study.not_begun",
        )
    with alone(folder, JOB, code=BUSY), opened_journal(folder, plan) as journal:
        return _report(plan, remembered(journal, Aggregation(plan)), folder / REPORT, command=command)


@contextlib.contextmanager
def opened_journal(folder: Path, plan: StudyPlan) -> Iterator[Journal]:
    """The journal of a study that nobody else writes to (``alone``)."""
    journal = Journal(folder / JOURNAL, plan=plan_digest(plan))
    try:
        yield journal
    finally:
        journal.close()


def _report(plan: StudyPlan, outcome: StudyOutcome, folder: Path, *, command: str) -> Path:
    """The report; the model and its card only where enough sites accepted it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    report = deployment_report(plan, outcome, command=command)
    write_report(report, folder)
    if outcome.releasable:
        write_model_card(report, folder)
        write_release(plan, outcome.state.average, folder)
    return folder / "report.html"
