"""The kill switch: a file ``paused`` in the site's folder, which the guard looks at around every answer.

Rules:

* The file is the pause: it needs no daemon, no network and no database, and it outlasts a restart.
* A file that cannot be read pauses too, and so does an empty one that somebody put there by hand.

Not here: what is refused meanwhile (``site``), how it is written down (the audit log).

Privacy: while it lasts nothing leaves but the code ``consent.paused``.
"""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct

from wardround_common.errors import ConsentError
from wardround_common.files import OWNER_ONLY, sync_folder, unwritable, write

PAUSED = "paused"
UNKNOWN = "an unknown time"
_LIMIT_BYTES = 8192


class _Written(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    since: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Pause:
    """Whether a site is paused.

    Args:
        home: The site's folder.
    """

    home: Path

    @property
    def since(self) -> str | None:
        """The time in UTC since when it is paused; None where it is not."""
        written = self._read()
        return None if written is None else written.since

    @property
    def note(self) -> str:
        """What was said about it."""
        written = self._read()
        return "" if written is None else written.note

    def check(self) -> None:
        """Return only if the site is not paused.

        Raises:
            ConsentError: ``consent.paused``.
        """
        since = self.since
        if since is not None:
            raise ConsentError(
                f"this site is paused since {since}",
                remedy="End the pause with `wardround-site resume DIR` when the site agrees.",
                code="consent.paused",
            )

    def begin(self, note: str) -> None:
        """Pause, durably; of a pause that lasts already, time and note stay.

        Raises:
            StorageError: ``files.unwritable``: where not even an empty file could be made, it is not paused.
        """
        path = self.home / PAUSED
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY))
            sync_folder(self.home)
        except FileExistsError:
            return
        except OSError as error:
            raise unwritable(path, error) from error
        since = datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds")
        write(path, msgspec.json.encode(_Written(since=since, note=note)), mode=OWNER_ONLY)

    def end(self) -> None:
        """End the pause, durably.

        Raises:
            StorageError: ``files.unwritable``: it goes on.
        """
        path = self.home / PAUSED
        try:
            path.unlink(missing_ok=True)
            sync_folder(self.home)
        except OSError as error:
            raise unwritable(path, error) from error

    def _read(self) -> _Written | None:
        try:
            with (self.home / PAUSED).open("rb") as file:
                return msgspec.json.decode(file.read(_LIMIT_BYTES), type=_Written)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return _Written(since=UNKNOWN)
