"""What people decided about a study: marks in its folder, which its job reads between two rounds.

``opened``, ``paused`` and ``stopped`` are files. The command that a person types and the job are two
processes: a file that is put there in one piece is all that they need, and a job that does not run finds it
when it is started.

Rules:

* A mark that cannot be read counts as one.
* ``stopped`` is never taken away.

Not here: pauses that a study makes by itself (``journal``), who runs the job (``job``).

Privacy: times, and notes that people typed.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from wardround_common.errors import ConfigError, ConsentError
from wardround_common.files import OWNER_ONLY, read, sync_folder, unwritable, write

PAUSED: Final = "study.paused"
STOPPED: Final = "study.stopped"
NEVER_OPENED: Final = "study.not_open"
_LIMIT_BYTES: Final = 8192


class Mark(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That something was decided: when, and what was said about it."""

    since: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Control:
    """The marks of one study.

    Args:
        folder: The study's.
    """

    folder: Path

    @property
    def opened(self) -> Mark | None:
        """That the study was found fit to run."""
        return self._mark("opened")

    @property
    def paused(self) -> Mark | None:
        """That it must not begin another round for now."""
        return self._mark("paused")

    @property
    def stopped(self) -> Mark | None:
        """That it will never begin another round."""
        return self._mark("stopped")

    def halt(self) -> str:
        """The code of what keeps the study from beginning a round; empty where nothing does."""
        if self.stopped is not None:
            return STOPPED
        return "" if self.paused is None else PAUSED

    def check(self) -> None:
        """Return only if a job may run.

        Raises:
            ConfigError: ``study.not_open``.
            ConsentError: ``study.stopped``, ``study.paused``.
        """
        self.check_not_stopped()
        if self.opened is None:
            raise ConfigError(
                "the study was not opened",
                remedy="Open it with `wardround-coordinator study open DIR STUDY`: it says whether it can.",
                code=NEVER_OPENED,
            )
        if self.paused is not None:
            raise halted(PAUSED, self.paused)

    def check_not_stopped(self) -> None:
        """Return only if the study was not stopped.

        Raises:
            ConsentError: ``study.stopped``.
        """
        if self.stopped is not None:
            raise halted(STOPPED, self.stopped)

    def open(self, note: str) -> None:
        """Mark it as fit to run."""
        self._put("opened", note)

    def pause(self, note: str) -> None:
        """Keep it from beginning another round."""
        self._put("paused", note)

    def stop(self, note: str) -> None:
        """Keep it from ever beginning another round."""
        self._put("stopped", note)

    def resume(self) -> None:
        """End a pause.

        Raises:
            StorageError: ``files.unwritable``.
        """
        path = self.folder / "paused"
        try:
            path.unlink(missing_ok=True)
            sync_folder(self.folder)
        except OSError as error:
            raise unwritable(path, error) from error

    def _put(self, name: str, note: str) -> None:
        """Put a mark there; one that is there stays."""
        if self._mark(name) is None:
            since = datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds")
            data = msgspec.json.encode(Mark(since=since, note=note))
            write(self.folder / name, data, mode=OWNER_ONLY)

    def _mark(self, name: str) -> Mark | None:
        path = self.folder / name
        if not path.exists():
            return None
        try:
            return msgspec.json.decode(read(path, limit_bytes=_LIMIT_BYTES), type=Mark)
        except (ConfigError, msgspec.DecodeError, UnicodeDecodeError):
            return Mark(since="an unknown time")


def halted(code: str, mark: Mark | None = None) -> ConsentError:
    """The error of a study that must not begin another round.

    Args:
        code: ``study.paused``, ``study.stopped``, or what a study that paused itself says.
        mark: What was said about it, where somebody did.
    """
    since = "" if mark is None else f" since {mark.since}"
    note = f": {mark.note}" if mark is not None and mark.note else ""
    if code == STOPPED:
        return ConsentError(
            f"the study was stopped{since}{note}",
            remedy="A stopped study stays stopped: ask the lead for a new plan.",
            code=code,
        )
    why = f"{since}{note}" if code == PAUSED else f", by itself ({code})"
    return ConsentError(
        f"the study is paused{why}",
        remedy="End it with `wardround-coordinator study resume DIR STUDY --note TEXT`, then run it again.",
        code=code,
    )
