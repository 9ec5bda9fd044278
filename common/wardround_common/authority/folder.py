"""The authority's folder: key, register, and a copy of every roster issued.

    authority.key     the private key; mode 0600, the folder 0700
    authority.pub     the public key in hex, as plans name it
    register          the newest roster and the retired keys, signed by the authority
    rosters/000001    every roster issued, as it was handed out; nothing here is ever replaced

Rules:

* A version is issued once: the register is durable before the copy is written, and the copy before the
  roster leaves. After a crash in between, the register still has the roster, and ``opened`` mends the copy.
* The folder is used whole or not at all: the register's signature, its roster, and each copy are checked
  whenever it is opened. A register older than the copies was rolled back.
* One program at a time (a lock on the folder).

Not here: the rules of membership (``members``). A folder that was restored whole from an old backup is
consistent; only a newer roster tells (``check_newest``).

Privacy: all files but the key are public.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wardround_common.authority import keyfile
from wardround_common.authority.members import Membership, Retired, members_of
from wardround_common.authority.records import (
    Register,
    check_copies,
    copy_name,
    load_public,
    load_register,
    open_undated,
    sign_register,
)
from wardround_common.errors import ConfigError, StorageError
from wardround_common.files import OWNER_ONLY, check_private, read, sync_folder, unwritable, write
from wardround_common.identity import SigningKey
from wardround_common.trust import SIGNED_LIMIT_BYTES, Roster, sign_roster

KEY, PUBLIC, REGISTER, ROSTERS = "authority.key", "authority.pub", "register", "rosters"


class Folder:
    """An authority's folder that was checked, opened by ``opened`` or ``create``."""

    def __init__(self, path: Path, public: bytes, register: Register) -> None:
        self.path = path
        self.public = public
        self.register = register

    @property
    def roster(self) -> Roster | None:
        """The newest roster issued, expired or not."""
        return open_undated(self.register.roster, self.public) if self.register.roster else None

    @property
    def membership(self) -> Membership:
        """Who is in the newest roster, and who never comes back."""
        roster = self.roster
        if roster is None:
            return Membership()
        return Membership(roster.version, members_of(roster), self.register.retired)

    @property
    def sealed(self) -> bool:
        """Whether the key needs a passphrase."""
        return keyfile.is_sealed(self.path / KEY)

    def unlock(self, passphrase: str | None) -> SigningKey:
        """The authority's key.

        Raises:
            WardroundError: As ``keyfile.load``; ``authority.other_key``.
        """
        check_private(self.path)
        key = keyfile.load(self.path / KEY, passphrase)
        if key.public != self.public:
            raise StorageError(
                f"{self.path / KEY} and {self.path / PUBLIC} are not one key",
                remedy="Restore the whole folder from its newest backup.",
                code="authority.other_key",
            )
        return key

    def issue(self, roster: Roster, retired: tuple[Retired, ...], key: SigningKey) -> bytes:
        """Sign ``roster`` and keep it; it may leave once this returns.

        Raises:
            StorageError: ``files.unwritable``.
        """
        signed = sign_roster(roster, key)
        register = Register(roster=signed, retired=retired)
        write(self.path / REGISTER, sign_register(register, key), mode=OWNER_ONLY)
        self.register = register
        self.keep_copy()
        return signed

    def copy_of(self, version: int) -> Path:
        """Where roster ``version`` is kept."""
        return self.path / ROSTERS / copy_name(version)

    def keep_copy(self) -> None:
        """Write the copy of the newest roster where a crash prevented that."""
        if (roster := self.roster) and not (path := self.copy_of(roster.version)).exists():
            write(path, self.register.roster, mode=OWNER_ONLY)


def create(path: Path, passphrase: str | None) -> Folder:
    """A new authority in ``path``, which must not exist or be empty.

    Raises:
        ConfigError: ``authority.exists``; the passphrase is too short.
        StorageError: ``files.unwritable``; ``files.exposed``: the file system keeps no modes.
    """
    private = Ed25519PrivateKey.generate()
    key, sealed = SigningKey(private), keyfile.seal(private, passphrase)
    try:
        fresh = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.absolute().parent))
        try:
            write(fresh / KEY, sealed, mode=OWNER_ONLY)
            check_private(fresh / KEY)
            check_private(fresh)
            write(fresh / PUBLIC, key.public.hex().encode() + b"\n")
            write(fresh / REGISTER, sign_register(Register(), key), mode=OWNER_ONLY)
            (fresh / ROSTERS).mkdir(mode=0o700)
            sync_folder(fresh)
            _move(fresh, path)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        sync_folder(path.absolute().parent)
    except OSError as error:
        raise unwritable(path, error) from error
    return Folder(path, key.public, Register())


@contextlib.contextmanager
def opened(path: Path, *, change: bool = True) -> Iterator[Folder]:
    """The folder of an authority, checked, and locked until the end of the block.

    Args:
        path: What ``create`` made.
        change: Alone, and write the newest copy where a crash prevented that; else only for reading.

    Raises:
        ConfigError: ``authority.absent``.
        StorageError: Damaged, altered or rolled back; ``authority.busy``.
    """
    with _locked(path, fcntl.LOCK_EX if change else fcntl.LOCK_SH):
        public = load_public(path / PUBLIC)
        register = load_register(path / REGISTER, public)
        folder = Folder(path, public, register)
        check_copies(path / ROSTERS, public, register)
        if change:
            folder.keep_copy()
        yield folder


def check_newest(folder: Folder, data: bytes) -> None:
    """Return only if the folder knows the roster ``data``, which a member calls the newest.

    Raises:
        ProtocolError: It is no roster of this authority.
        StorageError: ``authority.rolled_back``.
    """
    seen = open_undated(data, folder.public)
    version = folder.membership.version
    known = seen.version <= version
    if not known or read(folder.copy_of(seen.version), limit_bytes=SIGNED_LIMIT_BYTES) != data:
        raise StorageError(
            f"roster version {seen.version} was issued, and {folder.path}, which is at version {version}, "
            "does not know it",
            remedy="Restore the newest backup of the folder; this one has forgotten rosters and revocations.",
            code="authority.rolled_back",
        )


def _move(fresh: Path, path: Path) -> None:
    try:
        fresh.rename(path)
    except OSError as error:
        if not (path.exists() or path.is_symlink()):
            raise
        raise ConfigError(
            f"{path} exists and is not an empty folder",
            remedy="Name a new folder; an authority is never overwritten.",
            code="authority.exists",
        ) from error


@contextlib.contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    try:
        (path / PUBLIC).stat()
        handle = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise ConfigError(
            f"{path} is no authority's folder: {error.strerror}",
            remedy="Check the path, or make one with `wardround-authority init`.",
            code="authority.absent",
        ) from error
    try:
        try:
            fcntl.flock(handle, how | fcntl.LOCK_NB)
        except OSError as error:
            raise StorageError(
                f"another program is using {path}",
                remedy="Wait until it has finished.",
                code="authority.busy",
                retryable=True,
            ) from error
        yield
    finally:
        os.close(handle)
