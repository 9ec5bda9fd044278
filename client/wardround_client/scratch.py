"""What a site must keep while a study runs and must never put into a backup.

Per (study, round, kind): the fresh secret that all of the round's randomness comes from, and the finished
output. Per study: the state that the site accepted last, and the one that it is about to accept, each with
what the task keeps at this site beside it (a discriminator that is not shared, for one), the key that peers'
shares are sealed under, and the length of the protocol record: an older record is noticed by it. A spend
whose secret is gone is void.

Not here: what was spent (``ledger``), what was said (``secagg.record``).

Rules:

* A secret is written once and never replaced.
* An output is written once; its digest stands in the ledger.

Privacy: secrets and outputs undo the noise; this file stays at the site, readable by its owner only.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from wardround_common.errors import StorageError
from wardround_common.secagg.ring import Ring, Word, to_bytes
from wardround_common.state import StudyState

VAULT_KEY_BYTES = 32

_SCHEMA = """
CREATE TABLE IF NOT EXISTS round (
    plan BLOB NOT NULL, round INTEGER NOT NULL, kind TEXT NOT NULL,
    secret BLOB NOT NULL, output BLOB, local BLOB,
    PRIMARY KEY (plan, round, kind)
) STRICT;
CREATE TABLE IF NOT EXISTS tip (plan BLOB PRIMARY KEY, length INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS vault (plan BLOB PRIMARY KEY, key BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS state (
    plan BLOB NOT NULL, digest BLOB NOT NULL, packed BLOB NOT NULL, local BLOB NOT NULL,
    PRIMARY KEY (plan, digest)
) STRICT;
"""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Output:
    """What a round computed at this site.

    Attributes:
        words_P: What is masked, ring words.
        local_L: What the task keeps here should the round be accepted, float32.
    """

    words_P: Ring
    local_L: npt.NDArray[np.float32]


class Scratch:
    """The scratch database of a site.

    Args:
        path: The SQLite file; made if absent, with mode 0600.

    Raises:
        StorageError: It cannot be opened, read or written.
    """

    def __init__(self, path: Path) -> None:
        with _translated():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def secret(self, plan: bytes, number: int, kind: str, *, make: Callable[[], bytes]) -> bytes:
        """The 32-byte secret of a round, made by ``make`` when it is asked for the first time."""
        with _translated():
            self._db.execute(
                "INSERT OR IGNORE INTO round (plan, round, kind, secret) VALUES (?, ?, ?, ?)",
                (plan, number, kind, make()),
            )
            row = self._db.execute(
                "SELECT secret FROM round WHERE plan = ? AND round = ? AND kind = ?", (plan, number, kind)
            ).fetchone()
        return bytes(row[0])

    def tip(self, plan: bytes) -> RecordTip:
        """Where the length of a study's protocol record is remembered."""
        return RecordTip(self._db, plan)

    def vault_key(self, plan: bytes) -> bytes:
        """The 32 bytes that peers' shares of a study are sealed under, from the operating system."""
        with _translated():
            self._db.execute("INSERT OR IGNORE INTO vault VALUES (?, ?)", (plan, os.urandom(VAULT_KEY_BYTES)))
            row = self._db.execute("SELECT key FROM vault WHERE plan = ?", (plan,)).fetchone()
        return bytes(row[0])

    def keep_output(self, plan: bytes, number: int, kind: str, output: Output) -> None:
        """Store the finished output of a round; a second one is not stored."""
        local = output.local_L.astype("<f4", copy=False)
        with _translated():
            self._db.execute(
                "UPDATE round SET output = ?, local = ? "
                "WHERE plan = ? AND round = ? AND kind = ? AND output IS NULL",
                (to_bytes(output.words_P), local.tobytes(), plan, number, kind),
            )

    def output(self, plan: bytes, number: int, kind: str, *, word: Word) -> Output | None:
        """The finished output of a round, its words as a new array, or None where there is none.

        Args:
            plan: Digest of the plan.
            number: The round.
            kind: Its kind.
            word: The type of a word in rounds of that kind.
        """
        with _translated():
            row = self._db.execute(
                "SELECT output, local FROM round WHERE plan = ? AND round = ? AND kind = ?",
                (plan, number, kind),
            ).fetchone()
        if row is None or row[0] is None:
            return None
        words: Ring = np.frombuffer(row[0], dtype=word.newbyteorder("<")).astype(word)
        return Output(words_P=words, local_L=np.frombuffer(row[1], dtype="<f4"))

    def keep_state(
        self, plan: bytes, state: StudyState, *, local_L: npt.NDArray[np.float32], beside: bytes
    ) -> None:
        """Store a state, and forget all others of the study but the one with digest ``beside``.

        Args:
            plan: Digest of the plan.
            state: The state.
            local_L: What the task keeps at this site when it starts from that state.
            beside: Digest of the state that stays.
        """
        packed, local = to_bytes(state.pack()), local_L.astype("<f4").tobytes()
        with _translated():
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("DELETE FROM state WHERE plan = ? AND digest <> ?", (plan, beside))
            self._db.execute(
                "INSERT OR IGNORE INTO state VALUES (?, ?, ?, ?)", (plan, state.digest, packed, local)
            )
            self._db.execute("COMMIT")

    def state(self, plan: bytes, digest: bytes) -> npt.NDArray[np.uint32] | None:
        """The packed state with that digest, or None where it is not stored."""
        with _translated():
            row = self._db.execute(
                "SELECT packed FROM state WHERE plan = ? AND digest = ?", (plan, digest)
            ).fetchone()
        return None if row is None else np.frombuffer(row[0], dtype="<u4")

    def local(self, plan: bytes, digest: bytes) -> npt.NDArray[np.float32]:
        """What the task keeps at this site beside the state with that digest; empty where there is none."""
        with _translated():
            row = self._db.execute(
                "SELECT local FROM state WHERE plan = ? AND digest = ?", (plan, digest)
            ).fetchone()
        return np.frombuffer(b"" if row is None else row[0], dtype="<f4")


class RecordTip:
    """How long a study's protocol record is. Made by ``Scratch``."""

    def __init__(self, database: sqlite3.Connection, plan: bytes) -> None:
        self._db = database
        self._plan = plan

    def recall(self) -> int:
        """The length that was remembered last; 0 before the first."""
        with _translated():
            row = self._db.execute("SELECT length FROM tip WHERE plan = ?", (self._plan,)).fetchone()
        return 0 if row is None else int(row[0])

    def remember(self, length: int) -> None:
        """Keep a length."""
        with _translated():
            self._db.execute("INSERT OR REPLACE INTO tip VALUES (?, ?)", (self._plan, length))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StorageError(
            f"the scratch database cannot be used: {error}",
            remedy="Check free space and permissions of the site's data folder.",
            code="storage.scratch",
        ) from error
