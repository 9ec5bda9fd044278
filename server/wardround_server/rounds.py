"""One round at the coordinator: six exchanges, and the sum that they open.

``run_round`` tries a round until it is accepted, void, or out of attempts; ``_attempt`` is one try, in the
order in which the messages go. The numbers are those of the six exchanges.

Not here: the cryptography and its checks (``secagg``), when there is another attempt (``course``), how a
request is sent and its reply written down (``exchanges``), what follows from a sum (``study``).

Rules:

* A failure before ENVELOPES are handed out costs nothing and is retried with fresh keys.
* A failure after ENVELOPES and before CONFIRMS is retried when enough members of the cohort have sent ABORT
  for *every* such attempt; until then the round waits for them.
* Once CONFIRMS have been handed out a site may have opened, and there is no other attempt: the round waits
  for enough OPENs.
* Waiting ends at the plan's deadline, which counts from the start of the round or of the coordinator. What
  can then neither end nor be tried again is void: its number is never used again, and the sites keep its
  spend.
* A coordinator that was stopped goes on with the attempt that was under way: the same requests, byte for
  byte.

Privacy: of what the sites trained, this module handles masked vectors and one sum over at least the minimum
cohort.

References: ARCHITECTURE.md, "A round, message by message"; Bonawitz et al., CCS 2017, figure 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from wardround_common.errors import SecAggError
from wardround_common.messages import Packet
from wardround_common.secagg.refusals import refuse
from wardround_common.secagg.ring import Ring
from wardround_server.course import Attempt, Course, RoundSetup
from wardround_server.exchanges import by_site
from wardround_server.journal import AttemptLog, corrupt
from wardround_server.observer import RoundRecord
from wardround_server.secagg import CoordinatorSession
from wardround_server.sending import Line

ACCEPT_PATIENCE_S: Final = 60.0
"""How long a round waits for more ACCEPTs once it has one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundOutcome:
    """How a round ended.

    Attributes:
        record: What happened.
        total: The sum, [P]; None where the round is void.
        next: Digest of what was accepted; None where the round is void.
        accepts: The ACCEPTs by site.
        evidence: ACCEPTs by site that contradict others.
    """

    record: RoundRecord
    total: Ring | None = None
    next: bytes | None = None
    accepts: Mapping[str, bytes] = field(default_factory=dict)
    evidence: Mapping[str, bytes] = field(default_factory=dict)


def run_round(setup: RoundSetup, line: Line) -> RoundOutcome:
    """Run one round to its end; a round that fails is void and no error.

    Raises:
        StorageError: ``journal.*``.
    """
    course = Course(setup, line)
    for number in course.numbers():
        attempt = course.begin(number)
        try:
            total, digest = _attempt(attempt, course)
        except SecAggError as error:
            course.failed(attempt, error)
            if attempt.session.may_be_opened:
                return RoundOutcome(record=course.record, evidence=attempt.session.evidence)
        else:
            session = attempt.session
            return RoundOutcome(
                record=course.record,
                total=total,
                next=digest,
                accepts=session.accepted,
                evidence=session.evidence,
            )
    return RoundOutcome(record=course.record)


def _attempt(attempt: Attempt, course: Course) -> tuple[Ring, bytes]:
    """One attempt: the sum and what it leads to, once at least one site has accepted it.

    Raises:
        SecAggError: Too few sites, a dishonest one, or nobody accepts.
    """
    session, exchanges, record = attempt.session, attempt.exchanges, course.record
    exchanges.greet(
        partial(_start, attempt, course.setup),
        lambda hello, _: session.take_hello(hello),
        enough=lambda: len(session.greeted) >= course.wanted,
        sites=attempt.terms.sites,
        until=course.until,
    )  # 1
    requests = session.cohort(course.aborts)
    record.cohort = tuple(requests)
    exchanges.ask("cohort", requests, by_site(session.take_deal))  # 2
    exchanges.collect(session.envelopes(), session, keep=attempt.terms.verify_full)  # 3
    exchanges.ask("survivors", session.survivors(), by_site(session.take_confirm))  # 4
    exchanges.ask(
        "confirms",
        session.confirms(),
        by_site(session.take_open),
        enough=lambda: len(session.opened) >= session.threshold,
        until=course.until,
    )  # 5
    total = session.aggregate()
    record.survivors = session.surviving
    digest = course.setup.outcome(total, session.surviving)
    exchanges.ask(
        "result",
        session.result(partial(_vector, attempt.log)),
        by_site(partial(session.take_accept, next_digest=digest)),
        enough=_Patience(session, course).is_over,
        until=course.until,
        closing=False,
    )  # 6
    record.accepted = tuple(session.accepted)
    course.blame(session)
    if not record.accepted:
        raise refuse("not_accepted", "no site accepted the result")
    return total, digest


class _Patience:
    """How long RESULT is asked again: until t sites have accepted, or for a while after the first has.

    Sites that have recorded their ACCEPT go on from the next state only: without a single ACCEPT the
    coordinator would stay behind all of them.
    """

    def __init__(self, session: CoordinatorSession, course: Course) -> None:
        self._session = session
        self._now = course.now
        self._until: float | None = None

    def is_over(self) -> bool:
        """Whether the ACCEPTs taken are enough."""
        accepts = len(self._session.accepts)
        if accepts and self._until is None:
            self._until = self._now() + ACCEPT_PATIENCE_S
        return accepts >= self._session.threshold or (self._until is not None and self._now() >= self._until)


def _start(attempt: Attempt, setup: RoundSetup, site: str | None, everything: bool) -> Packet:
    welcome = setup.welcome(site, everything, attempt.terms.roster)
    return attempt.session.start(links=welcome.links, hello=welcome.hello, state=welcome.state)


def _vector(log: AttemptLog, site: str) -> Ring:
    vector = log.vector(site)
    if vector is None:
        raise corrupt(f"the upload of {site} is missing")
    return vector
