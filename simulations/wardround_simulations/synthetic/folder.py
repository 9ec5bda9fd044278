"""The folder of a set of samples: all of it or nothing, and never over something else.

A marker says that this command wrote the folder. A new set is written in a hidden folder inside it and then
put in the place of the old one, so that an error leaves what was there before.

Privacy: no file is read but the marker.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable
from pathlib import Path

from wardround_common.errors import ConfigError, StorageError
from wardround_simulations.folders import MARKER

CONTENTS = ("README.txt", "dicom", "grid.png", "png", "samples.npz")
"""What a set of samples consists of."""

_WHAT = "samples\n"
_PARTIAL = ".partial"


def write_folder(out: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write a set of samples.

    Args:
        out: New or empty, or a folder of samples, which are then replaced.
        files: Paths below ``out``, under the names in ``CONTENTS``, and what to write there.

    Raises:
        ConfigError: ``out`` is no folder, or holds something that this function did not write.
        StorageError: It cannot be written.
    """
    try:
        _refuse_foreign(out)
        ours = (out / MARKER).exists()
        new = not out.exists()
        done = False
        try:
            out.mkdir(parents=True, exist_ok=True)
            (out / MARKER).write_text(_WHAT, encoding="ascii")
            _remove(out / _PARTIAL)
            _write(out / _PARTIAL, files)
            _exchange(out)
            done = True
        finally:
            if not done:
                _undo(out, ours=ours, new=new)
    except OSError as error:
        raise StorageError(
            f"cannot write {out}: {error.strerror}",
            remedy="Choose another folder with --out, or check its permissions and the room on its disk.",
            code="storage.out",
        ) from error


def _write(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    for name, data in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _exchange(out: Path) -> None:
    """Remove the old set, put the new one in its place."""
    for name in CONTENTS:
        _remove(out / name)
    for path in sorted((out / _PARTIAL).iterdir()):
        path.rename(out / path.name)
    (out / _PARTIAL).rmdir()


def _undo(out: Path, *, ours: bool, new: bool) -> None:
    """Leave what was there before; errors here would hide the one that led here."""
    shutil.rmtree(out / _PARTIAL, ignore_errors=True)
    if not ours:  # there was nothing
        for name in (MARKER, *CONTENTS):
            with contextlib.suppress(OSError):
                _remove(out / name)
    if new:
        with contextlib.suppress(OSError):
            out.rmdir()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _refuse_foreign(out: Path) -> None:
    """Raise unless ``out`` is missing, empty, or a folder of samples and of nothing else."""
    if not out.exists():
        return
    if out.is_dir():
        found = {path.name for path in out.iterdir()}
        if not found or (_is_ours(out) and found <= {MARKER, _PARTIAL, *CONTENTS}):
            return
    raise ConfigError(
        f"{out} is not empty and was not written by this command",
        remedy="Choose another folder with --out; nothing of yours is deleted.",
        code="config.out_exists",
    )


def _is_ours(out: Path) -> bool:
    marker = out / MARKER
    return marker.is_file() and marker.read_bytes() == _WHAT.encode()
