"""What is noted of a message that travels: where it belongs, its sizes, its digests.

Not here: what is noted of a decision, and when (each side's own module).

Privacy: sizes and digests of signed messages, and of masked vectors, which a digest does not unmask.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from wardround_common.messages import TABLE, Packet, RoundContext
from wardround_common.secagg.ring import vector_digest

REPLIES: Final[Mapping[str, str]] = {
    TABLE[request].type: TABLE[reply].type
    for request, reply in zip(list(TABLE)[::2], list(TABLE)[1::2], strict=True)
}
"""The type of the reply to each request."""


def place(study: str, context: RoundContext | None) -> dict[str, Any]:
    """The fields of a row that say where a message belongs.

    Args:
        study: The study's name; empty where nobody here knows its plan.
        context: The attempt; None where it is not known.
    """
    if context is None:
        return {"study": study}
    return {
        "study": study,
        "plan": context.plan_digest,
        "round": context.round,
        "kind": context.kind,
        "attempt": context.attempt,
    }


def summary(packet: Packet | None) -> dict[str, Any]:
    """The fields of a row that say how large a packet is, and which bytes it has; None: no bytes at all."""
    envelope = b"" if packet is None else packet.envelope
    found = {"size": len(envelope), "digest": hashlib.sha256(envelope).digest()}
    if packet is None or packet.array is None:
        return found
    array = packet.array
    return found | {"array_size": array.nbytes, "array_digest": vector_digest(array)}
