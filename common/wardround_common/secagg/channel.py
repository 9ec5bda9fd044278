"""The sealed channel over which one site deals its shares to another, through the coordinator's hands.

Rules:

* One AES-256-GCM key per direction and attempt, from the pair's X25519 secret by HKDF over (transcript T1,
  from, to); the same three are the associated data.
* Each key encrypts exactly one message, so the nonce is fixed at zero. Nothing else may use these keys.

Not here: what is inside (``site session``), the commitments that it must open.

Privacy: the coordinator sees that a message was dealt, always of one length.

References: NIST SP 800-38D section 8.2.1 (a key that is used once may have a constant nonce).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from wardround_common.canonical import encode
from wardround_common.messages import SHARE_BYTES
from wardround_common.secagg.refusals import refuse
from wardround_common.streams import derive

_NONCE: Final = bytes(12)


@dataclass(frozen=True, slots=True)
class HeldShares:
    """What one site deals to one holder: a share of its mask key and a share of its self-mask seed."""

    mask_key: bytes
    seed: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Channel:
    """One direction of one pair in one attempt.

    Attributes:
        secret: What the pair's channel keys agree on.
        transcript: T1.
        sender: The dealer.
        recipient: The holder.
    """

    secret: bytes
    transcript: bytes
    sender: str
    recipient: str

    def seal(self, shares: HeldShares) -> bytes:
        """The ciphertext of ``shares``. To be called once per channel."""
        return self._cipher().encrypt(_NONCE, shares.mask_key + shares.seed, self._associated())

    def open(self, ciphertext: bytes) -> HeldShares:
        """The shares in ``ciphertext``.

        Raises:
            SecAggError: ``secagg.bad_ciphertext`` naming the dealer.
        """
        try:
            plain = self._cipher().decrypt(_NONCE, ciphertext, self._associated())
        except InvalidTag as error:
            raise refuse(
                "bad_ciphertext", f"what {self.sender} sealed for {self.recipient} cannot be opened"
            ) from error
        return HeldShares(plain[:SHARE_BYTES], plain[SHARE_BYTES:])

    def _cipher(self) -> AESGCM:
        return AESGCM(derive(self.secret, "secagg channel", self.transcript, self.sender, self.recipient))

    def _associated(self) -> bytes:
        return encode((self.transcript, self.sender, self.recipient))
