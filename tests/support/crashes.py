"""Every durable write of this process, numbered, and a power cut at any of them.

All databases of the package are opened by ``sqlite3.connect``; inside ``watched`` their connections tell of
every commit, once before and once after it, and so does ``os.replace``, which is how files are exchanged.
What is told of a write may raise ``PowerCut``: nothing catches it but ``except BaseException``, which rolls
back, as the next start of SQLite would.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

Tell = Callable[[str], None]

_WRITES = ("INSERT", "UPDATE", "DELETE", "CREATE")


class PowerCut(BaseException):
    """The process ends here."""


@contextmanager
def watched(tell: Tell) -> Iterator[None]:
    """Call ``tell("before FILE")`` and ``tell("after FILE")`` around every durable write inside."""

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *parameters):
            statement = sql.lstrip().upper()
            alone = not self.in_transaction and statement.startswith(_WRITES)
            if not alone and statement != "COMMIT":
                return super().execute(sql, *parameters)
            name = self.name
            tell(f"before {name}")
            result = super().execute(sql, *parameters)
            tell(f"after {name}")
            return result

    def connect(path, **options):
        connection = sqlite3_connect(path, factory=Connection, **options)
        connection.name = Path(str(path)).name
        return connection

    def replace(old, new):
        tell(f"before {Path(new).name}")
        os_replace(old, new)
        tell(f"after {Path(new).name}")

    sqlite3_connect, os_replace = sqlite3.connect, os.replace
    with mock.patch("sqlite3.connect", connect), mock.patch("os.replace", replace):
        yield


class Countdown:
    """Counts what it is told while ``on``, and cuts the power at the ``fatal``-th, once; 0: never."""

    def __init__(self, fatal: int = 0) -> None:
        self.fatal = fatal
        self.told: list[str] = []
        self.on = False

    def __call__(self, name: str) -> None:
        if not self.on:
            return
        self.told.append(name)
        if len(self.told) == self.fatal:
            raise PowerCut(name)
