"""Rosters as people and scripts read them: members, fingerprints, dates, what changed.

Rules:

* ``expiring`` from seven days before the last day, ``expired`` after it.
* A roster whose signature nobody could check is never shown without saying so.

Not here: checks (``records``).

Privacy: names and public keys of institutions only.
"""

from __future__ import annotations

import datetime

from msgspec import Struct

from wardround_common.authority.members import LEAD, Membership, Retired, members_of
from wardround_common.identity import fingerprint
from wardround_common.trust import COORDINATOR, Roster

WARN_DAYS = 7
_UNCHECKED = "NOT CHECKED; give --authority, the authority's public key as the plan names it"


class Overview(Struct, frozen=True, kw_only=True):
    """What is known of a roster or of an authority's folder."""

    authority: bytes | None
    """The key that the signature was checked with; None: it was not."""
    roster: Roster | None
    today: datetime.date
    retired: tuple[Retired, ...] = ()

    def as_data(self) -> dict[str, object]:
        """For scripts: what JSON can hold."""
        return {
            "authority": _key_data(self.authority) if self.authority else None,
            "signature": None if self.roster is None else "valid" if self.authority else "not checked",
            "roster": None if self.roster is None else self._roster_data(self.roster),
            "retired": [
                {"name": gone.name, "why": gone.why, "since_version": gone.version, **_key_data(gone.key)}
                for gone in self.retired
            ],
        }

    def as_text(self) -> str:
        """For people."""
        lines = [f"authority    {fingerprint(self.authority)}"] if self.authority else []
        if self.roster is None:
            lines.append("roster       none signed yet")
        else:
            if not self.authority:
                lines.append(f"signature    {_UNCHECKED}")
            lines += [f"roster       {describe(self.roster, self.today)}", ""]
            lines += table([(name, fingerprint(key), "") for name, key in members_of(self.roster).items()])
        if self.retired:
            lines += ["", "These keys never come back:"]
            lines += table(
                [
                    (gone.name, fingerprint(gone.key), f"{gone.why}, version {gone.version}")
                    for gone in self.retired
                ]
            )
        return "\n".join(lines)

    def _roster_data(self, roster: Roster) -> dict[str, object]:
        word, days = status(roster, self.today)
        return {
            "version": roster.version,
            "issued": roster.issued,
            "expires": roster.expires,
            "status": word,
            "days_left": days,
            "digest": roster.digest.hex(),
            "members": [
                {"name": name, "role": name if name in (COORDINATOR, LEAD) else "site", **_key_data(key)}
                for name, key in members_of(roster).items()
            ],
        }


def status(roster: Roster, today: datetime.date) -> tuple[str, int]:
    """``current``, ``expiring``, ``expired`` or ``not yet valid``, and the days that are left."""
    days = (datetime.date.fromisoformat(roster.expires) - today).days
    if days < 0:
        return "expired", days
    if today < datetime.date.fromisoformat(roster.issued):
        return "not yet valid", days
    return ("expiring" if days <= WARN_DAYS else "current"), days


def describe(roster: Roster, today: datetime.date) -> str:
    """Version, dates and what to do, in one line."""
    word, days = status(roster, today)
    left = {
        "expired": f"EXPIRED {-days} {_days(-days)} ago: sign a fresh one",
        "expiring": f"EXPIRES in {days} {_days(days)}: sign a fresh one"
        if days
        else "EXPIRES today: sign a fresh one",
        "not yet valid": "NOT YET VALID: check this machine's clock",
        "current": f"{days} {_days(days)} left",
    }[word]
    return f"version {roster.version}, {roster.issued} to {roster.expires}, {left}"


def changes(before: Membership, after: Membership) -> list[str]:
    """One line for each member of the next roster and each that leaves: name, fingerprint, what is new."""
    rows = []
    for name in sorted(after.keys, key=lambda name: (name not in (COORDINATOR, LEAD), name)):
        key, old = after.keys[name], before.keys.get(name)
        rows.append((name, fingerprint(key), "" if old == key else "NEW KEY" if old else "new"))
    for name in sorted(before.keys.keys() - after.keys.keys()):
        rows.append((name, fingerprint(before.keys[name]), "REVOKED"))
    return table(rows)


def table(rows: list[tuple[str, str, str]]) -> list[str]:
    """Rows of name, fingerprint and remark, in columns."""
    width = max((len(name) for name, _, _ in rows), default=0)
    return [f"  {name:<{width}}  {print_}  {remark}".rstrip() for name, print_, remark in rows]


def _key_data(key: bytes) -> dict[str, object]:
    return {"key": key.hex(), "fingerprint": fingerprint(key)}


def _days(count: int) -> str:
    return "day" if count == 1 else "days"
