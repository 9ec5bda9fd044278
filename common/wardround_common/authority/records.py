"""What is read back from an authority's folder, and the checks that it must pass.

Rules:

* The register is signed by the authority, and so is each copy of a roster.
* Copies are numbered without a gap. One that is newer than the register says that the register was rolled
  back.

Not here: writing, locks, the key (``folder``).

Privacy: names and public keys of institutions only.
"""

from __future__ import annotations

import datetime
from pathlib import Path

from msgspec import Struct

from wardround_common.authority.members import Retired
from wardround_common.canonical import decode, encode
from wardround_common.errors import StorageError, WardroundError
from wardround_common.files import read
from wardround_common.identity import KEY_BYTES, SigningKey, verify
from wardround_common.trust import SIGNED_LIMIT_BYTES, Roster, Signed, open_roster

REGISTER_LIMIT_BYTES = 4 << 20
_LABEL = "authority register"


class Register(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the authority must not forget."""

    roster: bytes = b""
    """As it was handed out; empty before the first."""
    retired: tuple[Retired, ...] = ()


def sign_register(register: Register, key: SigningKey) -> bytes:
    """The register's bytes, signed."""
    body = encode(register)
    return encode(Signed(body, key.sign(_LABEL, body)))


def open_undated(data: bytes, public: bytes) -> Roster:
    """The authority's roster in ``data``, whether or not it has expired.

    Raises:
        ProtocolError: As ``trust.open_roster``.
    """
    issued = peek(data).issued
    try:
        today = datetime.date.fromisoformat(issued)
    except ValueError:
        today = datetime.date.min
    return open_roster(data, authority_key=public, today=today)


def peek(data: bytes) -> Roster:
    """The roster in ``data``, whoever signed it.

    Raises:
        ProtocolError: Malformed.
    """
    signed = decode(data, Signed, limit_bytes=SIGNED_LIMIT_BYTES)
    return decode(signed.body, Roster, limit_bytes=SIGNED_LIMIT_BYTES)


def load_public(path: Path) -> bytes:
    """The authority's public key in ``path``.

    Raises:
        WardroundError: The file cannot be read; ``authority.damaged``.
    """
    data = read(path, limit_bytes=2 * KEY_BYTES + 1)
    try:
        public = bytes.fromhex(data.decode("ascii"))
    except ValueError:
        public = b""
    if len(public) != KEY_BYTES or data != public.hex().encode() + b"\n":
        raise _damaged(path, "it is no public key")
    return public


def load_register(path: Path, public: bytes) -> Register:
    """The register in ``path``.

    Raises:
        StorageError: ``authority.damaged``.
    """
    try:
        data = read(path, limit_bytes=REGISTER_LIMIT_BYTES)
        signed = decode(data, Signed, limit_bytes=REGISTER_LIMIT_BYTES)
        verify(public, signed.signature, _LABEL, signed.body)
        register = decode(signed.body, Register, limit_bytes=REGISTER_LIMIT_BYTES)
        if register.roster:
            open_undated(register.roster, public)
    except WardroundError as error:
        raise _damaged(path, error.message) from error
    return register


def check_copies(folder: Path, public: bytes, register: Register) -> None:
    """Return only if ``folder`` holds every roster issued before the register's, unaltered, and none after.

    Raises:
        StorageError: ``authority.damaged``, ``authority.rolled_back``, ``authority.copy_missing``.
    """
    newest = peek(register.roster).version if register.roster else 0
    try:
        found = {path.name: path for path in sorted(folder.iterdir()) if not path.name.startswith(".")}
    except OSError as error:
        raise _damaged(folder, str(error.strerror)) from error
    for name, path in found.items():
        _check_copy(path, public, register)
        if name > copy_name(newest):
            raise StorageError(
                f"the register is at version {newest}, but {path} was issued: the register was rolled back",
                remedy="Restore the whole folder from its newest backup.",
                code="authority.rolled_back",
            )
    missing = [copy_name(version) for version in range(1, newest) if copy_name(version) not in found]
    if missing:
        raise StorageError(
            f"{folder / missing[0]} is missing",
            remedy="Restore it from a backup, or ask a member for that version of the roster.",
            code="authority.copy_missing",
        )


def copy_name(version: int) -> str:
    """The name of the copy of roster ``version``."""
    return f"{version:06d}"


def _check_copy(path: Path, public: bytes, register: Register) -> None:
    try:
        data = read(path, limit_bytes=SIGNED_LIMIT_BYTES)
        version = open_undated(data, public).version
    except WardroundError as error:
        raise _damaged(path, error.message) from error
    if path.name != copy_name(version):
        raise _damaged(path, f"it holds version {version}")
    if register.roster and version == peek(register.roster).version and data != register.roster:
        raise _damaged(path, "the register has another roster of this version")


def _damaged(path: Path, why: str) -> StorageError:
    return StorageError(
        f"{path} was damaged or altered: {why}",
        remedy="Restore the whole folder from its newest backup.",
        code="authority.damaged",
    )
