"""Secure aggregation at a site: what it checks, what it answers, and what it never does twice.

Privacy: only masked vectors and shares of one-attempt secrets leave; see ``session``.
"""

from wardround_client.secagg.announcement import Announcement, read_start
from wardround_client.secagg.links import follow
from wardround_client.secagg.record import ProtocolRecord
from wardround_client.secagg.rosters import newest_roster
from wardround_client.secagg.rows import AcceptedRound
from wardround_client.secagg.session import SiteSession
from wardround_client.secagg.vault import Vault

__all__ = [
    "AcceptedRound",
    "Announcement",
    "ProtocolRecord",
    "SiteSession",
    "Vault",
    "follow",
    "newest_roster",
    "read_start",
]
