"""Time, as the rounds use it: how late it is, and how to wait for sites that are not there.

Not here: the deadline of one exchange, which the transport keeps.

Rules: whoever waits waits longer each time, so that a site that is back soon is heard soon, and one that is
away all day is not asked all day.

Privacy: tells nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final, Protocol

FIRST_WAIT_S: Final = 5.0
LONGEST_WAIT_S: Final = 300.0


class Clock(Protocol):
    """A clock that never goes back."""

    def now(self) -> float:
        """Seconds since some moment."""
        ...

    def wait(self, seconds: float) -> None:
        """Return when ``seconds`` have passed."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Seconds since the machine was started."""
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)


def chances(clock: Clock, *, until: float) -> Iterator[float]:
    """Yield at once, and again after ever longer waits; end when it is ``until``.

    Yields:
        The time that is left, in seconds; the last time 0.
    """
    pause = FIRST_WAIT_S
    yield max(0.0, until - clock.now())
    while (left := until - clock.now()) > 0:
        clock.wait(min(pause, left))
        pause = min(2 * pause, LONGEST_WAIT_S)
        yield max(0.0, until - clock.now())
