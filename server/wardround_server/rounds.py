"""One round at the coordinator: six exchanges, and the sum that they open.

``run_round`` tries a round until it is accepted, void, or out of attempts; ``_attempt`` is one try, in the
order in which the messages go. The numbers are those of the six exchanges.

Not here: the cryptography and its checks (``secagg``), what follows from a sum (``study``), Flower (``app``).

Rules:

* A site that does not answer, or whose answer is refused, has not answered: it drops out of the attempt.
* A failure before ENVELOPES are handed out costs nothing and is retried with fresh keys; a later one makes
  the round void: its number is never used again, and the sites keep its spend.
* A node is known by the HELLO that it sent; what its later replies claim is checked against that site's key.

Privacy: of what the sites trained, this module handles masked vectors and one sum over at least the minimum
cohort.

References: ARCHITECTURE.md, "A round, message by message"; Bonawitz et al., CCS 2017, figure 4.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from wardround_common.errors import ProtocolError, SecAggError
from wardround_common.logs import event
from wardround_common.messages import Packet, RoundContext, Signer
from wardround_common.secagg.ring import Ring
from wardround_common.secagg.terms import RoundTerms
from wardround_server.observer import Observer, RoundRecord, Traffic
from wardround_server.secagg import CoordinatorSession
from wardround_server.transport import Reply, Transport

Take = Callable[[Packet, str], str]


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundSetup:
    """What a round is run with.

    Attributes:
        terms: Makes the terms of an attempt from its context.
        context: The first attempt's context; later ones differ in the attempt's number.
        signer: The coordinator's identity.
        roster: The roster as the authority signed it.
        accepts: ACCEPT envelopes of the last round that was accepted.
        outcome: Digest that the round leads to, from the sum and the survivors; refuses an impossible sum.
        max_attempts: How often to try.
        timeout_s: Deadline of each exchange.
    """

    terms: Callable[[RoundContext], RoundTerms]
    context: RoundContext
    signer: Signer
    roster: bytes
    accepts: tuple[bytes, ...]
    outcome: Callable[[Ring, tuple[str, ...]], bytes]
    max_attempts: int
    timeout_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundOutcome:
    """How a round ended.

    Attributes:
        record: What happened.
        total: The sum, uint32 [P]; None where the round is void.
        accepts: The ACCEPTs, for the next START.
    """

    record: RoundRecord
    total: Ring | None
    accepts: tuple[bytes, ...]


def run_round(setup: RoundSetup, transport: Transport, observer: Observer) -> RoundOutcome:
    """Run one round to its end; a round that fails is void and no error."""
    record = RoundRecord(number=setup.context.round, kind=setup.context.kind)
    for attempt in range(1, setup.max_attempts + 1):
        record.attempts, record.void = attempt, ""
        context = RoundContext(
            plan_digest=setup.context.plan_digest, round=record.number, kind=record.kind, attempt=attempt
        )
        session = CoordinatorSession(
            setup.terms(context), signer=setup.signer, roster=setup.roster, accepts=setup.accepts
        )
        try:
            total = _attempt(session, setup, _Exchanges(transport, record, observer, setup.timeout_s))
        except SecAggError as error:
            record.void = error.code
            event(
                "round.failed", level=logging.WARNING, round=record.number, attempt=attempt, code=error.code
            )
            if session.may_have_masked:
                break
        else:
            return RoundOutcome(record=record, total=total, accepts=session.accepts)
    return RoundOutcome(record=record, total=None, accepts=())


def _attempt(session: CoordinatorSession, setup: RoundSetup, exchanges: _Exchanges) -> Ring:
    """One attempt: the sum, once at least one site has accepted what it leads to.

    Raises:
        SecAggError: Too few sites, a dishonest one, or nobody accepts.
    """
    record = exchanges.record
    exchanges.greet(session.start(), session.take_hello)  # 1
    requests = session.cohort()
    record.cohort = tuple(requests)
    exchanges.ask("cohort", requests, _by_site(session.take_deal))  # 2
    exchanges.ask("envelopes", session.envelopes(), _by_site(session.take_masked))  # 3
    exchanges.ask("survivors", session.survivors(), _by_site(session.take_confirm))  # 4
    exchanges.ask("confirms", session.confirms(), _by_site(session.take_open))  # 5
    total = session.aggregate()
    record.survivors = session.surviving
    next_digest = setup.outcome(total, session.surviving)
    take_accept = partial(session.take_accept, next_digest=next_digest)
    record.accepted = exchanges.ask("result", session.result(), _by_site(take_accept))  # 6
    if not record.accepted:
        raise SecAggError(
            "no site accepted the result",
            remedy="Look at the sites' error codes; the next round starts from the last accepted state.",
            code="secagg.not_accepted",
        )
    return total


def _by_site(take: Callable[..., str]) -> Take:
    return lambda packet, site: take(packet, site=site)


class _Exchanges:
    """Sends the requests of an attempt, takes the replies, and writes down bytes, seconds and refusals."""

    def __init__(
        self, transport: Transport, record: RoundRecord, observer: Observer, timeout_s: float
    ) -> None:
        self.record = record
        self._transport = transport
        self._observer = observer
        self._timeout_s = timeout_s
        self._node_of: dict[str, int] = {}

    def greet(self, start: Packet, take_hello: Callable[[Packet], str]) -> None:
        """Send START to every node, and learn from the HELLOs which site is where."""
        nodes = self._transport.nodes()

        def take(reply: Packet, node: str) -> str:
            site = take_hello(reply)
            self._node_of[site] = int(node)
            return site

        self._exchange("start", {str(node): (node, start) for node in nodes}, take, sites=())

    def ask(self, exchange: str, requests: Mapping[str, Packet], take: Take) -> tuple[str, ...]:
        """Send each site its request; returns the sites whose reply was taken."""
        addressed = {site: (self._node_of[site], packet) for site, packet in requests.items()}
        return self._exchange(exchange, addressed, take, sites=tuple(requests))

    def _exchange(
        self, exchange: str, requests: Mapping[str, tuple[int, Packet]], take: Take, *, sites: tuple[str, ...]
    ) -> tuple[str, ...]:
        began = time.monotonic()
        self._observer.exchange_began(self.record, exchange, sites)
        names = {node: name for name, (node, _) in requests.items()}
        taken = []
        for reply in self._transport.exchange(exchange, dict(requests.values()), timeout_s=self._timeout_s):
            name = names[reply.node]
            site = self._take(exchange, name, reply, take)
            if site is not None:
                taken.append(site)
                self._count(exchange, site, requests[name][1], reply)
                self._observer.replied(self.record, exchange, site)
        seconds = time.monotonic() - began
        self.record.seconds[exchange] = self.record.seconds.get(exchange, 0.0) + seconds
        return tuple(sorted(taken))

    def _take(self, exchange: str, name: str, reply: Reply, take: Take) -> str | None:
        """The site whose reply was taken, or None; the reason why not is written down."""
        code = reply.code
        if reply.packet is not None:
            try:
                return take(reply.packet, name)
            except ProtocolError as error:
                code = error.code
        self.record.refusals.append((exchange, name, code))
        event("exchange.refused", level=logging.WARNING, exchange=exchange, site=name, code=code)
        return None

    def _count(self, exchange: str, site: str, request: Packet, reply: Reply) -> None:
        assert reply.packet is not None  # only replies that were taken are counted
        self.record.traffic.append(
            Traffic(
                exchange=exchange,
                site=site,
                to_site_bytes=_size(request),
                from_site_bytes=_size(reply.packet),
            )
        )


def _size(packet: Packet) -> int:
    return len(packet.envelope) + (0 if packet.array is None else packet.array.nbytes)
