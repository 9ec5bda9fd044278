"""Restoring a backup into a new folder; the file may come from anywhere.

Rules:

* Before anything is written: the manifest is this program's, names nothing that the allow-list does not, and
  the file is exactly as long as the manifest says.
* What is written is a plain file, for its owner only, in a new folder. The folder is there when every digest
  was right, and not before; one that exists is refused.

The digests find what was damaged. Who can alter a backup can alter its digests too: only a digest of the
manifest that was kept elsewhere finds that.

Not here: what the program makes of an older state; the heads of its chains, which no backup holds, say that.

Privacy: as ``wardround_common.backup``.
"""

from __future__ import annotations

import hmac
import os
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from wardround_common.backup.archive import (
    BLOCK,
    END,
    Manifest,
    Member,
    header,
    malformed,
    manifest_bytes,
    padding,
    read_manifest,
)
from wardround_common.backup.contents import Contents, unreadable
from wardround_common.backup.writing import CHUNK_BYTES
from wardround_common.errors import ConfigError, StorageError
from wardround_common.files import OWNER_ONLY, new_folder, sync_folder


def restore_backup(file: Path, folder: Path, contents: Contents, *, digest: str | None = None) -> Manifest:
    """Restore ``file`` into ``folder``, which must not exist.

    Args:
        file: A backup.
        folder: The new folder.
        contents: What may be in it.
        digest: Of its manifest, where somebody kept it.

    Raises:
        ConfigError: ``backup.target_exists``, ``backup.incomplete``.
        StorageError: ``backup.unreadable``, ``backup.malformed``, ``backup.other_program``,
            ``backup.other_digest``, ``backup.unknown_member``, ``backup.too_long``, ``backup.differs``,
            ``files.unwritable``.
    """
    if folder.exists() or folder.is_symlink():
        raise ConfigError(
            f"{folder} exists",
            remedy="Name a new folder: what is there may be newer than the backup.",
            code="backup.target_exists",
        )
    with _opened(file) as source:
        manifest = _manifest(source, contents, digest)
        with new_folder(folder) as fresh:
            _fill(fresh, source, manifest, contents)
    return manifest


def _manifest(source: BinaryIO, contents: Contents, digest: str | None) -> Manifest:
    size = manifest_bytes(_read(source, BLOCK))
    manifest = read_manifest(_read(source, size))
    _check_zeros(source, padding(size))
    if digest is not None and not hmac.compare_digest(digest.lower().encode(), manifest.digest.encode()):
        raise StorageError(
            f"the digest of this backup is {manifest.digest}, not the one that was given",
            remedy="Find out whether it is another backup, or who altered it.",
            code="backup.other_digest",
        )
    if manifest.program != contents.program:
        raise StorageError(
            "this is a backup of another program",
            remedy=f"Restore it with the program that made it, not with {contents.program}.",
            code="backup.other_program",
        )
    _check_members(manifest.members, contents)
    if os.fstat(source.fileno()).st_size != manifest.archive_bytes:
        raise malformed("it is not as long as its manifest says")
    return manifest


def _check_members(members: tuple[Member, ...], contents: Contents) -> None:
    names = {member.name for member in members}
    if len(names) != len(members):
        raise malformed("it names a member twice")
    for member in members:
        part = contents.part_of(member.name)
        if part is None:
            raise StorageError(
                f"the backup holds {member.name!r}, which no backup of {contents.program} may hold",
                remedy="Do not use this file; if you trust it, restore it with the version that made it.",
                code="backup.unknown_member",
            )
        if member.size > part.limit_bytes:
            raise StorageError(
                f"expected at most {part.limit_bytes} bytes of {member.name}, got {member.size}",
                remedy="Do not use this file.",
                code="backup.too_long",
            )
    contents.check_complete(names)


def _fill(folder: Path, source: BinaryIO, manifest: Manifest, contents: Contents) -> None:
    for name in contents.folders:
        _make_folder(folder, folder / name)
    for member in manifest.members:
        if _read(source, BLOCK) != header(member.name, member.size):
            raise malformed(f"what stands before {member.name} is not the header of a plain file")
        path = folder / member.name
        _make_folder(folder, path.parent)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY), "wb") as out:
            _extract(source, out, member)
        _check_zeros(source, padding(member.size))
    _check_zeros(source, len(END))
    for made in [path for path in folder.rglob("*") if path.is_dir()]:
        sync_folder(made)


def _extract(source: BinaryIO, out: BinaryIO, member: Member) -> None:
    state, left = sha256(), member.size
    while left:
        chunk = _read(source, min(CHUNK_BYTES, left))
        state.update(chunk)
        out.write(chunk)
        left -= len(chunk)
    if not hmac.compare_digest(state.hexdigest(), member.sha256):
        raise StorageError(
            f"{member.name} is not what it was when the backup was made",
            remedy="Take another copy of the backup, or the backup before.",
            code="backup.differs",
        )
    out.flush()
    os.fsync(out.fileno())


def _make_folder(top: Path, folder: Path) -> None:
    """Make a folder and those above it, up to ``top``, for their owner only."""
    if folder != top and not folder.is_dir():
        _make_folder(top, folder.parent)
        folder.mkdir(mode=0o700)


def _check_zeros(source: BinaryIO, size: int) -> None:
    if _read(source, size).strip(b"\0"):
        raise malformed("there is something between its members")


def _read(source: BinaryIO, size: int) -> bytes:
    """Exactly so many bytes."""
    try:
        data = source.read(size)
    except OSError as error:
        raise unreadable("the backup", error) from error
    if len(data) != size:
        raise malformed("it ends too early")
    return data


def _opened(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as error:
        raise unreadable("the backup", error) from error
