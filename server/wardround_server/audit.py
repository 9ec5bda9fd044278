"""What the coordinator writes into its audit log about one study.

The digests are those of the sites' own logs, so that the two can be compared: what a site says it sent, and
what the coordinator says it got.

Not here: the log itself (``wardround_common.audit``), what a restart needs (``journal``).

Rules:

* A row is durable before what it says happens: a request before it is sent, a reply and a round's end before
  they count. A coordinator that stops in between writes a row again, and never one too few.
* Replies that a restarted coordinator takes from its journal are not written again.

Privacy: sizes, digests, codes and names of institutions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from wardround_common.audit import (
    REPLIES,
    AuditLog,
    Happened,
    Refused,
    Sent,
    Taken,
    clean_code,
    clean_note,
    place,
    summary,
)
from wardround_common.messages import Packet, RoundContext, peek_request
from wardround_common.plan import StudyPlan
from wardround_common.trust import plan_digest
from wardround_server.observer import RoundRecord

Decision = Literal["opened", "paused", "resumed", "stopped"]


class StudyAudit:
    """One study in the coordinator's audit log.

    Args:
        log: The log; None writes nothing.
        plan: The study's plan.
    """

    def __init__(self, log: AuditLog | None, plan: StudyPlan) -> None:
        self._log = log
        self._plan = plan
        self._digest = plan_digest(plan)

    def requests(self, exchange: str, requests: Mapping[str, Packet]) -> None:
        """Requests leave, by the name of the site or node that each goes to.

        Raises:
            AuditError: They could not be written down, and must not leave.
        """
        if self._log is None:
            return
        content = {id(packet): summary(packet) for packet in requests.values()}  # most are one object
        self._log.append(
            *(
                Sent(
                    **self._place(packet),
                    **content[id(packet)],
                    peer=name,
                    message=exchange,
                    exchange=exchange,
                )
                for name, packet in requests.items()
            )
        )

    def taken(self, exchange: str, site: str, *, request: Packet, reply: Packet) -> None:
        """A reply was verified, and is about to count.

        Raises:
            AuditError: It could not be written down, and must not count.
        """
        if self._log is None:
            return
        where = self._place(request)
        message = REPLIES[exchange]
        self._log.append(Taken(**where, **summary(reply), peer=site, message=message, exchange=exchange))

    def refused(self, exchange: str, name: str, code: str, *, request: Packet, reply: Packet | None) -> None:
        """A reply was not believed, or none came.

        Args:
            exchange: The request's name.
            name: Where it went.
            code: Why the reply does not count: ours, the site's, or the transport's.
            request: What was asked.
            reply: What came; None where it was an error, or nothing.

        Raises:
            AuditError: It could not be written down.
        """
        if self._log is None:
            return
        self._log.append(
            Refused(
                **self._place(request),
                **summary(reply),
                peer=name,
                message=REPLIES[exchange],
                exchange=exchange,
                code=clean_code(code),
            )
        )

    def round_ended(self, record: RoundRecord, *, paused: str) -> None:
        """A round ends, and perhaps the study pauses.

        Args:
            record: The round.
            paused: Code of the reason why the study pauses; empty where it goes on.
        """
        if self._log is None:
            return
        where = place(
            self._plan.study,
            RoundContext(
                plan_digest=self._digest, round=record.number, kind=record.kind, attempt=record.attempts
            ),
        )
        rows = [
            Happened(**where, event="round_ended", code=record.void, cohort=record.survivors),
            *([Happened(**where, event="paused", code=paused)] if paused else []),
        ]
        self._log.append(*rows)

    def resumed(self, note: str) -> None:
        """A person ends a pause."""
        self.decided("resumed", note)

    def decided(self, event: Decision, note: str) -> None:
        """A person decides something about the study.

        Args:
            event: What.
            note: Who, and why, in their own words.
        """
        if self._log is not None:
            row = Happened(study=self._plan.study, plan=self._digest, event=event, note=clean_note(note))
            self._log.append(row)

    def _place(self, request: Packet) -> dict[str, Any]:
        """Where a request of ours, and its reply, belong."""
        context = peek_request(request.envelope, sites=len(self._plan.sites)).context
        return place(self._plan.study, context)
