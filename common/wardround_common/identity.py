"""Ed25519 identities: who signed these bytes, and for which purpose.

Every signature is made over a digest that names its purpose, so a signature on one kind of object is
never valid on another.

Not here: whose key it is (``trust``), what is signed (``messages``, ``trust``).

Privacy: a private key never leaves the process that made or loaded it.

References: RFC 8032 (Ed25519).
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from wardround_common.canonical import digest
from wardround_common.errors import ProtocolError

KEY_BYTES = 32
SIGNATURE_BYTES = 64


class SigningKey:
    """A private identity key, and its public half as 32 bytes in ``public``."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public: bytes = key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> SigningKey:
        """A new key from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKey:
        """The key that a 32-byte secret stands for (RFC 8032 section 5.1.5)."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    def sign(self, label: str, data: bytes) -> bytes:
        """A 64-byte signature over ``data`` for the purpose ``label``."""
        return self._key.sign(digest(label, data))


def verify(public: bytes, signature: bytes, label: str, data: bytes) -> None:
    """Return only if ``signature`` over ``data`` for ``label`` was made by the owner of ``public``.

    Raises:
        ProtocolError: ``identity.bad_signature``.
    """
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, digest(label, data))
    except (InvalidSignature, ValueError) as error:
        raise ProtocolError(
            f"the signature on this {label} is not by the expected key",
            remedy="Compare the fingerprints of sender and roster; somebody altered or forged this.",
            code="identity.bad_signature",
        ) from error


def fingerprint(public: bytes) -> str:
    """A public key as people compare it over the phone: eight groups of four hex digits."""
    text = digest("fingerprint", public).hex()[:32]
    return " ".join(text[i : i + 4] for i in range(0, 32, 4))
