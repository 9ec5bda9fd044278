"""The job process: runs one study on the service's SuperLink, and writes its report.

Rules:

* What the study has reached is in its journal; a job that was stopped is started again and goes on there.
* One job per study (a lock on its folder).

Not here: how a study goes (``study``), the SuperLink (``service``).

Privacy: sums over cohorts, and states that follow from them.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from wardround_common.audit import AuditLog
from wardround_common.errors import StorageError
from wardround_common.files import read
from wardround_common.logs import close_log, log_to
from wardround_common.plan import StudyPlan
from wardround_common.trust import SIGNED_LIMIT_BYTES, open_plan, open_roster, plan_digest
from wardround_server.app import make_server_app
from wardround_server.home import CoordinatorHome
from wardround_server.journal import Journal
from wardround_server.observer import Observer
from wardround_server.outcome import StudyOutcome
from wardround_server.report import write_model_card, write_release, write_report
from wardround_server.reporting import deployment_report
from wardround_server.runtime import Runtime
from wardround_server.study import CoordinatorStudy, StudySetup

REPORT = "report"
JOURNAL = "journal.sqlite"
AUDIT = "audit.sqlite"
AUDIT_HEAD = "audit.head"


def run_job(home: CoordinatorHome, study: str, observer: Observer, *, command: str) -> Path:
    """Run a study to its end, or until it pauses, and report.

    Args:
        home: The coordinator's folder.
        study: A study that was added.
        observer: Is told what happens.
        command: The command line, for the report.

    Returns:
        The path of the report.

    Raises:
        WardroundError: No roster, an expired plan, no service, a damaged journal.
    """
    folder = home.study(study)
    today = datetime.date.today()
    plan = open_plan(read(folder / "plan", limit_bytes=SIGNED_LIMIT_BYTES), today=today)
    signed = home.roster()
    roster = open_roster(signed, authority_key=bytes.fromhex(plan.authority_key), today=today)
    setup = StudySetup(plan=plan, signer=home.signer, roster=roster, signed_roster=signed)
    with _alone(folder):
        handler = log_to(folder / "log.jsonl")
        audit = AuditLog(home.path / AUDIT, signer=home.signer, head_path=home.path / AUDIT_HEAD)
        journal = Journal(folder / JOURNAL, plan=plan_digest(plan))
        try:
            running = CoordinatorStudy(setup, observer, journal=journal, audit=audit)
            runtime = Runtime(address=f"127.0.0.1:{home.config.runtime_port}", secret=home.secret)
            runtime.run(make_server_app(running.run, poll_s=0.1))
            return _report(plan, running.outcome, folder / REPORT, command=command)
        finally:
            journal.close()
            audit.close()
            close_log(handler)


def _report(plan: StudyPlan, outcome: StudyOutcome, folder: Path, *, command: str) -> Path:
    """The report; the model and its card only where enough sites accepted it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    report = deployment_report(plan, outcome, command=command)
    write_report(report, folder)
    if outcome.releasable:
        write_model_card(report, folder)
        write_release(plan, outcome.state.average, folder)
    return folder / "report.html"


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StorageError(
                f"a job runs in {folder}",
                remedy="Wait for it, or stop it first.",
                code="coordinator.busy",
                retryable=True,
            ) from error
        yield
    finally:
        os.close(handle)
