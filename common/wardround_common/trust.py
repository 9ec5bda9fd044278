"""Who may take part: the roster that the authority signs, the plan that the lead signs.

* The authority, a key of the consortium that is kept offline, signs the roster: the sites, the lead and
  the coordinator with their identity keys. A roster expires after 30 days at most, so a revocation that
  somebody withholds does not last.
* The lead signs the plan. The plan names the authority's key: whoever approves a plan knows whose rosters
  count.

Not here: transport certificates, which say nothing about identity.

Privacy: names and public keys of institutions only.

References: ARCHITECTURE.md, "Who is trusted with what".
"""

from __future__ import annotations

import datetime
from typing import Annotated

from msgspec import Meta, Struct

from wardround_common.canonical import decode, digest, encode
from wardround_common.errors import ConsentError, ProtocolError
from wardround_common.identity import SigningKey, verify
from wardround_common.plan import StudyPlan
from wardround_common.plan_parts import Day, Name

COORDINATOR = "coordinator"
ROSTER_DAYS = 30
SIGNED_LIMIT_BYTES = 1 << 20

Key = Annotated[bytes, Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]


class Member(Struct, frozen=True, forbid_unknown_fields=True):
    """A site's name and identity key."""

    name: Name
    key: Key


class Roster(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose signatures count, and until when (the day of expiry included)."""

    version: Annotated[int, Meta(ge=1)]
    issued: Day
    expires: Day
    sites: Annotated[tuple[Member, ...], Meta(min_length=1, max_length=1000)]
    lead: Key
    coordinator: Key

    @property
    def digest(self) -> bytes:
        """32 bytes that every round's transcript starts from."""
        return digest("roster", encode(self))

    def key_of(self, sender: str) -> bytes:
        """The identity key of a site, or of the coordinator under its wire name.

        Raises:
            ProtocolError: ``trust.stranger``.
        """
        if sender == COORDINATOR:
            return self.coordinator
        for member in self.sites:
            if member.name == sender:
                return member.key
        raise ProtocolError(
            "the sender is not in the roster that the authority signed",
            remedy="Ask the authority for a roster that names this site, or find out who is speaking.",
            code="trust.stranger",
        )


class Signed(Struct, frozen=True, forbid_unknown_fields=True):
    """Canonical bytes of an object and a signature over them."""

    body: bytes
    signature: Signature


def plan_digest(plan: StudyPlan) -> bytes:
    """The 32 bytes that a site approves and that every message of the study carries."""
    return digest("plan", encode(plan))


def sign_roster(roster: Roster, authority: SigningKey) -> bytes:
    """The roster as the authority hands it out."""
    body = encode(roster)
    return encode(Signed(body, authority.sign("roster", body)))


def sign_plan(plan: StudyPlan, lead: SigningKey) -> bytes:
    """The plan as the lead hands it out."""
    body = encode(plan)
    return encode(Signed(body, lead.sign("plan", body)))


def open_roster(data: bytes, *, authority_key: bytes, today: datetime.date, newest: int = 0) -> Roster:
    """The roster in ``data``, if it is the authority's, current and not older than one seen before.

    Args:
        data: What ``sign_roster`` returned.
        authority_key: The key that the plan names.
        today: The reader's own day.
        newest: Highest roster version that the reader has seen.

    Raises:
        ProtocolError: Malformed or not signed by the authority; two members of one name or key.
        ConsentError: ``trust.roster_expired`` or ``trust.roster_stale``.
    """
    signed = decode(data, Signed, limit_bytes=SIGNED_LIMIT_BYTES)
    verify(authority_key, signed.signature, "roster", signed.body)
    roster = decode(signed.body, Roster, limit_bytes=SIGNED_LIMIT_BYTES)
    _check_members(roster)
    issued, expires = _day(roster.issued), _day(roster.expires)
    if today > expires or (expires - issued).days > ROSTER_DAYS or today < issued - datetime.timedelta(1):
        raise ConsentError(
            f"the roster is valid from {roster.issued} to {roster.expires} (at most {ROSTER_DAYS} days), "
            f"today is {today}",
            remedy="Ask the authority for a fresh roster, and check this machine's clock.",
            code="trust.roster_expired",
        )
    if roster.version < newest:
        raise ConsentError(
            f"roster version {roster.version} is older than version {newest}, which was seen before",
            remedy="Ask the coordinator why it shows an old roster.",
            code="trust.roster_stale",
        )
    return roster


def recorded_roster(data: bytes) -> Roster:
    """The roster in ``data``, whose signature was checked before it was kept; nothing is checked again.

    Raises:
        ProtocolError: It cannot be read.
    """
    signed = decode(data, Signed, limit_bytes=SIGNED_LIMIT_BYTES)
    return decode(signed.body, Roster, limit_bytes=SIGNED_LIMIT_BYTES)


def open_plan(data: bytes, *, today: datetime.date) -> StudyPlan:
    """The plan in ``data``, if the lead that it names signed it and it has not expired.

    Raises:
        ProtocolError: Malformed or not signed by its lead.
        ConsentError: ``trust.plan_expired``.
    """
    signed = decode(data, Signed, limit_bytes=SIGNED_LIMIT_BYTES)
    plan = decode(signed.body, StudyPlan, limit_bytes=SIGNED_LIMIT_BYTES)
    verify(bytes.fromhex(plan.lead_key), signed.signature, "plan", signed.body)
    if today > _day(plan.expires):
        raise ConsentError(
            f"the plan expired on {plan.expires}, today is {today}",
            remedy="Ask the lead for a new plan.",
            code="trust.plan_expired",
        )
    return plan


def _check_members(roster: Roster) -> None:
    names = [member.name for member in roster.sites]
    keys = [member.key for member in roster.sites] + [roster.coordinator]
    if len(set(names)) != len(names) or len(set(keys)) != len(keys) or COORDINATOR in names:
        raise ProtocolError(
            "the roster names a site or a key twice",
            remedy="Ask the authority to sign a corrected roster.",
            code="trust.roster_ambiguous",
        )


def _day(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError as error:
        raise ProtocolError(
            "a date is not a day of the calendar",
            remedy="Ask the signer to correct the date.",
            code="trust.bad_day",
        ) from error
