"""One round at a site: from the state it starts from to the state it accepts.

``run_round`` is one attempt, written as the conversation that it is: each ``yield`` sends a reply and waits
for the coordinator's next request. The numbers are those of the six exchanges. ``resume_round`` goes on with
an attempt whose update has left, from what the site has on record.

Not here: the cryptography and its checks (``secagg``), training (``tasks``), what is approved (``site``).

Rules:

* Nothing is computed from patients before the ledger holds the spend.
* An error ends the conversation; whatever had to be remembered was recorded before it was sent. Once the
  update has left, the next request resumes it.

Privacy: what leaves is what ``SiteSession`` returns: keys, shares, and one masked vector.

References: ARCHITECTURE.md, "A round, message by message"; Bonawitz et al., CCS 2017, figure 4.
"""

from __future__ import annotations

from collections.abc import Generator

from wardround_client.study import Attempt, SiteStudy
from wardround_common.messages import MessageType, Packet, peek_request

Conversation = Generator[Packet, Packet, None]


def run_round(study: SiteStudy, start: Packet) -> Conversation:
    """Take part in one attempt at a round.

    Args:
        study: The approved study.
        start: The coordinator's START.

    Yields:
        HELLO, DEAL, MASKED, CONFIRM, OPEN and ACCEPT; wants COHORT, ENVELOPES, SURVIVORS, CONFIRMS, RESULT.

    Raises:
        WardroundError: A check failed; the conversation is over.
    """
    attempt = study.begin(start)  # 1: verified, from the state that this site accepted last
    vector = study.output(attempt)  # spends, then trains or counts, once per round
    cohort = yield attempt.session.hello(ledger_head=study.ledger_head())
    envelopes = yield attempt.session.deal(cohort)  # 2
    request = yield attempt.session.masked(envelopes, vector)  # 3
    yield from _finish(study, attempt, request)


def resume_round(study: SiteStudy, request: Packet) -> Conversation:
    """Go on with the attempt that a request belongs to, if this site has sent its update in it.

    Args:
        study: The approved study.
        request: SURVIVORS, CONFIRMS or RESULT, whichever the coordinator asks again.

    Yields:
        As ``run_round``, from CONFIRM on.

    Raises:
        WardroundError: There is nothing to go on with, or a check failed.
    """
    yield from _finish(study, study.resume(request), request)


def _finish(study: SiteStudy, attempt: Attempt, request: Packet) -> Conversation:
    """The exchanges after the update has left; the coordinator may ask for any of them again."""
    session = attempt.session
    while True:
        match _type_of(study, request):
            case "survivors":
                request = yield session.confirm(request)  # 4
            case "confirms":
                request = yield session.open(request)  # 5
            case _:
                bound = study.sum_bound(attempt.kind, session.survivors)
                total = session.result(request, bound=bound)  # 6
                request = yield session.accept(study.following(attempt, total))


def _type_of(study: SiteStudy, request: Packet) -> MessageType:
    return peek_request(request.envelope, sites=study.sites).type
