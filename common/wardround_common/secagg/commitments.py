"""What a dealer commits to when it deals: each share, the self-mask seed, each ciphertext.

A commitment is a SHA-256 digest whose label and parts say what is committed to, by whom, for whom and in
which attempt (the transcript), so that none can be moved elsewhere.

Why no nonce is needed to hide: the seed is 32 uniform bytes, and each share is the value of a polynomial
with at least one coefficient that is uniform over 2^256 values and known to nobody else. Whoever holds fewer
than t shares of a secret sees every further share as uniform; finding one from its digest is a search of
2^256. The same digest then lets the *coordinator* check a share that a site opens, with no nonce to carry.

Why they bind: two values with one commitment are a collision of SHA-256.

Not here: the mask key's commitment, which is the public key in HELLO.

Privacy: digests of values with 256 bits of entropy tell nothing.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from wardround_common.canonical import digest

Secret: TypeAlias = Literal["mask key", "seed"]


def commit_share(transcript: bytes, *, of: Secret, dealer: str, holder: str, share: bytes) -> bytes:
    """The commitment to the share of ``dealer``'s secret that ``holder`` gets."""
    return digest("secagg share", transcript, of.encode(), dealer.encode(), holder.encode(), share)


def commit_seed(transcript: bytes, *, dealer: str, seed: bytes) -> bytes:
    """The commitment to ``dealer``'s self-mask seed."""
    return digest("secagg seed", transcript, dealer.encode(), seed)


def ciphertext_digest(ciphertext: bytes) -> bytes:
    """What a DEAL signs of a ciphertext that travels beside it."""
    return digest("secagg ciphertext", ciphertext)
