"""One-attempt X25519 keys, and the secret that two of them agree on.

Every site makes two per attempt: one for the channels over which shares are dealt, one for masks. They
live in memory only and are dropped when they are no longer needed.

Not here: what is derived from the secret (``channel``, ``masks``).

Privacy: a private key stays in this process, except as shares of a mask key.

References: RFC 7748 (X25519; section 6.1 on the all-zero secret).
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from wardround_common.secagg.refusals import refuse

KEY_BYTES: Final = 32


class AgreementKey:
    """A private X25519 key, and its public half as 32 bytes in ``public``.

    Args:
        secret: 32 random bytes, or the bytes that shares of a mask key gave back.
    """

    __slots__ = ("_key", "public", "secret")

    def __init__(self, secret: bytes) -> None:
        self._key = X25519PrivateKey.from_private_bytes(secret)
        self.secret = secret
        self.public: bytes = self._key.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return f"AgreementKey(public={self.public.hex()})"

    def agree(self, public: bytes, *, peer: str) -> bytes:
        """The 32 bytes that only the owners of both keys know.

        Raises:
            SecAggError: ``secagg.weak_key`` where the peer's key has low order: everybody would know them.
        """
        try:
            return self._key.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError as error:
            raise refuse("weak_key", f"the key of {peer} agrees on the same secret with everybody") from error


_PROBE: Final = AgreementKey(b"\x01" * KEY_BYTES)


def check_public(public: bytes, *, owner: str) -> None:
    """Return only if agreeing with ``public`` gives a secret; the private key used does not matter.

    Raises:
        SecAggError: ``secagg.weak_key``.
    """
    _PROBE.agree(public, peer=owner)
