"""Pools of spawned processes that a person can interrupt.

Ctrl-C reaches every process of a terminal. A worker of such a pool ends at once and without a word; the
process that owns the pool says what was stopped.

Privacy: no data of its own.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor


def process_pool(processes: int, *, start: Callable[[], object] | None = None) -> ProcessPoolExecutor:
    """A pool of at most ``processes`` spawned processes.

    Args:
        processes: How many at most.
        start: Called in each process first; must be importable there.
    """
    return ProcessPoolExecutor(
        processes, mp_context=multiprocessing.get_context("spawn"), initializer=_begin, initargs=(start,)
    )


def _begin(start: Callable[[], object] | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if start is not None:
        start()
