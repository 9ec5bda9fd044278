"""What leaves a site is written into its audit log before it leaves.

Called by the guard (``site``), the only place from which replies go. What travels around a reply, Flower's
frame, adds nothing of the site's.

Not here: the log itself (``wardround_common.audit``), what may leave (``rounds``, ``secagg``).

Rules:

* A reply, or the error code in its place, leaves only after its row is durable: where the log cannot be
  written, ``AuditError`` goes up and nothing leaves.
* A reply that is sent again is a row again, marked as a repetition.
* Epsilon is asked of the ledger once per START, after its spend; nothing is computed anew for other messages.

Privacy: rows hold sizes, digests, codes and epsilons; nothing of a patient.
"""

from __future__ import annotations

from typing import Final

from wardround_client.ledger import Ledger
from wardround_common.audit import (
    REPLIES,
    AuditLog,
    Happened,
    Refused,
    Sent,
    clean_code,
    clean_note,
    place,
    summary,
)
from wardround_common.errors import WardroundError
from wardround_common.messages import Envelope, Packet
from wardround_common.plan import StudyPlan
from wardround_common.trust import COORDINATOR, plan_digest

REMEMBERED: Final = 256
"""How many of the last replies a repetition is recognised among; a round has seven at most per attempt."""
PAUSES: Final = frozenset({"secagg.fork", "secagg.two_void_rounds"})
"""Refusals that mean that the study is paused here until a person settles it."""


class Egress:
    """The egress log of a site.

    Args:
        log: Its audit log.
        ledger: Says what a study has cost.
    """

    def __init__(self, log: AuditLog, ledger: Ledger) -> None:
        self._log = log
        self._ledger = ledger
        self._names: dict[bytes, str] = {}
        self._epsilons: dict[bytes, float | None] = {}
        self._paused: set[bytes] = set()
        self._sent = {row.digest: None for row in log.newest(REMEMBERED) if isinstance(row, Sent)}

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def approved(self, plan: StudyPlan) -> None:
        """A plan is in force from now on; again at each start of the site."""
        digest = plan_digest(plan)
        self._names[digest] = plan.study
        self._log.append(Happened(event="approved", study=plan.study, plan=digest))

    def settled(self, plan: StudyPlan, note: str) -> None:
        """A person ends a pause."""
        digest = plan_digest(plan)
        self._log.append(Happened(event="settled", study=plan.study, plan=digest, note=clean_note(note)))
        self._paused.discard(digest)

    def reply(self, request: Envelope, reply: Packet) -> None:
        """A reply leaves.

        Args:
            request: What it answers.
            reply: Exactly what leaves.

        Raises:
            AuditError: It could not be written down, and must not leave.
        """
        content = summary(reply)
        self._log.append(
            Sent(
                **place(self._names.get(request.plan_digest, ""), request.context),
                **content,
                epsilon=self._epsilon(request),
                peer=COORDINATOR,
                message=REPLIES[request.type],
                exchange=request.type,
                repeated=content["digest"] in self._sent,
            )
        )
        self._remember(content["digest"])

    def refusal(self, request: Packet | None, claim: Envelope | None, error: WardroundError) -> None:
        """A request is refused: an error's code leaves and nothing else.

        Args:
            request: What came; None where it was no packet.
            claim: What it says of itself, unverified; None where it cannot be read.
            error: Why it is refused.

        Raises:
            AuditError: It could not be written down, and nothing must leave.
        """
        study = "" if claim is None else self._names.get(claim.plan_digest, "")
        where = place(study, None if claim is None else claim.context)
        rows: list[Refused | Happened] = [
            Refused(
                **where,
                **summary(request),
                epsilon=None if claim is None else self._epsilon(claim),
                peer=COORDINATOR,
                message="" if claim is None else claim.type,
                exchange="" if claim is None else claim.type,
                code=clean_code(error.code),
                left=len(error.code.encode()),
            )
        ]
        if claim is not None and error.code in PAUSES and claim.plan_digest not in self._paused:
            rows.append(Happened(**where, event="paused", code=error.code))
        self._log.append(*rows)
        if len(rows) > 1 and claim is not None:
            self._paused.add(claim.plan_digest)

    def _epsilon(self, request: Envelope) -> float | None:
        """What the study has cost so far; None where the plan was never approved or the ledger is silent."""
        digest = request.plan_digest
        if request.type == "start" or digest not in self._epsilons:
            self._epsilons[digest] = self._spent(self._names.get(digest))
        return self._epsilons[digest]

    def _spent(self, study: str | None) -> float | None:
        try:
            return None if study is None else self._ledger.epsilon_spent(study).largest
        except WardroundError:  # what is wrong with the ledger is said by the reply that it stops
            return None

    def _remember(self, digest: bytes) -> None:
        self._sent[digest] = None
        while len(self._sent) > REMEMBERED:
            del self._sent[next(iter(self._sent))]
