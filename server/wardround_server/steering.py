"""Opening, pausing, resuming and stopping a study: marks in its folder, rows in journal and audit log.

A job may be running, in another process. It alone writes to the journal then, and writes what it finds in the
folder before its next round; where none runs, that is done here.

Rules:

* A pause and a stop are in force first, and written down then. A resumption is written down first.

Not here: the marks (``control``), whether a study can run (``opening``).

Privacy: notes are what people typed.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from wardround_common.audit import clean_note
from wardround_common.errors import ConfigError, StorageError
from wardround_common.files import read
from wardround_common.locks import alone
from wardround_common.trust import SIGNED_LIMIT_BYTES, open_plan
from wardround_server.audit import Decision, StudyAudit
from wardround_server.control import PAUSED, STOPPED, Control
from wardround_server.home import CoordinatorHome
from wardround_server.job import BUSY, JOB, opened_journal
from wardround_server.journal import Journal
from wardround_server.standing import standing


class Steering:
    """What people decide about one study.

    Args:
        home: The coordinator's folder.
        name: The study.
        today: Refuses a plan that has expired by that day; None looks at no day.
    """

    def __init__(self, home: CoordinatorHome, name: str, *, today: datetime.date | None = None) -> None:
        _ = home.config
        self._home = home
        self._folder = home.study(name)
        signed = read(self._folder / "plan", limit_bytes=SIGNED_LIMIT_BYTES)
        self.plan = open_plan(signed, today=today or datetime.date.min)
        self._control = Control(self._folder)

    def open(self) -> None:
        """Let it run.

        Raises:
            ConsentError: ``study.stopped``.
        """
        self._control.check_not_stopped()
        if self._control.opened is None:
            self._write_down("opened", "")
            self._control.open("")

    def pause(self, note: str) -> bool:
        """Let it begin no further round; whether it is paused by now: no job runs that must end first.

        Raises:
            ConfigError: ``study.done``.
            ConsentError: ``study.stopped``.
        """
        self._check_going_on()
        self._control.pause(clean_note(note))
        self._write_down("paused", note)
        with self._journal() as journal:
            if journal is not None:
                journal.pause(PAUSED)
        return journal is not None

    def stop(self, note: str) -> bool:
        """Let it never begin another round; whether it is stopped by now: no job runs that must end first.

        Raises:
            ConfigError: ``study.done``.
            ConsentError: ``study.stopped``.
        """
        self._check_going_on()
        self._control.stop(clean_note(note))
        self._write_down("stopped", note)
        with self._journal() as journal:
            if journal is not None:
                journal.pause(STOPPED)
        return journal is not None

    def resume(self, note: str) -> None:
        """End a pause, whoever began it.

        Args:
            note: Who decided so, and why; it stays in journal and audit log.

        Raises:
            ConfigError: ``study.no_note``, ``study.not_paused``.
            ConsentError: ``study.stopped``.
        """
        note = clean_note(note).strip()
        if not note:
            raise ConfigError(
                "a pause is ended with a note",
                remedy="Say with --note who decided so, and why; of a pause that the study made by itself, "
                "what was found out.",
                code="study.no_note",
            )
        self._control.check_not_stopped()
        with self._journal() as journal:
            if self._control.paused is None and (journal is None or not journal.paused()):
                raise ConfigError(
                    "the study is not paused",
                    remedy="See `wardround-coordinator study status`.",
                    code="study.not_paused",
                )
            self._write_down("resumed", note)
            if journal is not None:
                journal.resume(note)
            self._control.resume()

    def _check_going_on(self) -> None:
        self._control.check_not_stopped()
        if standing(self._folder).state == "done":
            raise ConfigError(
                "the study has ended",
                remedy="Nothing is left to do; its report is in `wardround-coordinator study status`.",
                code="study.done",
            )

    def _write_down(self, event: Decision, note: str) -> None:
        log = self._home.audit_log()
        try:
            StudyAudit(log, self.plan).decided(event, note)
        finally:
            log.close()

    @contextmanager
    def _journal(self) -> Iterator[Journal | None]:
        """The journal to write to; None while a job runs, which writes to it alone."""
        with ExitStack() as held:
            try:
                held.enter_context(alone(self._folder, JOB, code=BUSY))
            except StorageError as error:
                if error.code != "coordinator.busy":
                    raise
                yield None
            else:
                yield held.enter_context(opened_journal(self._folder, self.plan))
