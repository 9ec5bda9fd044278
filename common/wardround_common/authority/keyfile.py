"""The authority's private key as a file, with or without a passphrase.

With one, the key is PKCS #8 under AES-256, and its password is not the passphrase but what scrypt makes of
it: the format's own stretching is 2048 rounds of PBKDF2, which a thief tries out by the million. The first
line of the file names scrypt's salt and a check value, further bytes of scrypt's output: without it, one
wrong passphrase in some hundred looks like a damaged file.

Rules:

* Files that others may read are refused, as ssh does.
* A passphrase or key never enters a message.

Not here: where the file lies (``folder``), who types the passphrase (``main``).

Privacy: guards the one secret of this package.

References: RFC 7914 (scrypt); RFC 5958 (PKCS #8).
"""

from __future__ import annotations

import hmac
import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from wardround_common.errors import ConfigError, ConsentError, StorageError
from wardround_common.files import check_private, read
from wardround_common.identity import SigningKey

KEY_LIMIT_BYTES = 4096
PASSPHRASE_CHARACTERS = 12
_SCRYPT = "scrypt n=131072 r=8 p=1 salt="
_CHECK = " check="
_SALT_BYTES = 16
_PASSWORD_BYTES = 32
_CHECK_BYTES = 16


def seal(key: Ed25519PrivateKey, passphrase: str | None) -> bytes:
    """The key file's bytes.

    Raises:
        ConfigError: ``authority.short_passphrase``.
    """
    if passphrase is None:
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    if len(passphrase) < PASSPHRASE_CHARACTERS:
        raise ConfigError(
            f"the passphrase has fewer than {PASSPHRASE_CHARACTERS} characters",
            remedy="Choose a longer one; five random words are easy to keep.",
            code="authority.short_passphrase",
        )
    salt = os.urandom(_SALT_BYTES)
    password, check = _stretch(passphrase, salt)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password))
    return f"{_SCRYPT}{salt.hex()}{_CHECK}{check.hex()}\n".encode() + pem


def is_sealed(path: Path) -> bool:
    """Whether the key in ``path`` needs a passphrase."""
    return read(path, limit_bytes=KEY_LIMIT_BYTES).startswith(_SCRYPT.encode())


def load(path: Path, passphrase: str | None) -> SigningKey:
    """The key in ``path``.

    Raises:
        ConfigError: The file cannot be read, or ``authority.no_passphrase_wanted``.
        ConsentError: ``authority.passphrase``: the passphrase is missing or wrong.
        StorageError: ``files.exposed``: others may read it; ``authority.bad_key``.
    """
    data = read(path, limit_bytes=KEY_LIMIT_BYTES)
    check_private(path)
    sealed = is_sealed(path)
    if sealed and passphrase is None:
        raise ConsentError(
            f"{path} needs its passphrase",
            remedy="Give --passphrase-file, or run this at a terminal and type it.",
            code="authority.passphrase",
        )
    if passphrase is not None and not sealed:
        raise ConfigError(
            f"{path} has no passphrase, one was given",
            remedy="Leave --passphrase-file out, and check that this is the folder that you mean.",
            code="authority.no_passphrase_wanted",
        )
    password = None
    if passphrase is not None:
        line, _, data = data.partition(b"\n")
        password = _password(line, passphrase, path)
    try:
        key = load_pem_private_key(data, password)
    except (ValueError, TypeError):
        raise _damaged(path) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise _damaged(path)
    return SigningKey(key)


def _stretch(passphrase: str, salt: bytes) -> tuple[bytes, bytes]:
    """The PKCS #8 password and the check value, 128 MiB and half a second later."""
    scrypt = Scrypt(salt=salt, length=_PASSWORD_BYTES + _CHECK_BYTES, n=1 << 17, r=8, p=1)
    stretched = scrypt.derive(passphrase.encode())
    return stretched[:_PASSWORD_BYTES].hex().encode(), stretched[_PASSWORD_BYTES:]


def _password(line: bytes, passphrase: str, path: Path) -> bytes:
    try:
        salt, check = map(bytes.fromhex, line.decode("ascii").removeprefix(_SCRYPT).split(_CHECK))
    except ValueError:
        raise _damaged(path) from None
    if len(salt) != _SALT_BYTES or len(check) != _CHECK_BYTES:
        raise _damaged(path)
    password, expected = _stretch(passphrase, salt)
    if not hmac.compare_digest(check, expected):
        raise ConsentError(
            f"the passphrase does not open {path}",
            remedy="Type it again; a forgotten passphrase cannot be recovered.",
            code="authority.passphrase",
        )
    return password


def _damaged(path: Path) -> StorageError:
    return StorageError(
        f"{path} is damaged or no key of an authority",
        remedy="Restore the whole folder from its newest backup.",
        code="authority.bad_key",
    )
