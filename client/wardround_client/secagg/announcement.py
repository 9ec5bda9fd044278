"""What a START claims, before anything about it is verified.

The site needs the roster in START to verify START: it reads the claims, checks the roster against the
authority's key, builds the terms of the round from what it knows *itself*, and then lets the session verify
the message (``SiteSession.begin``).

Privacy: nothing leaves.
"""

from __future__ import annotations

from dataclasses import dataclass

from wardround_common.canonical import decode
from wardround_common.messages import TABLE, Packet, RoundContext, Start, peek


@dataclass(frozen=True, kw_only=True, slots=True)
class Announcement:
    """Unverified claims of a START.

    Attributes:
        context: Plan digest, round, kind and attempt.
        roster: What should be a roster signed by the authority.
        state: Digest of the state that the coordinator wants to start from.
    """

    context: RoundContext
    roster: bytes
    state: bytes


def read_start(start: Packet, *, sites: int) -> Announcement:
    """Decode a START **without verifying it**.

    Args:
        start: A packet from anywhere.
        sites: Number of sites of the plan; sets the byte limit.

    Raises:
        ProtocolError: ``message.*``.
    """
    envelope = peek(start.envelope, Start, sites=sites)
    body = decode(envelope.body, Start, limit_bytes=TABLE[Start].limit_bytes(sites))
    return Announcement(context=envelope.context, roster=body.roster, state=body.state)
