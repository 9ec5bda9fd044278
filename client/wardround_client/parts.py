"""What belongs to a site rather than to one of its studies.

Privacy: holds the site's identity key and its databases; nothing leaves.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wardround_client.ledger import Ledger
from wardround_client.pins import Pins
from wardround_client.policy import SitePolicy
from wardround_client.scratch import Scratch
from wardround_client.tasks.interface import RuntimeFlags
from wardround_common.messages import Signer

RoundSecret = Callable[[bytes, int, str], bytes]
"""Makes the secret of (plan digest, round, kind), 32 bytes; from the operating system where deployed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteParts:
    """What belongs to the site rather than to one study.

    Attributes:
        signer: The site's name and identity key.
        policy: Its own limits.
        pins: Whose key is whose.
        ledger: Its ledger.
        scratch: Its scratch database.
        record_path: SQLite file of what it said.
        flags: What its machine is good at.
        today: Its clock.
        round_secret: Source of round secrets.
        entropy: Source of one-attempt keys.
    """

    signer: Signer
    policy: SitePolicy
    pins: Pins
    ledger: Ledger
    scratch: Scratch
    record_path: Path
    flags: RuntimeFlags
    today: Callable[[], datetime.date]
    round_secret: RoundSecret
    entropy: Callable[[int], bytes]
