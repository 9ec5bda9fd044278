"""What each message of a round says, and how long it may be.

A round has six exchanges; each is a request of the coordinator and the reply of a site. ``TABLE`` lists the
twelve messages in that order with the number of the exchange, the type on the wire and the byte limit.

Not here: who sent it, in which round, and the signature (``envelope``); whether what it says is acceptable
(``secagg`` of the site and of the coordinator).

Rules:

* A body is an array of its fields in the order of their declaration; keys, digests and shares have exactly
  one length.
* Whatever lists sites lists them by name in ascending order; what belongs to a site of a list that both ends
  know stands at the site's place and repeats no name.
* Messages inside messages are whole envelopes, so that the signatures of others travel unchanged.

Privacy: keys, digests, shares and names of institutions; the masked upload and the sum travel beside
``Masked`` and ``Result`` as arrays, and appear here as digests.

References: ARCHITECTURE.md, "A round, message by message"; Bonawitz et al., CCS 2017,
figure 4 (their rounds 0 to 4 are exchanges 1 to 5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, Struct

from wardround_common.plan_parts import Name
from wardround_common.trust import SIGNED_LIMIT_BYTES

Kind: TypeAlias = Literal["train", "evaluate"]
MessageType: TypeAlias = Literal[
    "start", "hello", "cohort", "deal", "envelopes", "masked",
    "survivors", "confirm", "confirms", "open", "result", "accept",
]  # fmt: skip

SHARE_BYTES: Final = 33
CIPHERTEXT_BYTES: Final = 2 * SHARE_BYTES + 16

Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]
AgreementKey = Annotated[bytes, Meta(min_length=32, max_length=32)]
Share = Annotated[bytes, Meta(min_length=SHARE_BYTES, max_length=SHARE_BYTES)]
Ciphertext = Annotated[bytes, Meta(min_length=CIPHERTEXT_BYTES, max_length=CIPHERTEXT_BYTES)]
Size = Annotated[int, Meta(ge=1, le=2**40)]


class Body(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What every message's content has in common."""


class Start(Body, frozen=True):
    """1, coordinator: the round begins."""

    roster: bytes
    """The roster as the authority signed it."""
    state: Digest
    """Digest of the state that the round starts from."""
    accepts: tuple[bytes, ...]
    """ACCEPT envelopes of the last round."""


class Hello(Body, frozen=True):
    """1, site: takes part with these one-attempt X25519 keys."""

    channel_key: AgreementKey
    mask_key: AgreementKey
    state: Digest
    ledger_head: Digest
    """Hash of the ledger's last row."""


class Cohort(Body, frozen=True):
    """2, coordinator: everybody's HELLO."""

    hellos: tuple[bytes, ...]


class Deal(Body, frozen=True):
    """2, site: commitments to what it deals. The ciphertexts travel beside it, in ``DealParcel``."""

    seed_commitment: Digest
    key_shares: tuple[Digest, ...]
    """Commitment to the share of the mask key of each member of the cohort, the dealer included."""
    seed_shares: tuple[Digest, ...]
    """The same for the shares of the self-mask seed."""
    ciphertexts: tuple[Digest, ...]
    """Digest of the ciphertext for each member of the cohort, the dealer left out."""


class DealParcel(Body, frozen=True):
    """2, site: the DEAL envelope and the ciphertexts whose digests it signs, one per peer."""

    envelope: bytes
    ciphertexts: tuple[Ciphertext, ...]


class Envelopes(Body, frozen=True):
    """3, coordinator: all DEALs, and the ciphertexts addressed to this site, one per other dealer."""

    deals: tuple[bytes, ...]
    ciphertexts: tuple[Ciphertext, ...]


class Masked(Body, frozen=True):
    """3, site: length and digest of the masked vector, which travels beside it."""

    size: Size
    digest: Digest


class Survivors(Body, frozen=True):
    """4, coordinator: the MASKED envelopes of the uploads that arrived."""

    uploads: tuple[bytes, ...]


class Confirm(Body, frozen=True):
    """4, site: says nothing but its transcript, which names the set of survivors."""


class Confirms(Body, frozen=True):
    """5, coordinator: CONFIRM envelopes of at least t survivors."""

    confirms: tuple[bytes, ...]


class Open(Body, frozen=True):
    """5, site: one share per dealer, of its seed if it survived, of its mask key if it dropped."""

    seed_shares: tuple[Share, ...]
    """At the places of the survivors."""
    key_shares: tuple[Share, ...]
    """At the places of the dealers that dropped."""


class Result(Body, frozen=True):
    """6, coordinator: length and digest of the sum, which travels beside it."""

    size: Size
    digest: Digest


class Accept(Body, frozen=True):
    """6, site: from this start, with these survivors, the round leads there."""

    survivors: tuple[Name, ...]
    start: Digest
    next: Digest


@dataclass(frozen=True, slots=True)
class Row:
    """One message of the protocol; for n sites it has at most fixed + n (per_site + n per_pair) bytes."""

    exchange: int
    type: MessageType
    fixed: int
    per_site: int
    per_pair: int = 0

    def limit_bytes(self, sites: int) -> int:
        """The longest that this message may be in a study of ``sites`` sites."""
        return self.fixed + sites * (self.per_site + sites * self.per_pair)


TABLE: Final[Mapping[type[Body], Row]] = {
    Start: Row(1, "start", 512 + SIGNED_LIMIT_BYTES, 384, 48),
    Hello: Row(1, "hello", 512, 0),
    Cohort: Row(2, "cohort", 512, 512),
    Deal: Row(2, "deal", 512, 128),
    Envelopes: Row(3, "envelopes", 512, 512, 128),
    Masked: Row(3, "masked", 512, 0),
    Survivors: Row(4, "survivors", 512, 512),
    Confirm: Row(4, "confirm", 512, 0),
    Confirms: Row(5, "confirms", 512, 512),
    Open: Row(5, "open", 512, 48),
    Result: Row(6, "result", 512, 0),
    Accept: Row(6, "accept", 512, 48),
}
PARCEL: Final = Row(2, "deal", 1024, 256)
EXCHANGES: Final[tuple[MessageType, ...]] = (
    "start",
    "cohort",
    "envelopes",
    "survivors",
    "confirms",
    "result",
)
"""The coordinator's six requests, in order."""
