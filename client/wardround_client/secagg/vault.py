"""Peers' shares at rest: sealed until their attempt is over.

The key lies in the scratch database, which no backup holds, sealed under the site key; the sealed shares lie
in the protocol record. A copy of either, or of both without the site key, opens nothing.

Not here: the scheme (``wardround_client.sealing``).

Privacy: protects the peers against whoever gets hold of the record; not against whoever has both files and
the site key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from wardround_client.sealing import Sealer
from wardround_common.canonical import decode, encode
from wardround_common.errors import StorageError
from wardround_common.messages import RoundContext
from wardround_common.secagg.channel import HeldShares

_LIMIT_BYTES: Final = 1 << 20


class Vault:
    """Seals the shares of an attempt.

    Args:
        sealer: The study's own, of which the key is in no backup.
    """

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def seal(self, held: Mapping[str, HeldShares], context: RoundContext) -> bytes:
        """The sealed shares, bound to their attempt."""
        plain = encode({name: (shares.mask_key, shares.seed) for name, shares in held.items()})
        return self._sealer.seal(plain, "shares", encode(context))

    def open(self, sealed: bytes, context: RoundContext) -> dict[str, HeldShares]:
        """The shares, by dealer.

        Raises:
            StorageError: ``storage.shares_lost``: another key, another attempt, or altered bytes.
        """
        try:
            plain = self._sealer.open(sealed, "shares", encode(context))
        except StorageError as error:
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
