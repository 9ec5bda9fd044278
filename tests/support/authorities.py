"""A consortium's members, and a child process that is killed at a chosen moment."""

import datetime
import os
import signal
from collections.abc import Callable

TODAY = datetime.date(2026, 5, 10)
MEMBERS = ("coordinator", "lead", "alder", "birch", "cedar")


def killed_at(point: int, action: Callable[[], object]) -> bool:
    """Run ``action`` in a child that dies, as by kill -9, before its ``point``-th sync or rename.

    Returns whether it died; False: it came to its end before that.
    """
    child = os.fork()
    if not child:
        seen = 0

        def die_before(call):
            def called(*arguments, **named):
                nonlocal seen
                seen += 1
                if seen == point:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*arguments, **named)

            return called

        os.fsync, os.replace, os.rename = map(die_before, (os.fsync, os.replace, os.rename))
        try:
            action()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
