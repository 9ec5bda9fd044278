"""The ledger's head in a file of its own, outside every backup.

A ledger that was restored from a backup is a valid, shorter chain: what was spent since is forgotten. This
file is not restored with it and still names the newest row, so the ledger finds that the row is missing.

Rules:

* Written after the row is durable: a crash in between leaves an older head, which the chain still has.

Privacy: a hash that commits to random and keyed values; it tells nothing by itself.
"""

from __future__ import annotations

import os
from pathlib import Path

from wardround_common.errors import StorageError

HEAD_BYTES = 32


def recall(path: Path) -> bytes | None:
    """Return the head in ``path``, or None where there is no such file.

    Raises:
        StorageError: It cannot be read, or is no head.
    """
    try:
        head = bytes.fromhex(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _unusable(path, error) from error
    if len(head) != HEAD_BYTES:
        raise _unusable(path, ValueError("wrong length"))
    return head


def remember(path: Path, head: bytes) -> None:
    """Replace the head in ``path``, durably and in one piece.

    Raises:
        StorageError: It cannot be written.
    """
    fresh = path.with_name(path.name + ".new")
    try:
        with fresh.open("w", encoding="ascii") as file:
            file.write(head.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _unusable(path, error) from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unusable(path: Path, error: Exception) -> StorageError:
    return StorageError(
        f"the ledger's head file {path} cannot be used: {error}",
        remedy="Check free space and permissions of its folder; never restore this file from a backup.",
        code="ledger.head_file",
    )
