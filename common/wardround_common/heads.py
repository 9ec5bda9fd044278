"""The head of a chain in a file of its own, outside every backup.

A chain that was restored from a backup is a valid, shorter chain: what was written since is forgotten. This
file is not restored with it and still names the newest row, so it shows that the row is missing.

Rules:

* Written after the row is durable: a crash in between leaves an older head, which the chain still has.

Privacy: a hash that commits to random and keyed values; it tells nothing by itself.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from wardround_common.errors import StorageError
from wardround_common.files import OWNER_ONLY, sync_folder

HEAD_BYTES = 32


@dataclass(frozen=True, slots=True)
class HeadFile:
    """Where the newest head of a chain is remembered.

    Attributes:
        path: The file.
        noun: What people call the chain ("ledger").
        area: First part of its error codes.
        error: The class of its errors.
    """

    path: Path
    noun: str
    area: str
    error: type[StorageError] = StorageError

    def recall(self) -> bytes | None:
        """Return the head, or None where there is no such file.

        Raises:
            StorageError: ``<area>.head_file``: it cannot be read, or is no head.
        """
        try:
            head = bytes.fromhex(self.path.read_text(encoding="ascii"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise self._unusable(error) from error
        if len(head) != HEAD_BYTES:
            raise self._unusable(ValueError("wrong length"))
        return head

    def remember(self, head: bytes) -> None:
        """Replace the head, durably and in one piece.

        Raises:
            StorageError: ``<area>.head_file``: it cannot be written.
        """
        fresh = self.path.with_name(self.path.name + ".new")
        try:
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, OWNER_ONLY)
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(head.hex() + "\n")
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
            sync_folder(self.path.parent)
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> StorageError:
        return self.error(
            f"the {self.noun}'s head file {self.path} cannot be used: {error}",
            remedy="Check free space and permissions of its folder; never restore this file from a backup.",
            code=f"{self.area}.head_file",
        )
