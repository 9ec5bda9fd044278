"""One exchange: requests out, replies in, each written down before anything follows from it.

``Exchanges`` serves one attempt. What was written down in an earlier life of the coordinator is taken first;
only sites whose reply is not there are asked.

Not here: which exchange comes when (``rounds``), the sending itself (``sending``), what a reply means
(``secagg``), the file (``journal``).

Rules:

* A site that does not answer, or whose answer is refused, has not answered. One that was *silent* is asked
  again where the caller says how many answers are enough and until when; one that refused is not.
* A node is known by the HELLO that it sent last; what its later replies claim is checked against that site's
  key.
* A node that starts from another state than the round, or is not the site that it was, gets one more START,
  with links from the first round on.

Privacy: handles signed messages and masked vectors; writes down sizes, times and codes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Final

from wardround_common.errors import ProtocolError
from wardround_common.messages import Packet
from wardround_server.clock import chances
from wardround_server.journal import AttemptLog, Recorded, corrupt
from wardround_server.observer import RoundRecord
from wardround_server.secagg import CoordinatorSession, FailedAttempt
from wardround_server.sending import Line, Sender, Take

StartFor = Callable[[str | None, bool], Packet]
"""START for a site (None: nobody knows who is at the node), with all links or only those that it needs."""

NOT_THIS_STATE: Final = "secagg.start_state"
NOT_THIS_SITE: Final = "message.other_sender"
"""What a site says to a START with the last HELLO of another: somebody else is at that node now."""


class Exchanges:
    """The exchanges of one attempt.

    Attributes:
        record: What is told of the round.
    """

    def __init__(self, line: Line, log: AttemptLog, record: RoundRecord) -> None:
        self.record = record
        self._line = line
        self._sender = Sender(line, log, record)
        self._log = log

    @property
    def codes(self) -> frozenset[str]:
        """Why replies of this attempt were refused, or sites refused requests."""
        return frozenset(self._sender.codes)

    def greet(
        self,
        start: StartFor,
        take_hello: Take,
        *,
        enough: Callable[[], bool],
        sites: Collection[str],
        until: float,
    ) -> None:
        """1: send START to every node, and learn from the HELLOs which site is where.

        Args:
            start: Makes a site's START.
            take_hello: Takes a HELLO.
            enough: Whether the HELLOs taken are enough; until then, missing sites are waited for.
            sites: The plan's sites.
            until: When the waiting ends.
        """
        began = time.monotonic()
        start(None, False)  # opens the exchange, also where every reply is written down
        recorded = self._again("start", take_hello, request_to=lambda site: start(site, False))
        if not self._log.is_closed("start"):
            done = {reply.node for reply in recorded}
            for _ in chances(self._line.clock, until=until):
                done |= self._greet_once(start, take_hello, done)
                if enough() or len(done) >= len(sites):
                    break
            self._log.close("start")
        self._spent("start", began)

    def _greet_once(self, start: StartFor, take_hello: Take, done: Collection[int]) -> set[int]:
        """Send START to every node that is not ``done``; returns those that answered or refused."""
        site_at = {voice.node: site for site, voice in self._line.journal.voices().items()}
        nodes = {
            site_at.get(node, str(node)): node for node in self._line.transport.nodes() if node not in done
        }
        first = {name: (node, start(site_at.get(node), False)) for name, node in nodes.items()}
        heard = self._sender.send("start", first, take_hello)
        known = {NOT_THIS_STATE: site_at, NOT_THIS_SITE: {}}
        second = {
            name: (nodes[name], start(known[code].get(nodes[name]), True))
            for name, code in heard.refused.items()
            if code in known
        }
        if second:
            heard.silent |= self._sender.send("start", second, take_hello).silent
        return {node for name, node in nodes.items() if name not in heard.silent}

    def ask(
        self,
        exchange: str,
        requests: Mapping[str, Packet],
        take: Take,
        *,
        enough: Callable[[], bool] | None = None,
        until: float = 0.0,
        closing: bool = True,
    ) -> None:
        """2 to 6: send each site its request, and close the exchange.

        Args:
            exchange: Its name.
            requests: By site.
            take: Takes a reply.
            enough: Whether the replies taken are enough; until then, silent sites are asked again.
            until: When the asking ends.
            closing: Whether the exchange's end is written down; the last one's is the round's.
        """
        began = time.monotonic()
        recorded = self._again(exchange, take, request_to=requests.__getitem__)
        if not self._log.is_closed(exchange):
            answered = {reply.site for reply in recorded}
            missing = {site: packet for site, packet in requests.items() if site not in answered}
            self._ask_missing(exchange, missing, take, enough=enough, until=until)
            if closing:
                self._log.close(exchange)
        self._spent(exchange, began)

    def _ask_missing(
        self,
        exchange: str,
        missing: dict[str, Packet],
        take: Take,
        *,
        enough: Callable[[], bool] | None,
        until: float,
        written: bool = True,
    ) -> None:
        for _ in chances(self._line.clock, until=until if enough else 0.0):
            if not missing:
                return
            heard = self._sender.send(exchange, self._addressed(missing), take, written=written)
            missing = {site: packet for site, packet in missing.items() if site in heard.silent}
            if enough and enough():
                return

    def collect(self, requests: Mapping[str, Packet], session: CoordinatorSession, *, keep: bool) -> None:
        """3: send ENVELOPES, take the uploads, and close the exchange.

        Args:
            requests: By site.
            session: Takes the uploads.
            keep: Whether every vector is kept; else their sum is, when the exchange closes.
        """
        take = by_site(session.take_masked)
        if keep:
            return self.ask("envelopes", requests, take)
        began = time.monotonic()
        if self._log.is_closed("envelopes"):
            self._restore(requests, session)
        else:
            self._ask_missing("envelopes", dict(requests), take, enough=None, until=0.0, written=False)
            self._log.close_with_sum(*session.checkpoint())
        return self._spent("envelopes", began)

    def _restore(self, requests: Mapping[str, Packet], session: CoordinatorSession) -> None:
        uploads = {reply.site: reply.packet.envelope for reply in self._log.replies("envelopes")}
        total = self._log.total()
        if total is None:
            raise corrupt("the sum of the uploads is missing")
        try:
            session.restore(uploads, total)
        except ProtocolError as error:
            raise corrupt(f"an upload is not one of its attempt ({error.code})") from error
        for site, envelope in uploads.items():
            self._sender.count("envelopes", site, requests[site], Packet(envelope, total))

    def abandon(self, failed: FailedAttempt, *, until: float) -> bool:
        """A: ask the members of a failed attempt for ABORT, again until it is closed; whether it is.

        Args:
            failed: The attempt, which this object serves too.
            until: When the asking ends.
        """
        began = time.monotonic()
        take = by_site(failed.take_abort)
        self._ask_missing("abandon", failed.requests(), take, enough=lambda: failed.closed, until=until)
        self._spent("abandon", began)
        return failed.closed

    def recall(self, failed: FailedAttempt) -> None:
        """A: take the ABORTs that were written down."""
        requests = failed.requests()
        self._again("abandon", by_site(failed.take_abort), request_to=requests.__getitem__)

    def _addressed(self, requests: Mapping[str, Packet]) -> dict[str, tuple[int, Packet]]:
        voices = self._line.journal.voices()
        return {site: (voices[site].node, packet) for site, packet in requests.items()}

    def _again(
        self, exchange: str, take: Take, *, request_to: Callable[[str], Packet]
    ) -> tuple[Recorded, ...]:
        """Take the replies that were written down."""
        recorded = self._log.replies(exchange)
        for reply in recorded:
            try:
                site = take(reply.packet, reply.site)
            except ProtocolError as error:
                raise corrupt(f"a reply of {reply.site} is not what it was ({error.code})") from error
            if site != reply.site:
                raise corrupt(f"a reply of {site} is said to be one of {reply.site}")
            self._sender.count(exchange, reply.site, request_to(reply.site), reply.packet)
        return recorded

    def _spent(self, exchange: str, began: float) -> None:
        seconds = time.monotonic() - began
        self.record.seconds[exchange] = self.record.seconds.get(exchange, 0.0) + seconds


def by_site(take: Callable[..., str]) -> Take:
    """``take`` of a session, which wants the site by keyword."""
    return lambda packet, site: take(packet, site=site)
