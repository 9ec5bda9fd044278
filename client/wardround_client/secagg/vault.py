"""Peers' shares at rest: sealed until their attempt is over.

The key lies in the scratch database, which no backup holds; the sealed shares lie in the protocol record. A
copy of either alone opens nothing.

Privacy: protects the peers against whoever gets hold of the record; not against whoever reads both files.

References: NIST SP 800-38D section 8.2.2 (random nonces of 96 bits).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from wardround_common.canonical import decode, encode
from wardround_common.errors import StorageError
from wardround_common.messages import RoundContext
from wardround_common.secagg.channel import HeldShares

_NONCE_BYTES: Final = 12
_LIMIT_BYTES: Final = 1 << 20


class Vault:
    """Seals the shares of an attempt.

    Args:
        key: 32 bytes, the site's own.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, held: Mapping[str, HeldShares], context: RoundContext) -> bytes:
        """The sealed shares, bound to their attempt."""
        nonce = os.urandom(_NONCE_BYTES)
        plain = encode({name: (shares.mask_key, shares.seed) for name, shares in held.items()})
        return nonce + self._cipher.encrypt(nonce, plain, encode(context))

    def open(self, sealed: bytes, context: RoundContext) -> dict[str, HeldShares]:
        """The shares, by dealer.

        Raises:
            StorageError: ``storage.shares_lost``: another key, another attempt, or altered bytes.
        """
        nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            plain = self._cipher.decrypt(nonce, ciphertext, encode(context))
        except (InvalidTag, ValueError) as error:
            raise shares_lost() from error
        found = decode(plain, dict[str, tuple[bytes, bytes]], limit_bytes=_LIMIT_BYTES)
        return {name: HeldShares(*shares) for name, shares in found.items()}


def shares_lost() -> StorageError:
    """The shares of an attempt cannot be opened any more."""
    return StorageError(
        "the shares of this attempt cannot be opened",
        remedy="Nothing: this site is out of the attempt, and joins the next one by itself.",
        code="storage.shares_lost",
    )
