"""What both ends know about a round before its first message.

Not here: the site's own limits (``thresholds.SecAggPolicy``), where the numbers come from (the rounds).

Privacy: names, digests and sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

from wardround_common.messages import RoundContext, Wire
from wardround_common.plan_parts import CipherName
from wardround_common.secagg import transcript
from wardround_common.secagg.ring import Word
from wardround_common.trust import Roster


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundTerms:
    """The terms of one attempt.

    Attributes:
        context: Which attempt.
        roster: Current members, as the authority signed them.
        sites: Names of the plan's sites.
        minimum_cohort: The plan's smallest cohort.
        state: Digest of the state that the round starts from.
        size: P, the length of the vector that is summed.
        word: The type of its words.
        cipher: Of the masks.
        degree: Of the mask graph.
        verify_full: Whether RESULT carries all masked vectors, so that every site recomputes the sum.
    """

    context: RoundContext
    roster: Roster
    sites: frozenset[str]
    minimum_cohort: int
    state: bytes
    size: int
    word: Word
    cipher: CipherName
    degree: int
    verify_full: bool

    @property
    def wire(self) -> Wire:
        """Seals and opens this attempt's envelopes."""
        return Wire(self.context, self.roster, self.sites)

    @property
    def t0(self) -> bytes:
        """The transcript that START and HELLO cover."""
        return transcript.t0(self.context, roster=self.roster.digest, state=self.state)
