"""Vectors in the journal's file, in pieces: SQLite holds no blob above one gigabyte.

Rules: a vector is read back whole and with the digest that it was written with, or not at all.

Privacy: masked vectors, sums and states; see ``study``.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from wardround_common.secagg.ring import Ring, from_bytes, to_bytes, vector_digest
from wardround_server.journal.database import Database, corrupt

_PIECE_BYTES: Final = 1 << 24


def put(connection: sqlite3.Connection, name: str, words: Ring) -> None:
    """Write a vector in place of the one of that name, inside the caller's transaction."""
    drop(connection, name)
    connection.execute(
        "INSERT INTO vector VALUES (?, ?, ?, ?)", (name, words.dtype.name, words.size, vector_digest(words))
    )
    data = to_bytes(words)
    for number, start in enumerate(range(0, len(data), _PIECE_BYTES)):
        piece = data[start : start + _PIECE_BYTES]
        connection.execute("INSERT INTO piece VALUES (?, ?, ?)", (name, number, piece))


def get(database: Database, name: str) -> Ring | None:
    """The vector of that name, read-only, or None where there is none.

    Raises:
        StorageError: ``journal.corrupt``.
    """
    found = database.rows("SELECT type, size, digest FROM vector WHERE name = ?", name)
    if not found:
        return None
    type_name, size, digest = found[0]
    pieces = database.rows("SELECT data FROM piece WHERE name = ? ORDER BY number", name)
    words = from_bytes(b"".join(piece for (piece,) in pieces), type_name=type_name)
    if words is None or words.size != size or vector_digest(words) != digest:
        raise corrupt(f"the vector {name!r} is not the one that was written")
    return words


def drop(connection: sqlite3.Connection, name: str, *, all_below: bool = False) -> None:
    """Forget a vector, or all whose names begin with ``name``."""
    for (found,) in connection.execute("SELECT name FROM vector").fetchall():
        if found == name or (all_below and found.startswith(name)):
            connection.execute("DELETE FROM piece WHERE name = ?", (found,))
            connection.execute("DELETE FROM vector WHERE name = ?", (found,))
