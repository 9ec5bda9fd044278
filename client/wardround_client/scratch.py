"""What a site must keep while a study runs and must never put into a backup.

Per (study, round, kind): the fresh secret that all of the round's randomness comes from, and the finished
output. Per study: the state that the site accepted last, and the one that it is about to accept, each with
what the task keeps at this site beside it (a discriminator that is not shared, for one), the key that peers'
shares are sealed under, and the length of the protocol record: an older record is noticed by it. A spend
whose secret is gone is void.

Not here: what was spent (``ledger``), what was said (``secagg.record``), how a value is sealed (``sealing``).

Rules:

* A secret is written once and never replaced.
* An output is written once; its digest stands in the ledger.
* Every secret, output, state and key is sealed under the site key, and bound to its column and to what it is
  looked up by: one that was altered, or put in another's place, is refused. In clear are digests of plans and
  states, numbers and kinds of rounds, and lengths.

Privacy: secrets and outputs undo the noise; this file stays at the site, readable by its owner only, and of
use only with the site key.
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

from wardround_client.sealing import Place, Sealer, SiteKey
from wardround_common.errors import StorageError
from wardround_common.secagg.ring import Ring, Word, to_bytes
from wardround_common.state import StudyState
from wardround_common.streams import KEY_BYTES

_SCHEMA = """
CREATE TABLE IF NOT EXISTS round (
    plan BLOB NOT NULL, round INTEGER NOT NULL, kind TEXT NOT NULL,
    secret BLOB NOT NULL, output BLOB, local BLOB,
    PRIMARY KEY (plan, round, kind)
) STRICT;
CREATE TABLE IF NOT EXISTS lock (one INTEGER PRIMARY KEY CHECK (one = 1), sealed BLOB NOT NULL) STRICT;
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
        key: The site key.

    Raises:
        StorageError: It cannot be opened, read or written; ``storage.other_key``: it was made under another
            site key; and, from every method that reads, ``storage.altered``.
    """

    def __init__(self, path: Path, *, key: SiteKey) -> None:
        self._sealer = key.scratch()
        with _translated():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
        try:
            self._check_key()
        except StorageError:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def secret(self, plan: bytes, number: int, kind: str, *, make: Callable[[], bytes]) -> bytes:
        """The 32-byte secret of a round, made by ``make`` when it is asked for the first time."""
        with _translated():
            self._db.execute(
                "INSERT OR IGNORE INTO round (plan, round, kind, secret) VALUES (?, ?, ?, ?)",
                (plan, number, kind, self._seal(make(), "secret", plan, number, kind)),
            )
            row = self._db.execute(
                "SELECT secret FROM round WHERE plan = ? AND round = ? AND kind = ?", (plan, number, kind)
            ).fetchone()
        return self._open(row[0], "secret", plan, number, kind)

    def tip(self, plan: bytes) -> RecordTip:
        """Where the length of a study's protocol record is remembered."""
        return RecordTip(self._db, plan)

    def vault(self, plan: bytes) -> Sealer:
        """Seals peers' shares of a study, under a key from the operating system that is kept here."""
        fresh = self._seal(os.urandom(KEY_BYTES), "vault", plan)
        with _translated():
            self._db.execute("INSERT OR IGNORE INTO vault VALUES (?, ?)", (plan, fresh))
            row = self._db.execute("SELECT key FROM vault WHERE plan = ?", (plan,)).fetchone()
        return Sealer(self._open(row[0], "vault", plan), self._sealer.site)

    def keep_output(self, plan: bytes, number: int, kind: str, output: Output) -> None:
        """Store the finished output of a round; a second one is not stored."""
        words = self._seal(to_bytes(output.words_P), "output", plan, number, kind)
        local = output.local_L.astype("<f4", copy=False).tobytes()
        with _translated():
            self._db.execute(
                "UPDATE round SET output = ?, local = ? "
                "WHERE plan = ? AND round = ? AND kind = ? AND output IS NULL",
                (words, self._seal(local, "local", plan, number, kind), plan, number, kind),
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
        opened = self._open(row[0], "output", plan, number, kind)
        words: Ring = np.frombuffer(opened, dtype=word.newbyteorder("<")).astype(word)
        local = self._open(row[1], "local", plan, number, kind)
        return Output(words_P=words, local_L=np.frombuffer(local, dtype="<f4"))

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
        packed = self._seal(to_bytes(state.pack()), "state", plan, state.digest)
        local = self._seal(local_L.astype("<f4").tobytes(), "state local", plan, state.digest)
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
        if row is None:
            return None
        return np.frombuffer(self._open(row[0], "state", plan, digest), dtype="<u4")

    def local(self, plan: bytes, digest: bytes) -> npt.NDArray[np.float32]:
        """What the task keeps at this site beside the state with that digest; empty where there is none."""
        with _translated():
            row = self._db.execute(
                "SELECT local FROM state WHERE plan = ? AND digest = ?", (plan, digest)
            ).fetchone()
        local = b"" if row is None else self._open(row[0], "state local", plan, digest)
        return np.frombuffer(local, dtype="<f4")

    def _check_key(self) -> None:
        """Return only if the file was made under this site key; a new file is, from now on."""
        with _translated():
            self._db.execute("INSERT OR IGNORE INTO lock VALUES (1, ?)", (self._seal(b"", "lock"),))
            row = self._db.execute("SELECT sealed FROM lock").fetchone()
        self._open(row[0], "lock")

    def _seal(self, data: bytes | memoryview, *place: Place) -> bytes:
        return self._sealer.seal(data, *place)

    def _open(self, sealed: bytes | None, *place: Place) -> bytes:
        """What was sealed; a value that is missing beside one that is there was taken away."""
        return self._sealer.open(sealed or b"", *place)


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
