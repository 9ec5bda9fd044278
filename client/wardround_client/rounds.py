"""One round at a site: from the state it starts from to the state it accepts.

``run_round`` is one attempt, written as the conversation that it is: each ``yield`` sends a reply and waits
for the coordinator's next request. The numbers are those of the six exchanges.

Not here: the cryptography and its checks (``secagg``), training (``tasks``), what is approved (``site``).

Rules:

* Nothing is computed from patients before the ledger holds the spend.
* An error ends the attempt; whatever had to be remembered was recorded before it was sent.

Privacy: what leaves is what ``SiteSession`` returns: keys, shares, and one masked vector.

References: ARCHITECTURE.md, "A round, message by message"; Bonawitz et al., CCS 2017, figure 4.
"""

from __future__ import annotations

from collections.abc import Generator

from wardround_client.study import SiteStudy
from wardround_common.messages import Packet

Conversation = Generator[Packet, Packet, None]


def run_round(study: SiteStudy, start: Packet) -> Conversation:
    """Take part in one attempt at a round.

    Args:
        study: The approved study.
        start: The coordinator's START.

    Yields:
        HELLO, DEAL, MASKED, CONFIRM, OPEN and ACCEPT; wants COHORT, ENVELOPES, SURVIVORS, CONFIRMS, RESULT.

    Raises:
        WardroundError: A check failed; the attempt is over at this site.
    """
    session, context, state = study.begin(start)  # 1: verified, from the state that this site accepted last
    vector = study.output(context, state)  # spends, then trains or counts, once per round
    cohort = yield session.hello(ledger_head=study.ledger_head())
    envelopes = yield session.deal(cohort)  # 2
    survivors = yield session.masked(envelopes, vector)  # 3
    confirms = yield session.confirm(survivors)  # 4
    result = yield session.open(confirms)  # 5
    total = session.result(result, bound=study.sum_bound(context.kind, session.survivors))  # 6
    yield session.accept(study.following(context, state, total, survivors=session.survivors))
