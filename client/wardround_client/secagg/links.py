"""How a site that was away finds its way to the present: a chain of what other sites accepted.

A link is the ACCEPTs of one round by more sites than may collude: at least one of them is honest, has
verified that round's sum and computed the state after it. A chain of links leads from the state that this
site accepted last to the one that the next round starts from, with no gap.

Not here: the bytes of the state (``study`` compares their digest), what is recorded (``record``).

Rules: links up to the site's own last round say nothing new and are passed over; nothing older is followed.

Privacy: reads only what others sent.

References: ARCHITECTURE.md, "A round, message by message", 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from wardround_common.messages import Accept, Opened, Wire
from wardround_common.secagg.refusals import refuse


def follow(
    links: Sequence[Sequence[bytes]],
    *,
    wire: Wire,
    site: str,
    state: bytes,
    after: int,
    max_colluders: int,
) -> tuple[int, bytes]:
    """The round and the state that a chain of links leads to.

    Args:
        links: ACCEPT envelopes of each round, oldest round first.
        wire: Opens ACCEPTs of this study under the current roster.
        site: This site, whose own ACCEPTs prove nothing to itself.
        state: Digest of the state that this site accepted last.
        after: The last round that it accepted.
        max_colluders: c; a link needs c + 1 other sites.

    Raises:
        ProtocolError: An ACCEPT is not what it seems, or ``secagg.link_disagrees``, ``secagg.link_outsider``,
            ``secagg.link_too_thin``, ``secagg.link_old``, ``secagg.link_gap``.
    """
    followed = False
    for link in links:
        accepts = [wire.open_past(data, Accept) for data in link]
        round_number, kind, body = _agreed(accepts)
        if outside := [accept.sender for accept in accepts if accept.sender not in body.survivors]:
            raise refuse("link_outsider", f"{outside[0]} accepted a round that it did not survive")
        others = {accept.sender for accept in accepts} - {site}
        if len(others) <= max_colluders:
            raise refuse(
                "link_too_thin",
                f"expected ACCEPTs of round {round_number} from {max_colluders + 1} other sites, "
                f"got {len(others)}",
            )
        if round_number <= after and followed:
            raise refuse("link_old", f"round {round_number} does not come after round {after}")
        if round_number <= after:
            continue
        if body.start != state:
            raise refuse(
                "link_gap", f"round {round_number} started from another state than the one before it"
            )
        followed, after, state = True, round_number, body.next if kind == "train" else body.start
    return after, state


def _agreed(accepts: Sequence[Opened[Accept]]) -> tuple[int, str, Accept]:
    """Round, kind and content that all ACCEPTs of a link have in common."""
    found = {(accept.context.round, accept.context.kind, accept.body) for accept in accepts}
    if len(found) != 1:
        raise refuse("link_disagrees", "the ACCEPTs of a link are not of one round with one outcome")
    return found.pop()
