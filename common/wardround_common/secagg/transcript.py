"""The running hash over everything that the parties of an attempt have agreed to.

| transcript | over | covered by |
|---|---|---|
| T0 | plan digest, round, kind, attempt, roster digest, state digest | START, HELLO, COHORT |
| T1 | T0, HELLOs by site | DEAL, ENVELOPES |
| T2 | T1, DEALs (dealers and all commitments) by site | MASKED, SURVIVORS |
| T3 | T2, MASKEDs (signed upload digests) by site | CONFIRM, CONFIRMS, OPEN, RESULT, ACCEPT |

Whole envelopes are hashed, signatures included, in ascending order of their senders. A message of the
coordinator covers the same transcript as the messages that it carries.

Not here: whether the order is right (``messages.envelope``).

Privacy: hashes of messages.

References: ARCHITECTURE.md, "A round, message by message".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from wardround_common.canonical import digest, encode
from wardround_common.messages import Body, Deal, Hello, Masked, Opened, RoundContext

B = TypeVar("B", bound=Body)


def t0(context: RoundContext, *, roster: bytes, state: bytes) -> bytes:
    """T0: what the round is about, from the digests of roster and start state."""
    return digest("secagg T0", encode(context), roster, state)


def t1(before: bytes, hellos: Mapping[str, Opened[Hello]]) -> bytes:
    """T1: who is in the cohort, with which keys."""
    return _extend("secagg T1", before, hellos)


def t2(before: bytes, deals: Mapping[str, Opened[Deal]]) -> bytes:
    """T2: who dealt, and the commitments."""
    return _extend("secagg T2", before, deals)


def t3(before: bytes, uploads: Mapping[str, Opened[Masked]]) -> bytes:
    """T3: whose uploads are in the sum."""
    return _extend("secagg T3", before, uploads)


def _extend(label: str, before: bytes, messages: Mapping[str, Opened[B]]) -> bytes:
    return digest(label, before, *(messages[name].data for name in sorted(messages)))
