"""Time in a simulation: nobody waits for a site that is not there.

Privacy: tells nothing.
"""

from __future__ import annotations


class VirtualClock:
    """A clock on which only waiting takes time, and that takes none."""

    def __init__(self) -> None:
        self._now = 0.0

    def now(self) -> float:
        """Seconds waited."""
        return self._now

    def wait(self, seconds: float) -> None:
        """Let the time pass."""
        self._now += seconds
