"""What the outer ports refuse, counted and written into the coordinator's audit log.

The first refusal of a code and a site (or, where nobody knows whose it is, of a network address) is a row at
once; what follows of the same is one row a minute with the number. A flood therefore costs rows by the minute
and not by the request.

Not here: what is refused (``guard``, ``enrolment``, ``door``), the log itself (``wardround_common.audit``).

Rules:

* ``note`` never waits: a thread of this object writes.
* What waits to be written is a table of limited length. Strangers beyond it are counted together, without
  an address; a site that enrolment knows always has its own line.
* What could not be written is tried again with the next row, and is still refused.

Privacy: names and network addresses of institutions, and codes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from wardround_common.audit import AuditLog, TurnedAway, clean_address, clean_code, clean_label
from wardround_common.errors import AuditError
from wardround_common.logs import event

STRANGERS: Final = 32
"""Pairs of code and address that are counted apart."""
EVERY_S: Final = 60.0
_SECONDS: Final = 2**31 - 1


class Refused(Protocol):
    """Takes note of a refusal."""

    def __call__(self, code: str, *, site: str = "", address: str = "", seconds: int = 0) -> None:
        """Something was refused.

        Args:
            code: Why.
            site: Whose certificate was shown; empty where enrolment knows nobody.
            address: Where it came from.
            seconds: By how much the peer's clock was ahead, where that is the reason.
        """


@dataclass(slots=True)
class _Count:
    """What is not written yet about one kind of refusal, and when something was."""

    site: str
    address: str
    count: int = 0
    seconds: int = 0
    written: float | None = None


class Refusals:
    """Counts, and writes from a thread of its own.

    Args:
        log: The coordinator's audit log.
        every_s: Seconds between two rows about the same.
        now: A clock that only goes forward.
    """

    def __init__(
        self, log: AuditLog, *, every_s: float = EVERY_S, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._every_s = every_s
        self._now = now
        self._counts: dict[tuple[str, str, str], _Count] = {}
        self._strangers = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="refusals", daemon=True)
        self._thread.start()

    def note(self, code: str, *, site: str = "", address: str = "", seconds: int = 0) -> None:
        """Count a refusal (``Refused``); returns at once."""
        with self._lock:
            found = self._count(clean_code(code), clean_label(site), clean_address(address))
            found.count += 1
            found.seconds = max(-_SECONDS, min(_SECONDS, seconds))
            first = found.written is None
        if first:
            self._wake.set()

    def close(self) -> None:
        """Write what is left, and end."""
        self._ended.set()
        self._wake.set()
        self._thread.join()

    def _count(self, code: str, site: str, address: str) -> _Count:
        key = (code, site, "" if site else address)
        if key not in self._counts:
            if not site and self._strangers >= STRANGERS:
                key, address = (code, "", ""), ""
            elif not site:
                self._strangers += 1
        return self._counts.setdefault(key, _Count(site, address))

    def _run(self) -> None:
        while not self._ended.is_set():
            self._wake.wait(self._every_s / 4)
            self._wake.clear()
            self._write(everything=False)
        self._write(everything=True)

    def _write(self, *, everything: bool) -> None:
        """Write what is due, and forget what has not come again for a while."""
        at = self._now()
        with self._lock:
            due = {
                key: (one, one.count, one.seconds)
                for key, one in self._counts.items()
                if everything or one.written is None or at - one.written >= self._every_s
            }
        rows = [
            TurnedAway(code=code, site=one.site, address=one.address, count=count, seconds=seconds)
            for (code, _, _), (one, count, seconds) in due.items()
            if count
        ]
        try:
            self._log.append(*rows)
        except AuditError as error:
            event("refusals.unwritten", level=logging.ERROR, code=error.code, count=len(rows))
            return
        for row in rows:
            event(
                "port.refused",
                level=logging.WARNING,
                code=row.code,
                site=row.site,
                address=row.address,
                count=row.count,
                seconds=row.seconds,
            )
        with self._lock:
            for key, (one, count, _) in due.items():
                one.count -= count
                one.written = at
                if not count and not one.count:
                    self._forget(key)

    def _forget(self, key: tuple[str, str, str]) -> None:
        del self._counts[key]
        _, site, address = key
        if not site and address:
            self._strangers -= 1
