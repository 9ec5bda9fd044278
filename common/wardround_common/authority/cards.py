"""Identity cards: how a member's key reaches the authority.

A card holds a name and a public identity key, signed by that key. Who made it has the private key.

Rules:

* The name says the role: ``coordinator``, ``lead``, and every other name is a site's.
* A key of small order is refused: everybody can sign for it.
* A card proves possession and nothing else. Whose key it is, people settle by reading the fingerprint to
  each other. It therefore need not name the authority, nor a day: an old card is a true card until its key
  is retired.

Not here: whether the member may come in (``members``).

Privacy: the name and public key of an institution.

References: RFC 8032 (Ed25519); RFC 2986 section 3 (proof of possession in a request).
"""

from __future__ import annotations

from msgspec import Struct

from wardround_common.canonical import decode, encode
from wardround_common.errors import ProtocolError
from wardround_common.identity import SigningKey, verify
from wardround_common.plan_parts import Name
from wardround_common.trust import Key, Signed

CARD_LIMIT_BYTES = 1024
_SIGN_BIT = 0x80
_SMALL_ORDER = frozenset(
    bytes.fromhex(text)
    for text in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)
"""Every encoding of a point whose order divides 8, without the sign bit."""


class Card(Struct, frozen=True, forbid_unknown_fields=True):
    """A member's name and identity key."""

    name: Name
    key: Key


def make_card(name: str, key: SigningKey) -> bytes:
    """The card that a member hands to the authority.

    Args:
        name: The site's name in plans, ``coordinator`` or ``lead``.
        key: The member's identity key; it stays here.

    Raises:
        ProtocolError: ``message.malformed`` if ``name`` is no lower-case identifier.
    """
    body = encode(Card(name, key.public))
    card = encode(Signed(body, key.sign("card", body)))
    open_card(card)
    return card


def open_card(data: bytes) -> Card:
    """The card in ``data``, if the owner of its key signed it.

    Raises:
        ProtocolError: Malformed or too long; ``card.weak_key``; ``identity.bad_signature``.
    """
    signed = decode(data, Signed, limit_bytes=CARD_LIMIT_BYTES)
    card = decode(signed.body, Card, limit_bytes=CARD_LIMIT_BYTES)
    if bytes([*card.key[:-1], card.key[-1] & ~_SIGN_BIT]) in _SMALL_ORDER:
        raise ProtocolError(
            f"the card of {card.name} has a key that everybody can sign for",
            remedy="Ask the member to make a new identity with Wardround's own program.",
            code="card.weak_key",
        )
    verify(card.key, signed.signature, "card", signed.body)
    return card
