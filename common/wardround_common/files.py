"""Reading with a limit, writing in one piece, and keys that only their owner may read.

Rules:

* A file is written beside its place, synced, and renamed: after a crash there is the old file or the new.
* Whoever reads says how long the file may be.
* Private files that others may read are refused, as ssh does. An access control list that lets in this
  process's own user and nobody else is fine: so systemd hands out credentials.

Not here: what is in a file.

Privacy: knows names and lengths of files only.

References: acl(5) and linux/posix_acl_xattr.h (the attribute's layout); systemd.exec(5), "Credentials".
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from wardround_common.errors import ConfigError, StorageError

OWNER_ONLY = 0o600
READABLE = 0o644
_ACL = "system.posix_acl_access"
_ACL_VERSION = struct.pack("<I", 2)
_ACL_ENTRY = struct.Struct("<HHI")
_ACL_USER, _ACL_GROUP_OWNER, _ACL_GROUP = 0x02, 0x04, 0x08


def read(path: Path, *, limit_bytes: int) -> bytes:
    """The bytes of a file.

    Raises:
        ConfigError: ``files.unreadable``, ``files.too_long``.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit_bytes + 1)
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}",
            remedy="Check the path and the permissions of the file.",
            code="files.unreadable",
        ) from error
    if len(data) > limit_bytes:
        raise ConfigError(
            f"{path} is longer than {limit_bytes} bytes",
            remedy="Check that this is the file that you mean.",
            code="files.too_long",
        )
    return data


def write(path: Path, data: bytes, *, mode: int = READABLE) -> None:
    """Put ``data`` in ``path``, durably and in one piece, instead of what is there.

    Raises:
        StorageError: ``files.unwritable``.
    """
    try:
        replace(path, data, mode=mode)
    except OSError as error:
        raise unwritable(path, error) from error


def replace(path: Path, data: bytes, *, mode: int = READABLE) -> None:
    """As ``write``, for who has a sentence of their own for an OSError."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    fresh = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A private folder to fill, which is ``path`` once the block has ended well, and gone otherwise.

    Raises:
        StorageError: ``files.unwritable``, for every OSError in the block too.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            yield fresh
            sync_folder(fresh)
            fresh.rename(path)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        sync_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error


def private_folder(path: Path) -> None:
    """Make a folder and those above it that are missing, each for its owner only.

    Raises:
        OSError: It cannot be made.
    """
    for folder in reversed((path, *path.parents)):
        if not folder.is_dir():
            folder.mkdir(mode=0o700, exist_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def unwritable(path: Path, error: OSError) -> StorageError:
    """What to raise where ``path`` could not be written."""
    return StorageError(
        f"cannot write {path}: {error.strerror}",
        remedy="Check that its folder exists, has free space and may be written.",
        code="files.unwritable",
    )


def check_private(path: Path) -> None:
    """Return only if nobody but the owner may use the file or folder ``path``.

    Raises:
        StorageError: ``files.exposed``.
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077 and (mode & 0o007 or not _lets_in_nobody_else(path)):
        raise StorageError(
            f"{path} is open to others on this machine (mode {mode:04o})",
            remedy=f"Close it with chmod go= {path}, on a file system that keeps permissions; what others "
            "may have read is no secret any more.",
            code="files.exposed",
        )


def _lets_in_nobody_else(path: Path) -> bool:
    """Whether the group's bits are the mask of an access control list without a group or another user."""
    if sys.platform != "linux":
        return False
    try:
        found = os.getxattr(path, _ACL)
    except OSError:
        return False
    entries = found.removeprefix(_ACL_VERSION)
    if len(entries) != len(found) - len(_ACL_VERSION) or len(entries) % _ACL_ENTRY.size:
        return False
    for tag, permissions, who in _ACL_ENTRY.iter_unpack(entries):
        if permissions and tag in (_ACL_GROUP_OWNER, _ACL_GROUP):
            return False
        if permissions and tag == _ACL_USER and who != os.geteuid():
            return False
    return path.stat().st_uid in (0, os.geteuid())
