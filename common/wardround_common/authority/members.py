"""Who is in the next roster: rules without any input or output.

Rules:

* Names are pinned: another key for a known name needs the authority's word (``replace``).
* One key, one member. The authority's own key is nobody's.
* A key that was revoked or replaced is retired: it never comes back, under no name.
* Members whose cards are not shown again stay in.

Not here: files and signatures (``folder``), proof of possession (``cards``).

Privacy: names and public keys of institutions only.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from wardround_common.authority.cards import Card
from wardround_common.errors import ConfigError, ConsentError
from wardround_common.plan_parts import Name
from wardround_common.trust import COORDINATOR, ROSTER_DAYS, Key, Member, Roster

LEAD = "lead"


class Retired(Struct, frozen=True, forbid_unknown_fields=True):
    """A key that counts no more, from roster ``version`` on."""

    name: Name
    key: Key
    version: Annotated[int, Meta(ge=1)]
    why: Literal["replaced", "revoked"]


class Membership(Struct, frozen=True):
    """Members by name, ``coordinator`` and ``lead`` among them, and the keys that never come back."""

    version: int = 0
    """Of the roster that says so; 0 before the first."""
    keys: dict[str, bytes] = {}
    retired: tuple[Retired, ...] = ()

    def admit(self, cards: Sequence[Card], *, replace: Collection[str], authority_key: bytes) -> Membership:
        """The members after ``cards`` came in, for the next roster.

        Args:
            cards: What ``open_card`` returned.
            replace: Names whose key may change, and must.
            authority_key: The authority's public key.

        Raises:
            ConsentError: ``authority.retired_key``, ``authority.key_changed``.
            ConfigError: ``authority.own_key``, ``authority.key_twice``, ``authority.two_cards``,
                ``authority.replace_unused``.
        """
        keys, retired, version = dict(self.keys), list(self.retired), self.version + 1
        unused = set(replace)
        seen: dict[str, bytes] = {}
        for card in cards:
            _check_key(card, self.retired, authority_key)
            if seen.setdefault(card.name, card.key) != card.key:
                raise ConfigError(
                    f"two cards of different keys are named {card.name}",
                    remedy="Ask the member by phone which fingerprint is its own, and leave the other out.",
                    code="authority.two_cards",
                )
            old = keys.get(card.name)
            if old is not None and old != card.key:
                if card.name not in replace:
                    raise ConsentError(
                        f"{card.name} is in the roster with another key",
                        remedy="Ask the member by phone whether it has a new key; if so, add "
                        f"--replace {card.name}.",
                        code="authority.key_changed",
                    )
                retired.append(Retired(card.name, old, version, "replaced"))
                unused.discard(card.name)
            keys[card.name] = card.key
        for card in cards:
            _check_key(card, retired, authority_key)
        if unused:
            raise ConfigError(
                f"--replace {' '.join(sorted(unused))}: no card with another key is given",
                remedy="Give the member's new card, or leave --replace out.",
                code="authority.replace_unused",
            )
        _check_apart(keys)
        return Membership(version, keys, tuple(retired))

    def revoke(self, name: str) -> Membership:
        """The members without the site ``name``, whose key never comes back, for the next roster.

        Raises:
            ConfigError: ``authority.no_such_member``, ``authority.needs_replacement``.
        """
        if name not in self.keys:
            raise ConfigError(
                f"{name} is not in the roster; members are: {', '.join(sorted(self.keys)) or 'none'}",
                remedy="Check the name with `wardround-authority show`.",
                code="authority.no_such_member",
            )
        sites = self.keys.keys() - {COORDINATOR, LEAD}
        if name not in sites or len(sites) == 1:
            what = "a roster must name at least one site" if name in sites else f"a roster must name a {name}"
            option = "--sites" if name in sites else f"--{name}"
            raise ConfigError(
                f"{name} cannot be revoked alone: {what}",
                remedy=f"Sign a roster with its new card: sign-roster {option} NEW.card --replace {name}.",
                code="authority.needs_replacement",
            )
        version = self.version + 1
        retired = (*self.retired, Retired(name, self.keys[name], version, "revoked"))
        return Membership(version, {k: v for k, v in self.keys.items() if k != name}, retired)

    def roster(self, *, today: datetime.date, days: int) -> Roster:
        """The roster of these members, valid from ``today`` for ``days`` days.

        Raises:
            ConfigError: ``authority.incomplete``; ``authority.days``.
        """
        sites = tuple(
            Member(name, key) for name, key in sorted(self.keys.items()) if name not in (COORDINATOR, LEAD)
        )
        for name, found in (
            (COORDINATOR, COORDINATOR in self.keys),
            (LEAD, LEAD in self.keys),
            ("site", sites),
        ):
            if not found:
                raise ConfigError(
                    f"the roster has no {name}",
                    remedy=f"Give the card with {'--sites' if name == 'site' else f'--{name}'}.",
                    code="authority.incomplete",
                )
        if not 1 <= days <= ROSTER_DAYS:
            raise ConfigError(
                f"a roster lasts 1 to {ROSTER_DAYS} days, not {days}",
                remedy="Sign a fresh roster before this one expires; members stay in.",
                code="authority.days",
            )
        return Roster(
            version=self.version,
            issued=today.isoformat(),
            expires=(today + datetime.timedelta(days)).isoformat(),
            sites=sites,
            lead=self.keys[LEAD],
            coordinator=self.keys[COORDINATOR],
        )


def members_of(roster: Roster) -> dict[str, bytes]:
    """Key by name, coordinator and lead first."""
    sites = {member.name: member.key for member in roster.sites}
    return {COORDINATOR: roster.coordinator, LEAD: roster.lead, **sites}


def _check_key(card: Card, retired: Sequence[Retired], authority_key: bytes) -> None:
    if card.key == authority_key:
        raise ConfigError(
            f"the card of {card.name} has the authority's own key",
            remedy="Ask the member for a key of its own; the authority's key signs rosters only.",
            code="authority.own_key",
        )
    for gone in retired:
        if card.key == gone.key:
            raise ConsentError(
                f"the key of {card.name} was {gone.why} with roster version {gone.version}, "
                f"as the key of {gone.name}",
                remedy="Ask the member to make a new identity and send its card.",
                code="authority.retired_key",
            )


def _check_apart(keys: dict[str, bytes]) -> None:
    owner: dict[bytes, str] = {}
    for name, key in keys.items():
        if owner.setdefault(key, name) != name:
            raise ConfigError(
                f"{owner[key]} and {name} have one key",
                remedy="Ask both by phone whose it is; each member needs a key of its own.",
                code="authority.key_twice",
            )
