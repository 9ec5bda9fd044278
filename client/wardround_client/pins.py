"""Whose key is whose, as people read it out over the phone: pins of names to fingerprints.

``trust.toml`` in the site's folder::

    [pins]
    "authority" = "0123 4567 89ab cdef 0123 4567 89ab cdef"

Rules:

* A name without a pin is believed as before; a name that is pinned is believed with that key and no other.
* A pin is replaced only where a person says so.
* A file that cannot be read, or says anything else, is refused, and with it every plan and every roster.

Not here: signatures (``wardround_common.trust``).

Privacy: names and fingerprints of institutions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from wardround_common.canonical import convert, read_toml
from wardround_common.errors import ConfigError, ConsentError
from wardround_common.files import OWNER_ONLY, check_private, write
from wardround_common.identity import fingerprint
from wardround_common.plan import StudyPlan
from wardround_common.plan_parts import Name
from wardround_common.trust import COORDINATOR, Roster

FILE: Final = "trust.toml"
AUTHORITY: Final = "authority"
LEAD: Final = "lead"
_GROUP: Final = 4

Fingerprint = Annotated[str, Meta(pattern=r"^[0-9a-f]{4}( [0-9a-f]{4}){7}\Z")]


class _Pins(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pins: dict[Name, Fingerprint]


class _Pin(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True)
class Pins:
    """The pins of a site.

    Args:
        home: The site's folder.
    """

    home: Path

    def all(self) -> dict[str, str]:
        """Fingerprints by name; read anew at every call.

        Raises:
            ConfigError, StorageError: The file cannot be read, is not as it is written, or open to others.
        """
        path = self.home / FILE
        if not path.exists() and not path.is_symlink():
            return {}
        tables = read_toml(path)
        check_private(path)
        return dict(convert(tables, _Pins, where=FILE).pins)

    def put(self, name: str, text: str, *, replace: bool) -> None:
        """Pin a name.

        Args:
            name: ``authority``, ``coordinator``, ``lead``, or a site's name.
            text: Its fingerprint as it was read out; spaces and capitals do not matter.
            replace: Whether another fingerprint may be replaced.

        Raises:
            ConfigError: ``trust.fingerprint``.
            ConsentError: ``trust.pinned``: the name has another one.
        """
        pin, pins = _pin(name, text), self.all()
        if pins.get(name, pin.fingerprint) != pin.fingerprint and not replace:
            raise ConsentError(
                f"{name} is pinned to {pins[name]}",
                remedy="If its key has really changed, ask by phone why, and give --replace.",
                code="trust.pinned",
            )
        lines = [f'"{one}" = "{value}"' for one, value in sorted((pins | {name: pin.fingerprint}).items())]
        write(self.home / FILE, ("[pins]\n" + "\n".join(lines) + "\n").encode(), mode=OWNER_ONLY)

    def check_plan(self, plan: StudyPlan) -> None:
        """Return only if a plan gives no pinned name another key.

        Raises:
            ConsentError: ``trust.other_key``.
        """
        keys = {AUTHORITY: bytes.fromhex(plan.authority_key), LEAD: bytes.fromhex(plan.lead_key)}
        self._check("plan", keys)

    def check_roster(self, roster: Roster) -> None:
        """Return only if a roster gives no pinned name another key.

        Raises:
            ConsentError: ``trust.other_key``.
        """
        self._check("roster", {member.name: member.key for member in roster.sites})
        self._check("roster", {COORDINATOR: roster.coordinator, LEAD: roster.lead})

    def _check(self, what: str, keys: dict[str, bytes]) -> None:
        pins = self.all()
        for name, key in keys.items():
            if (found := fingerprint(key)) != pins.get(name, found):
                raise ConsentError(
                    f"{name} is pinned to {pins[name]}, this {what} gives it the key {found}",
                    remedy=f"Ask {name} by phone which is right. If its key has really changed, pin the new "
                    f"one with `wardround-site trust DIR {name} FINGERPRINT --replace`.",
                    code="trust.other_key",
                )


def _pin(name: str, text: str) -> _Pin:
    digits = re.sub(r"\s", "", text).lower()
    groups = " ".join(digits[at : at + _GROUP] for at in range(0, len(digits), _GROUP))
    try:
        return msgspec.convert({"name": name, "fingerprint": groups}, _Pin)
    except msgspec.ValidationError as error:
        raise ConfigError(
            "expected a name as in plans, and a fingerprint of eight groups of four hexadecimal digits",
            remedy="Have it read out again: `wardround-site join` printed it, and `wardround-authority show` "
            "lists them all.",
            code="trust.fingerprint",
        ) from error
