"""One sending: requests out, replies in, each written down as it is taken.

Not here: who is asked, and whether again (``exchanges``), what a reply means (``secagg``).

Rules:

* A reply that is refused changes nothing, and its code is told.
* A request is in the audit log before it is sent, a reply before anything follows from it.

Privacy: handles signed messages and masked vectors; tells sizes and codes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from wardround_common.errors import ProtocolError
from wardround_common.logs import event
from wardround_common.messages import Packet
from wardround_server.audit import StudyAudit
from wardround_server.clock import Clock
from wardround_server.journal import AttemptLog, Journal
from wardround_server.observer import Observer, RoundRecord, Traffic
from wardround_server.transport import Reply, Transport

Take = Callable[[Packet, str], str]
"""Takes a reply from whoever should have sent it; returns the site, or raises ``ProtocolError``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """What connects the coordinator with the sites.

    Attributes:
        transport: The network.
        clock: Time.
        observer: Is told what happens.
        journal: Remembers it.
        audit: Shows it to others.
        timeout_s: Deadline of each exchange.
    """

    transport: Transport
    clock: Clock
    observer: Observer
    journal: Journal
    audit: StudyAudit
    timeout_s: float


@dataclass(kw_only=True, slots=True)
class Heard:
    """Who did not answer one sending, by the name that the request went to."""

    refused: dict[str, str] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)


class Sender:
    """Sends the requests of one attempt.

    Attributes:
        record: What is told of the round.
        codes: Why replies of this attempt were refused, or sites refused requests.
    """

    def __init__(self, line: Line, log: AttemptLog, record: RoundRecord) -> None:
        self.record = record
        self.codes: set[str] = set()
        self._line = line
        self._log = log

    def send(
        self,
        exchange: str,
        requests: Mapping[str, tuple[int, Packet]],
        take: Take,
        *,
        written: bool = True,
    ) -> Heard:
        """Send requests, and take what comes back.

        Args:
            exchange: Its name.
            requests: Node and request, by the name that is told where it is not answered.
            take: Takes a reply.
            written: Whether a reply that is taken is written down at once.
        """
        sites = () if exchange == "start" else tuple(requests)
        self._line.observer.exchange_began(self.record, exchange, sites)
        names = {node: name for name, (node, _) in requests.items()}
        heard = Heard()
        packets = dict(requests.values())
        self._line.audit.requests(exchange, {name: packet for name, (_, packet) in requests.items()})
        for reply in self._line.transport.exchange(exchange, packets, timeout_s=self._line.timeout_s):
            name = names[reply.node]
            code, site = self._take(name, reply, take)
            if reply.packet is None or site is None:
                if reply.silent:
                    heard.silent.add(name)
                else:
                    heard.refused[name] = code
                self._line.audit.refused(exchange, name, code, request=requests[name][1], reply=reply.packet)
                self._refused(exchange, name, code)
                continue
            self._line.audit.taken(exchange, site, request=requests[name][1], reply=reply.packet)
            if written:
                self._log.take(exchange, site=site, node=reply.node, packet=_kept(exchange, reply.packet))
            self.count(exchange, site, requests[name][1], reply.packet)
            self._line.observer.replied(self.record, exchange, site)
        return heard

    def _take(self, name: str, reply: Reply, take: Take) -> tuple[str, str | None]:
        """The code and None, or the site whose reply was taken."""
        if reply.packet is None:
            return reply.code, None
        try:
            return "", take(reply.packet, name)
        except ProtocolError as error:
            return error.code, None

    def _refused(self, exchange: str, name: str, code: str) -> None:
        self.codes.add(code)
        if (exchange, name, code) not in self.record.refusals:
            self.record.refusals.append((exchange, name, code))
            event("exchange.refused", level=logging.WARNING, exchange=exchange, site=name, code=code)

    def count(self, exchange: str, site: str, request: Packet, reply: Packet) -> None:
        """Tell how much went to and fro."""
        size = Traffic(
            exchange=exchange, site=site, to_site_bytes=_size(request), from_site_bytes=_size(reply)
        )
        self.record.traffic.append(size)


def _kept(exchange: str, packet: Packet) -> Packet:
    """What is written of a reply: the array of a MASKED, and of nothing else."""
    return packet if exchange == "envelopes" else Packet(packet.envelope)


def _size(packet: Packet) -> int:
    return len(packet.envelope) + (0 if packet.array is None else packet.array.nbytes)
