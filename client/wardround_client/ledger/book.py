"""Chain, history and head file in step: the part of the ledger that knows no rule about privacy.

Rules:

* A page sees every row that any process has made durable before it was opened.
* What a page appends enters the history and the head file only after it is durable.

Privacy: nothing leaves here but the head.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wardround_client.ledger import members, refusals
from wardround_client.ledger.database import Tip, append, broken, read
from wardround_client.ledger.history import History
from wardround_client.ledger.records import Opened, Record, Registered
from wardround_client.ledger.schema import LEDGER
from wardround_common.durable import DurableFile
from wardround_common.heads import HeadFile


class Page:
    """One transaction: the history so far, the connection, and what is appended."""

    def __init__(self, connection: sqlite3.Connection, history: History, tip: Tip) -> None:
        self.connection = connection
        self.history = history
        self.tip = tip
        self.appended: list[Record] = []

    @property
    def next_seq(self) -> int:
        """Number of the row that is appended next."""
        return self.tip.seq + 1

    def append(self, record: Record) -> None:
        """Write ``record`` as the next row."""
        self.tip = append(self.connection, record, after=self.tip)
        self.appended.append(record)

    def knows(self, head: bytes) -> bool:
        """Whether ``head`` is the hash of a row."""
        return _knows(self.connection, head)


class Book:
    """The ledger's file, checked when it is opened.

    Args:
        path: The file; made where it does not exist.
        head_path: File for the newest head, outside every backup; None keeps none.
        simulation_id: See ``Ledger``.

    Raises:
        StorageError: ``ledger.unusable``, ``ledger.other_file``, ``ledger.broken``, ``ledger.rolled_back``,
            ``ledger.other_sort`` or ``ledger.head_file``.
    """

    def __init__(self, path: Path, *, head_path: Path | None, simulation_id: bytes | None) -> None:
        self._history = History()
        self._tip = Tip()
        self._head_file = None if head_path is None else HeadFile(head_path, LEDGER.noun, LEDGER.area)
        self._database = DurableFile(path, LEDGER)
        try:
            self._check_head()
            self._check_sort(simulation_id)
            self.verify()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @contextmanager
    def page(self) -> Iterator[Page]:
        """Open a transaction over the newest history."""
        with self._database.lock:
            with self._database.transaction() as connection:
                for tip, record in read(connection, after=self._tip):
                    self._history.apply(record)
                    self._tip = tip
                page = Page(connection, self._history, self._tip)
                yield page
            for record in page.appended:
                self._history.apply(record)
            self._tip = page.tip
            if page.appended and self._head_file is not None:
                self._head_file.remember(self._tip.hash)

    def verify(self) -> int:
        """Recompute the chain from its first row and compare every snapshot's members with it.

        Returns:
            Number of rows.

        Raises:
            StorageError: ``ledger.broken``, naming the first bad row.
        """
        tip = Tip()
        with self._database.transaction() as connection:
            for tip, record in read(connection, after=Tip()):
                if isinstance(record, Registered) and not members.match(connection, record):
                    raise broken(tip.seq)
            if self._tip.seq and not _knows(connection, self._tip.hash):
                raise broken(min(tip.seq + 1, self._tip.seq))
        return tip.seq

    def _check_head(self) -> None:
        known = None if self._head_file is None else self._head_file.recall()
        with self.page() as page:
            if known is not None and not page.knows(known):
                raise refusals.rolled_back()

    def _check_sort(self, simulation_id: bytes | None) -> None:
        """Write the first row of a new ledger; refuse a simulation's ledger at a deployed site."""
        seeded = simulation_id is not None
        with self.page() as page:
            first = page.history.opened
            if first is None:
                ledger_id = os.urandom(32) if simulation_id is None else simulation_id
                page.append(
                    Opened(
                        seq=page.next_seq,
                        ledger_id=ledger_id,
                        randomness="seeded" if seeded else "operating system",
                    )
                )
            elif (first.randomness == "seeded") != seeded:
                raise refusals.other_sort(first.randomness)


def _knows(connection: sqlite3.Connection, hash_: bytes) -> bool:
    return connection.execute("SELECT 1 FROM entry WHERE hash = ?", (hash_,)).fetchone() is not None
