"""Making a backup, while the program may be running.

Rules:

* A database is copied by SQLite's own backup, which waits for a transaction and sees all of it or nothing;
  the copy is checked before it goes in. Between two databases the program may go on: the order of the parts
  says which of them may be the newer one.
* Other files are written in one piece by their program; one that changes while it is read is an error.
* The file appears whole, for its owner only, under a name that was free.

Not here: what goes in (``contents``).

Privacy: as ``wardround_common.backup``. Copies of databases lie beside the file, for its owner only, until it
is complete.
"""

from __future__ import annotations

import datetime
import os
import sqlite3
import stat
import tempfile
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final

from wardround_common import __version__
from wardround_common.backup.archive import END, MANIFEST, Manifest, Member, header, padding
from wardround_common.backup.contents import Contents, not_a_file, unreadable
from wardround_common.errors import ConfigError, StorageError
from wardround_common.files import OWNER_ONLY, sync_folder, unwritable

CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """A backup that was made.

    Attributes:
        manifest: What is in it.
        unknown: Names in the folder that are neither in it nor left out on purpose.
    """

    manifest: Manifest
    unknown: tuple[str, ...]


def write_backup(folder: Path, file: Path, contents: Contents) -> Written:
    """Write a backup of ``folder`` to ``file``, which must not exist.

    Raises:
        ConfigError: ``backup.exists``, ``backup.inside``, ``backup.incomplete``.
        StorageError: ``backup.not_a_file``, ``backup.unreadable``, ``backup.damaged``, ``backup.changed``,
            ``files.unwritable``.
    """
    folder, file = folder.resolve(), file.absolute()
    _check_place(folder, file)
    names, unknown = contents.look(folder)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{file.name}.", dir=file.parent) as private:
            sources = _sources(folder, names, contents, copies=Path(private))
            manifest = Manifest(
                program=contents.program,
                version=__version__,
                made=datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds"),
                members=tuple(_member(name, source) for name, source in sources.items()),
            )
            fresh = Path(private) / "backup"
            _write(fresh, manifest, sources)
            fresh.rename(file)
        sync_folder(file.parent)
    except OSError as error:
        raise unwritable(file, error) from error
    return Written(manifest=manifest, unknown=tuple(unknown))


def _check_place(folder: Path, file: Path) -> None:
    if file.exists() or file.is_symlink():
        raise ConfigError(
            f"{file} exists",
            remedy="Name a new file; a backup is never overwritten.",
            code="backup.exists",
        )
    if file.parent.resolve().is_relative_to(folder):
        raise ConfigError(
            f"{file} would lie in the folder that it is a backup of",
            remedy="Name a file elsewhere, at best on another disk.",
            code="backup.inside",
        )


def _sources(folder: Path, names: list[str], contents: Contents, *, copies: Path) -> dict[str, Path]:
    """Where to read each member from; databases are copied in this order."""
    sources = {}
    for number, name in enumerate(names):
        part = contents.part_of(name)
        sources[name] = folder / name
        if part is not None and part.database:
            sources[name] = copies / str(number)
            _copy_database(folder / name, sources[name], name)
    return sources


def _copy_database(source: Path, copy: Path, name: str) -> None:
    os.close(os.open(copy, os.O_RDWR | os.O_CREAT | os.O_EXCL, OWNER_ONLY))
    try:
        # not read-only: where a program was killed in a transaction, SQLite has to undo it first
        with (
            closing(sqlite3.connect(f"{source.as_uri()}?mode=rw", uri=True)) as old,
            closing(sqlite3.connect(copy)) as new,
        ):
            old.backup(new)
            found = new.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        raise _damaged(name, str(error)) from error
    if found != "ok":
        raise _damaged(name, found)


def _member(name: str, source: Path) -> Member:
    with _plain(name, source) as file:
        state, size = sha256(), 0
        while chunk := file.read(CHUNK_BYTES):
            state.update(chunk)
            size += len(chunk)
    return Member(name=name, size=size, sha256=state.hexdigest())


def _write(path: Path, manifest: Manifest, sources: dict[str, Path]) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY), "wb") as out:
        encoded = manifest.encoded
        out.write(header(MANIFEST, len(encoded)) + encoded + bytes(padding(len(encoded))))
        for member in manifest.members:
            out.write(header(member.name, member.size))
            with _plain(member.name, sources[member.name]) as file:
                _copy(file, out, member)
            out.write(bytes(padding(member.size)))
        out.write(END)
        out.flush()
        os.fsync(out.fileno())


def _copy(file: BinaryIO, out: BinaryIO, member: Member) -> None:
    """Copy a file that must still be the one in the manifest."""
    state, left = sha256(), member.size
    while left and (chunk := file.read(min(CHUNK_BYTES, left))):
        state.update(chunk)
        out.write(chunk)
        left -= len(chunk)
    if left or file.read(1) or state.hexdigest() != member.sha256:
        raise StorageError(
            f"{member.name} changed while it was read",
            remedy="Try again when nobody is adding plans or data.",
            code="backup.changed",
            retryable=True,
        )


def _plain(name: str, path: Path) -> BinaryIO:
    """A plain file, open for reading; a link that took its place is not followed."""
    try:
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
    except OSError as error:
        raise unreadable(name, error) from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise not_a_file(name)
    return file


def _damaged(name: str, why: str) -> StorageError:
    return StorageError(
        f"{name} cannot be copied: {why}",
        remedy="Keep the backups that there are, and check this file and its disk.",
        code="backup.damaged",
    )
