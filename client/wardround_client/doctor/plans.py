"""Plans and rosters: what is approved, whether it can run, and until when.

Privacy: names, dates and fingerprints of institutions; whether there are images, not how many.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from wardround_client.doctor.finding import Finding, fail, ok, warn
from wardround_client.home import SiteHome
from wardround_client.pins import Pins
from wardround_client.secagg import newest_roster
from wardround_client.shelf import Shelf, Shelved
from wardround_common.authority.overview import describe, status
from wardround_common.authority.records import open_undated
from wardround_common.trust import plan_digest

WARN_DAYS = 14


def plans(home: SiteHome, today: datetime.date) -> Iterator[Finding]:
    """Every plan that is approved, and the newest roster that was seen for it."""
    approved = [found for found in Shelf(home.path).all() if found.approved]
    if not approved:
        remedy = "Add and approve one with `wardround-site plan`, when the site agrees to a study."
        yield warn("plans", "none is approved", remedy=remedy)
    for found in approved:
        Pins(home.path).check_plan(found.plan)
        yield _plan(found, today)
        yield from _roster(home, found, today)


def _plan(found: Shelved, today: datetime.date) -> Finding:
    subject, expires = f"plan of {found.plan.study}", found.plan.expires
    days = (datetime.date.fromisoformat(expires) - today).days
    if not found.catalogue.is_file():
        remedy = "Refuse it with `wardround-site plan refuse`: what it was approved on is gone."
        return fail(subject, "approved, and its images are not there", remedy=remedy)
    if days < 0:
        remedy = "Its images can be removed with `wardround-site data remove`."
        return warn(subject, f"approved, expired on {expires}", remedy=remedy)
    said = f"approved, images are there, until {expires}"
    remedy = "Ask the lead whether the study will have ended by then."
    return warn(subject, said, remedy=remedy) if days <= WARN_DAYS else ok(subject, said)


def _roster(home: SiteHome, found: Shelved, today: datetime.date) -> Iterator[Finding]:
    subject, record = f"roster of {found.plan.study}", home.path / "protocol.sqlite"
    signed = newest_roster(record, plan_digest(found.plan)) if record.is_file() else None
    if signed is None:
        yield ok(subject, "none has come yet, the first round brings it")
        return
    roster = open_undated(signed, bytes.fromhex(found.plan.authority_key))
    Pins(home.path).check_roster(roster)
    word, _ = status(roster, today)
    if word == "current":
        yield ok(subject, describe(roster, today))
    else:
        remedy = "Ask the coordinator whether the authority has signed a fresh one; rounds need it."
        yield warn(subject, describe(roster, today).replace(": sign a fresh one", ""), remedy=remedy)
