"""Backups as somebody else than the program might write them: headers and digests as that person likes."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import msgspec

from wardround_common.backup.archive import END, MANIFEST, Manifest, Member, header, padding


def block(name: str, size: int, *, type: bytes = tarfile.REGTYPE, **fields) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.type = size, 0o600, type
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.GNU_FORMAT, "ascii", "strict")


def member(name: str, data: bytes) -> Member:
    return Member(name=name, size=len(data), sha256=sha256(data).hexdigest())


def padded(data: bytes) -> bytes:
    return data + bytes(padding(len(data)))


def archive(manifest: bytes, members: Sequence[tuple[bytes, bytes]], *, end: bytes = END) -> bytes:
    """The file of a manifest and of (header, content) pairs."""
    begun = header(MANIFEST, len(manifest)) + padded(manifest)
    return begun + b"".join(head + padded(data) for head, data in members) + end


def forged(path: Path, files: dict[str, bytes], *, program: str, lie=lambda manifest: manifest) -> Path:
    """A backup of these files with a manifest that fits, changed by ``lie`` and put in order again."""
    members = tuple(member(name, data) for name, data in files.items())
    manifest = lie(Manifest(program=program, version="0", made="now", members=members))
    encoded = manifest if isinstance(manifest, bytes) else manifest.encoded
    path.write_bytes(archive(encoded, [(header(n[:100], len(d)), d) for n, d in files.items()]))
    return path


def changed(manifest: Manifest, name: str, **fields) -> Manifest:
    """The manifest with other fields of one member."""
    members = tuple(
        msgspec.structs.replace(one, **fields) if one.name == name else one for one in manifest.members
    )
    return msgspec.structs.replace(manifest, members=members)
