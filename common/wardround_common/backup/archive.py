"""The file: a tar archive of which every byte outside the members' contents follows from its manifest.

    manifest.json        program, version, time, and of each member name, length and SHA-256
    the members          in the order of the manifest
    two empty blocks

Rules:

* A header is never interpreted. It must be, byte for byte, the one that a plain private file of that name
  and length has; so there are no links, devices, owners, long names or extensions to refuse one by one.
* The manifest is read first, with a limit, and says how long the whole file is.

Any ``tar`` can list and unpack it.

Not here: which names are permitted (``contents``).

Privacy: names, lengths and digests.

References: POSIX.1-1988 (ustar) with GNU's lengths above 8 GiB.
"""

from __future__ import annotations

import tarfile
from hashlib import sha256
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from wardround_common.errors import StorageError
from wardround_common.plan_parts import Hex32

MANIFEST: Final = "manifest.json"
MANIFEST_LIMIT_BYTES: Final = 16 << 20
BLOCK: Final = tarfile.BLOCKSIZE
END: Final = bytes(2 * BLOCK)


class Member(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    size: Annotated[int, Meta(ge=0, lt=1 << 62)]
    sha256: Hex32


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is in a backup."""

    format: Literal[1] = 1
    program: Annotated[str, Meta(max_length=40)]
    version: Annotated[str, Meta(max_length=40)]
    made: Annotated[str, Meta(max_length=40)]
    members: Annotated[tuple[Member, ...], Meta(max_length=100_000)]

    @property
    def encoded(self) -> bytes:
        """Its bytes in the archive."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"

    @property
    def digest(self) -> str:
        """Commits to every byte of the backup."""
        return sha256(self.encoded).hexdigest()

    @property
    def archive_bytes(self) -> int:
        """Length of the whole file."""
        sizes = [len(self.encoded), *(member.size for member in self.members)]
        return sum(BLOCK + size + padding(size) for size in sizes) + len(END)


def header(name: str, size: int) -> bytes:
    """The one header that a member may have."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info.tobuf(tarfile.GNU_FORMAT, "ascii", "strict")


def padding(size: int) -> int:
    """How many zeros follow a member of that length."""
    return -size % BLOCK


def manifest_bytes(first: bytes) -> int:
    """Length of the manifest, from the first block of a file.

    Raises:
        StorageError: ``backup.malformed``.
    """
    try:
        size = tarfile.TarInfo.frombuf(first, "ascii", "strict").size
        if 0 < size <= MANIFEST_LIMIT_BYTES and header(MANIFEST, size) == first:
            return size
    except (tarfile.HeaderError, UnicodeError) as error:
        raise malformed("it does not begin with a manifest") from error
    raise malformed("it does not begin with a manifest")


def read_manifest(data: bytes) -> Manifest:
    """The manifest of which ``data`` is the one spelling.

    Raises:
        StorageError: ``backup.malformed``.
    """
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise malformed("its manifest cannot be read") from error
    if manifest.encoded != data:
        raise malformed("its manifest is spelled in another way")
    return manifest


def malformed(how: str) -> StorageError:
    """What stands there is no backup, or not all of one."""
    return StorageError(
        f"this is not a backup as it was written: {how}",
        remedy="Take another copy of it, or the backup before.",
        code="backup.malformed",
    )
