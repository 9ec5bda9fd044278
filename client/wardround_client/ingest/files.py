"""Find the files of a folder and read one of them: the only place where ingest touches originals.

Rules:

* Files are opened for reading only, one at a time, and no byte beyond the limit is read.
* Symbolic links are never followed: one that points into the folder leads to a file that is seen anyway, one
  that points elsewhere leaves what the site agreed to. Pipes and devices are never opened.
* Everything that is seen and not hidden becomes a path to read or a row of the rejects table.

Not here: what is inside a file (``dataset``).

Privacy: paths may hold names of patients. They go into the site's own rejects table, never into a message.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from wardround_client.ingest import limits
from wardround_client.ingest.reasons import Refusal, Rejected
from wardround_common.errors import IngestError

LABELS_FILE = "labels.csv"
_INDEX_FILE = "DICOMDIR"


def check_folder(folder: Path, *, store: Path) -> None:
    """Refuse a folder that is not there, or that holds our own output.

    Raises:
        IngestError: No such folder, it may not be read, or ``store`` lies inside it.
    """
    try:
        is_folder = stat.S_ISDIR(folder.stat().st_mode)
        if is_folder:
            os.scandir(folder).close()
    except PermissionError:
        raise IngestError(
            "the data folder may not be read",
            remedy="Give the account that runs Wardround permission to read and enter the folder.",
            code="ingest.folder_unreadable",
        ) from None
    except OSError:
        is_folder = False
    if not is_folder:
        raise IngestError(
            f"expected a folder with DICOM files, found none at {folder}",
            remedy="Check the path of the data folder.",
            code="ingest.folder_missing",
        )
    if store.resolve().is_relative_to(folder.resolve()):
        raise IngestError(
            "the site's data store lies inside the folder with the originals, which must stay as it is",
            remedy="Choose a store outside the data folder.",
            code="ingest.store_inside_folder",
        )


def list_files(folder: Path) -> tuple[list[str], list[Rejected]]:
    """All files below ``folder`` that shall be read, and what was seen but cannot be.

    Hidden entries, ``DICOMDIR`` and the label table at the top are passed over.

    Returns:
        Paths relative to ``folder``, sorted, and rows of the rejects table.

    Raises:
        IngestError: More files than ``limits.MAX_FILES``, or none at all.
    """
    paths: list[str] = []
    rejects: list[Rejected] = []
    for path, code in _walk(folder):
        if code:
            rejects.append(Rejected(path=readable(path), tag="", code=code))
        else:
            paths.append(path)
        if len(paths) > limits.MAX_FILES:
            raise IngestError(
                f"the data folder has more than {limits.MAX_FILES} files",
                remedy="Split the folder and ingest the part that the study needs.",
                code="ingest.too_many_files",
            )
    if not paths and not rejects:
        raise IngestError(
            "the data folder has no file to read",
            remedy="Check the path of the data folder, and that the export has finished.",
            code="ingest.folder_empty",
        )
    return sorted(paths), rejects


def _walk(folder: Path) -> Iterator[tuple[str, str]]:
    """Relative path and reason code (empty: to be read) of every entry, folders opened one by one."""
    waiting = [""]
    while waiting:
        parent = waiting.pop()
        try:
            entries = list(os.scandir(folder / parent))
        except OSError:
            yield parent, "folder.unreadable"
            continue
        for entry in entries:
            path = f"{parent}/{entry.name}" if parent else entry.name
            if entry.name.startswith(".") or entry.name == _INDEX_FILE or path == LABELS_FILE:
                continue
            if entry.is_symlink():
                yield path, "file.symlink"
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            else:
                yield path, "" if entry.is_file(follow_symlinks=False) else "file.not_regular"


def read_bytes(path: Path, *, limit_bytes: int) -> bytes:
    """The content of a regular file.

    Raises:
        Refusal: It may not be read, is not a regular file, or is longer than ``limit_bytes``.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        with open(os.open(path, flags | getattr(os, "O_BINARY", 0)), "rb") as file:  # noqa: PTH123 - a descriptor
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise Refusal("file.not_regular")
            if status.st_size > limit_bytes:
                raise Refusal("limit.file_bytes")
            data = file.read(limit_bytes + 1)
    except OSError:
        raise Refusal("file.unreadable") from None
    if len(data) > limit_bytes:
        raise Refusal("limit.file_bytes")
    return data


def readable(path: str) -> str:
    """``path`` as text that can be written as UTF-8, whatever bytes the file system holds."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
