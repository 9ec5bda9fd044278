"""Whether a study can run: its plan, the roster and the sites that joined fit together.

Rules: looks at what the coordinator has on disk; what a site thinks of the plan, its own answers say.

Privacy: names and public keys of institutions.
"""

from __future__ import annotations

import datetime

from wardround_common.errors import ConfigError
from wardround_common.plan import StudyPlan
from wardround_common.trust import COORDINATOR, Roster, open_roster
from wardround_server.home import CoordinatorHome


def check_ready(home: CoordinatorHome, plan: StudyPlan, *, today: datetime.date) -> Roster:
    """The roster that the study would run with, if it can run.

    Args:
        home: The coordinator's folder.
        plan: The study's plan; not expired.
        today: The day.

    Raises:
        ConfigError: ``coordinator.no_roster``, ``coordinator.other_roster``, ``study.other_lead``,
            ``study.not_in_roster``, ``study.not_joined`` or ``study.other_key``.
        ProtocolError, ConsentError: The roster is another authority's, or has expired.
    """
    roster = open_roster(home.roster(), authority_key=bytes.fromhex(plan.authority_key), today=today)
    if roster.coordinator != home.signer.key.public:
        raise _unfit(
            f"the roster names another {COORDINATOR}", "sign one with this coordinator's card", "other_roster"
        )
    if roster.lead != bytes.fromhex(plan.lead_key):
        raise _unfit(
            "the roster names another lead than signed the plan", "sign one with its card", "other_lead"
        )
    listed = {member.name: member.key for member in roster.sites}
    joined = {card.name: card.key for card in home.cards()}
    wanted = [site.name for site in plan.sites]
    if missing := [name for name in wanted if name not in joined]:
        raise ConfigError(
            f"{', '.join(missing)} did not join yet",
            remedy="Send them join codes of `wardround-coordinator enrol`.",
            code="study.not_joined",
        )
    if missing := [name for name in wanted if name not in listed]:
        raise _unfit(
            f"the roster does not name {', '.join(missing)}", "sign one with their cards", "not_in_roster"
        )
    if other := [name for name in wanted if listed[name] != joined[name]]:
        raise _unfit(
            f"the roster gives {', '.join(other)} another key than joined here",
            "compare fingerprints with them, and sign one with their cards",
            "other_key",
        )
    return roster


def _unfit(message: str, wish: str, what: str) -> ConfigError:
    return ConfigError(
        message,
        remedy=f"Ask the authority to {wish}, and hand it over with `wardround-coordinator roster`.",
        code=f"study.{what}",
    )
