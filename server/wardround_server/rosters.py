"""The roster in force: the newest good one in the coordinator's folder, also while programs run.

Rules:

* A roster counts if the authority signed it and it is current. One that is not, or that is older than the one
  in force, is told of and not taken up.
* The file is read again where it has changed, not by the clock.
* Where the service starts with a roster that has expired, it still says who is left out.

Not here: how it gets into the folder (``home``), what sites make of it.

Privacy: names and public keys of institutions.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wardround_common.errors import WardroundError
from wardround_common.logs import event
from wardround_common.trust import Roster, open_roster, recorded_roster
from wardround_server.guard import Enrolled
from wardround_server.home import AUTHORITY, ROSTER, CoordinatorHome

_Mark = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class Current:
    """A roster that counts.

    Attributes:
        signed: As the authority signed it.
        roster: Opened.
        authority_key: Whose signature that is.
    """

    signed: bytes
    roster: Roster
    authority_key: bytes


class Rosters:
    """Looks after the file.

    Args:
        home: The coordinator's folder.
        authority_key: Finds the key that counts.
        today: The day.
    """

    def __init__(
        self,
        home: CoordinatorHome,
        *,
        authority_key: Callable[[], bytes],
        today: Callable[[], datetime.date] = datetime.date.today,
    ) -> None:
        self._home = home
        self._authority_key = authority_key
        self._today = today
        self._current: Current | None = None
        self._seen: tuple[_Mark, _Mark] = (None, None)

    def take(self) -> Current:
        """The roster in the folder, which is in force from now on.

        Raises:
            ConfigError: ``coordinator.no_roster``.
            ProtocolError, ConsentError: It is not acceptable (``open_roster``).
        """
        self._seen = self._marks()
        self._current = self._open(self._today())
        return self._current

    def look(self) -> Current | None:
        """The roster in force, if any: the one in the folder where it is good, else the one before."""
        seen = self._marks()
        if seen != self._seen:
            self._seen = seen
            self._take_up()
        return self._current

    def newest(self) -> bytes:
        """The roster in force as the authority signed it, once one was taken (``take``)."""
        current = self.look()
        assert current is not None
        return current.signed

    def leaves_out(self, site: Enrolled) -> bool:
        """Whether there is a roster, and it does not name a site with its identity key."""
        if self._current is None:
            return False
        return all((one.name, one.key) != (site.name, site.identity) for one in self._current.roster.sites)

    def _take_up(self) -> None:
        try:
            self._current = self._open(self._day())
        except WardroundError as error:
            event("roster.refused", level=logging.WARNING, code=error.code)
            return
        roster = self._current.roster
        event("roster.taken", count=roster.version, sites=[one.name for one in roster.sites])

    def _day(self) -> datetime.date:
        """Today; where none is in force, not later than the last day of the one in the folder."""
        today = self._today()
        if self._current is not None:
            return today
        expires = recorded_roster(self._home.roster()).expires
        try:
            return min(today, datetime.date.fromisoformat(expires))
        except ValueError:  # ``open_roster`` says so
            return today

    def _open(self, today: datetime.date) -> Current:
        signed, key = self._home.roster(), self._authority_key()
        known = self._current
        newest = known.roster.version if known is not None and known.authority_key == key else 0
        return Current(signed, open_roster(signed, authority_key=key, today=today, newest=newest), key)

    def _marks(self) -> tuple[_Mark, _Mark]:
        return _mark(self._home.path / ROSTER), _mark(self._home.path / AUTHORITY)


def _mark(file: Path) -> _Mark:
    """What changes when a file is replaced."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
