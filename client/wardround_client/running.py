"""Whether the daemon of a folder runs: it holds a lock on it.

Not here: the lock itself (``daemon``).

Privacy: one bit about this machine.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def is_running(folder: Path) -> bool:
    """Whether a daemon holds the folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
