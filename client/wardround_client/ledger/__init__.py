"""The site's record of what its patients have spent: append-only, hash-chained, never forgetting.

``records`` says what is written down, ``history`` what follows from it, ``limits`` and ``refusals`` what is
refused, ``accounts`` what people read, ``database``, ``schema`` and ``members`` keep it on disk, ``book``
joins them, ``store`` is what a round uses.

Not here: the computation of an epsilon (``wardround_common.accounting``), secrets and outputs themselves (the
scratch database), what was said to whom (the audit).

Privacy: a ledger says which pseudonymous patients took part in what; it stays at the site. Its head hash
leaves.
"""

from wardround_client.ledger.accounts import Account
from wardround_client.ledger.limits import Lifetime, Limits, SideEpsilon, StudyCost
from wardround_client.ledger.records import TEST, TRAIN, VALIDATION, Claim, Output, Reservation, Spend
from wardround_client.ledger.store import Ledger

__all__ = [
    "TEST",
    "TRAIN",
    "VALIDATION",
    "Account",
    "Claim",
    "Ledger",
    "Lifetime",
    "Limits",
    "Output",
    "Reservation",
    "SideEpsilon",
    "Spend",
    "StudyCost",
]
