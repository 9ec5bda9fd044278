"""The folder of a phantom set: made, or emptied where it holds phantoms and nothing else.

A marker at the top names the hospital folders that were written there.

Privacy: no file is read but the marker.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from wardround_common.errors import ConfigError, StorageError

MARKER = ".wardround-phantoms"


def clear(out: Path, *, names: Sequence[str]) -> None:
    """Make ``out`` with one empty folder for each of ``names``, and mark it.

    Raises:
        ConfigError: ``out`` is no folder, or holds something that its marker does not name.
        StorageError: It cannot be written.
    """
    try:
        _refuse_foreign(out)
        for name in _marked(out):
            if (out / name).exists():
                shutil.rmtree(out / name)
        out.mkdir(parents=True, exist_ok=True)
        (out / MARKER).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        for name in names:
            (out / name).mkdir()
    except OSError as error:
        raise _not_writable(error) from error


def store(path: Path, data: bytes) -> None:
    """Write one file of the set.

    Raises:
        StorageError: It cannot be written.
    """
    try:
        path.write_bytes(data)
    except OSError as error:
        raise _not_writable(error) from error


def _refuse_foreign(out: Path) -> None:
    """Raise unless ``out`` is missing, empty, or holds only what its marker names."""
    if not out.exists():
        return
    if not out.is_dir():
        raise _foreign("expected a folder for the phantoms, found a file")
    foreign = {path.name for path in out.iterdir()} - {MARKER, *_marked(out)}
    if foreign:
        raise _foreign(f"expected an empty folder or phantoms, found {len(foreign)} other entries")


def _marked(out: Path) -> list[str]:
    """The hospital folders that the marker names; none without a marker."""
    marker = out / MARKER
    return marker.read_text(encoding="utf-8").split() if marker.is_file() else []


def _not_writable(error: OSError) -> StorageError:
    return StorageError(
        f"the phantom folder cannot be written: {error.strerror}",
        remedy="Choose a folder that you may write, on a disk with room.",
        code="phantoms.not_writable",
    )


def _foreign(message: str) -> ConfigError:
    return ConfigError(
        message,
        remedy="Choose a new or empty folder; nothing of yours is deleted.",
        code="phantoms.folder_not_empty",
    )
