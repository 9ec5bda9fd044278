"""What each message of a round says, and how long it may be.

A round has six exchanges; each is a request of the coordinator and the reply of a site. A seventh, ABANDON
and ABORT, closes an attempt that failed. ``TABLE`` lists the fourteen messages in that order with the number
of the exchange, the type on the wire and the byte limit.

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
    "abandon", "abort",
]  # fmt: skip

SHARE_BYTES: Final = 33
MESSAGE_LIMIT_BYTES: Final = 1 << 26
"""No message is longer, whatever the number of sites; arrays travel beside messages."""
MAX_LINKS: Final = 100
"""A site that missed more rounds than this in a row cannot rejoin the study."""
CIPHERTEXT_BYTES: Final = 2 * SHARE_BYTES + 16

Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]
AgreementKey = Annotated[bytes, Meta(min_length=32, max_length=32)]
Share = Annotated[bytes, Meta(min_length=SHARE_BYTES, max_length=SHARE_BYTES)]
Ciphertext = Annotated[bytes, Meta(min_length=CIPHERTEXT_BYTES, max_length=CIPHERTEXT_BYTES)]
Size = Annotated[int, Meta(ge=1, le=2**40)]


class Body(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What every message's content has in common."""


class Start(Body, frozen=True):
    """1, coordinator: the round begins. The state itself travels beside it where there are links."""

    roster: bytes
    """The roster as the authority signed it."""
    state: Digest
    """Digest of the state that the round starts from."""
    accepts: tuple[bytes, ...]
    """ACCEPT envelopes of the last round."""
    links: tuple[tuple[bytes, ...], ...]
    """For a site that missed rounds: ACCEPT envelopes of each of them, oldest round first."""
    hello: bytes
    """The last HELLO that this site sent, as the coordinator has it; empty where it has none."""


class Hello(Body, frozen=True):
    """1, site: takes part with these one-attempt X25519 keys."""

    channel_key: AgreementKey
    mask_key: AgreementKey
    state: Digest
    ledger_head: Digest
    """Hash of the ledger's last row."""


class Cohort(Body, frozen=True):
    """2, coordinator: everybody's HELLO, and who has closed the attempts before."""

    hellos: tuple[bytes, ...]
    aborts: tuple[bytes, ...]
    """ABORT envelopes of the round's earlier attempts, by attempt and name in ascending order."""


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
    """6, coordinator: length and digest of the sum.

    The sum travels beside it; under ``verify = full`` the masked vectors of all survivors do instead, one
    after the other.
    """

    size: Size
    digest: Digest
    opens: tuple[bytes, ...]
    """OPEN envelopes of at least t survivors under ``verify = full``; else none."""


class Accept(Body, frozen=True):
    """6, site: from this start, with these survivors, the round leads there."""

    survivors: tuple[Name, ...]
    start: Digest
    next: Digest


class Abandon(Body, frozen=True):
    """A, coordinator: the attempt failed; will you ever open it?"""


class Abort(Body, frozen=True):
    """A, site: "I have not opened this attempt and never will". Covers no transcript."""


NO_TRANSCRIPT: Final = bytes(32)
"""What ABANDON and ABORT cover in place of a transcript: they hold whatever view of the attempt one has."""


@dataclass(frozen=True, slots=True)
class Row:
    """One message of the protocol, and the longest that it may be: see ``limit_bytes``."""

    exchange: int
    type: MessageType
    fixed: int
    per_site: int
    per_pair: int = 0
    rounds: int = 0
    """How many rounds' ACCEPTs of all sites it may carry besides."""

    def limit_bytes(self, sites: int) -> int:
        """The longest that this message may be in a study of ``sites`` sites."""
        accepts = sites * (384 + 48 * sites)
        longest = self.fixed + sites * (self.per_site + sites * self.per_pair) + self.rounds * accepts
        return min(longest, MESSAGE_LIMIT_BYTES)


TABLE: Final[Mapping[type[Body], Row]] = {
    Start: Row(1, "start", 1024 + SIGNED_LIMIT_BYTES, 0, rounds=1 + MAX_LINKS),
    Hello: Row(1, "hello", 512, 0),
    Cohort: Row(2, "cohort", 512, 512 + 4 * 384),
    Deal: Row(2, "deal", 512, 128),
    Envelopes: Row(3, "envelopes", 512, 512, 128),
    Masked: Row(3, "masked", 512, 0),
    Survivors: Row(4, "survivors", 512, 512),
    Confirm: Row(4, "confirm", 512, 0),
    Confirms: Row(5, "confirms", 512, 512),
    Open: Row(5, "open", 512, 48),
    Result: Row(6, "result", 512, 512, 48),
    Accept: Row(6, "accept", 512, 48),
    Abandon: Row(7, "abandon", 512, 0),
    Abort: Row(7, "abort", 512, 0),
}
PARCEL: Final = Row(2, "deal", 1024, 256)
EXCHANGES: Final[tuple[MessageType, ...]] = (
    "start",
    "cohort",
    "envelopes",
    "survivors",
    "confirms",
    "result",
    "abandon",
)
"""The coordinator's requests: six of a round in order, and the one that closes a failed attempt."""
