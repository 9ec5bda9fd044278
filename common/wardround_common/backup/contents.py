"""What goes into a backup: an allow-list of places in a folder.

Rules:

* A place that no part names does not go in. It is either left out on purpose, or reported, so that a file
  that came with a newer version is not forgotten in silence.
* Variable parts of a place are names or digests: none matches ``..``, an absolute path or a hidden file.
* Links are never followed.

Privacy: knows places, not what is in them.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wardround_common.errors import ConfigError, StorageError

_STANDS_FOR: Final = {"{name}": "[a-z][a-z0-9_-]{0,39}", "{digest}": "[0-9a-f]{64}"}
"""``{name}`` as plans have names of studies and sites."""
SMALL_LIMIT_BYTES: Final = 1 << 20
DATABASE_LIMIT_BYTES: Final = 1 << 38


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One place, or several of one sort.

    Attributes:
        place: Relative path, in which ``{name}`` and ``{digest}`` stand for one of their kind.
        limit_bytes: A longer file is not one of ours.
        database: Copied by SQLite, consistently, while its program may be writing.
        required: Without it the folder is not this program's.
    """

    place: str
    limit_bytes: int = SMALL_LIMIT_BYTES
    database: bool = False
    required: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """What a program's backup holds.

    Attributes:
        program: Its name.
        parts: What goes in, in the order of copying.
        left_out: Places that stay out on purpose; one that ends in ``/`` is a folder with all that is in it.
        folders: Folders that the program expects, also where they are empty.
    """

    program: str
    parts: tuple[Part, ...]
    left_out: tuple[str, ...]
    folders: tuple[str, ...] = ()

    def part_of(self, name: str) -> Part | None:
        """The part that ``name`` belongs to, or None where it must not be in a backup."""
        return next((part for part in self.parts if _matches(part.place, name)), None)

    def check_complete(self, names: set[str]) -> None:
        """Return only if all required parts are among ``names``.

        Raises:
            ConfigError: ``backup.incomplete``.
        """
        for part in self.parts:
            if part.required and part.place not in names:
                raise ConfigError(
                    f"{part.place} is missing: this is no folder, or no backup, of {self.program}",
                    remedy="Check the path, and that the program is the one that it was made with.",
                    code="backup.incomplete",
                )

    def look(self, folder: Path) -> tuple[list[str], list[str]]:
        """What is in a folder.

        Returns:
            Names that go in, in the order of copying, and names that nobody knows.

        Raises:
            ConfigError: ``backup.incomplete``.
            StorageError: ``backup.not_a_file``: something else stands where a file belongs;
                ``backup.unreadable``.
        """
        found, unknown = {}, []
        for name, path in _walk(folder, self.left_out):
            part = self.part_of(name)
            if part is None:
                unknown.append(name)
                continue
            if not stat.S_ISREG(path.lstat().st_mode):
                raise not_a_file(name)
            found[name] = self.parts.index(part)
        self.check_complete(set(found))
        return sorted(found, key=lambda name: (found[name], name)), sorted(unknown)


def not_a_file(name: str) -> StorageError:
    """A link, a pipe or a device."""
    return StorageError(
        f"{name} is not a plain file",
        remedy="Put the file itself there, not a link to it.",
        code="backup.not_a_file",
    )


def _walk(folder: Path, left_out: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    """Every file, link and other thing below a folder, but what stays out; hidden ones are in the making."""
    for root, folders, files in os.walk(folder, onerror=_refuse):
        here = Path(root)
        below = here.relative_to(folder)
        folders[:] = sorted(name for name in folders if not _stays(f"{(below / name).as_posix()}/", left_out))
        links = [name for name in folders if (here / name).is_symlink()]
        for name in sorted([*files, *links]):
            place = (below / name).as_posix()
            if not name.startswith(".") and not _stays(place, left_out):
                yield place, here / name


def unreadable(what: str, error: OSError) -> StorageError:
    """Something that a backup needs cannot be read: better none than one that lacks it."""
    return StorageError(
        f"{what} cannot be read: {error.strerror}",
        remedy="Check the path and its permissions, and act as the user whose files these are.",
        code="backup.unreadable",
    )


def _refuse(error: OSError) -> None:
    raise unreadable(str(error.filename), error) from error


def _stays(name: str, left_out: tuple[str, ...]) -> bool:
    return any(_matches(place, name) for place in left_out)


def _matches(place: str, name: str) -> bool:
    pattern = re.escape(place)
    for placeholder, stands_for in _STANDS_FOR.items():
        pattern = pattern.replace(re.escape(placeholder), stands_for)
    return re.fullmatch(pattern, name) is not None
