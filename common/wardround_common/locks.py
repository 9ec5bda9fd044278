"""One process at a time: a lock on a folder, which the system takes back when its holder dies.

Not here: threads, and databases, which lock themselves.

Privacy: one bit about this machine.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from wardround_common.errors import StorageError


@contextlib.contextmanager
def alone(folder: Path, who: str, *, code: str) -> Iterator[None]:
    """Be the one process that works in a folder.

    Args:
        folder: The folder.
        who: Who works there, for the sentence where somebody does already.
        code: Of the error.

    Raises:
        StorageError: ``code``.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StorageError(
                f"{who} of {folder} is running",
                remedy="Stop it first, or wait until it has ended.",
                code=code,
                retryable=True,
            ) from error
        yield
    finally:
        os.close(handle)


def is_held(folder: Path) -> bool:
    """Whether a process works in a folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
