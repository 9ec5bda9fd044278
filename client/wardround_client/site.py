"""The site's guard: what is approved runs, everything else is refused.

A site approves the exact digest of a plan; every message names a digest, and one that was not approved is
refused before it is looked at further.

Not here: the order of a round (``rounds``), Flower (``app``), keys on disk and enrolment.

Rules:

* Default deny.
* One attempt at a time: a START that is accepted ends the attempt before it.
* A request that arrives a second time, unchanged, gets the reply that it got before. After a restart the site
  answers from its record.
* A site that is paused answers with that, also where the pause began while it computed (``pausing``).
* Whatever leaves, a reply or an error's code, is in the audit log first (``egress``); what cannot be written
  there does not leave.

Privacy: replies are what ``rounds`` yields; an error leaves as its code.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from pathlib import Path

from wardround_client.catalogue import Catalogue, Census
from wardround_client.egress import Egress
from wardround_client.ledger import Ledger, Limits
from wardround_client.parts import RoundSecret, SiteParts
from wardround_client.pausing import Pause
from wardround_client.pins import Pins
from wardround_client.policy import SitePolicy
from wardround_client.rounds import Conversation, resume_round, run_round
from wardround_client.scratch import Scratch
from wardround_client.sealing import SiteKey
from wardround_client.study import SiteStudy
from wardround_client.tasks import load_task
from wardround_client.tasks.interface import RuntimeFlags, Task
from wardround_client.training.work import LocalTrainer, Trainer
from wardround_common.accounting import check_precision, evaluate_event, train_event
from wardround_common.audit import AuditLog
from wardround_common.errors import ConsentError, ProtocolError, WardroundError
from wardround_common.files import private_folder
from wardround_common.logs import event
from wardround_common.messages import Envelope, Packet, RoundContext, Signer, peek_request
from wardround_common.models import layout_of
from wardround_common.plan import StudyPlan
from wardround_common.plan_checks import check_plan
from wardround_common.trust import open_plan, plan_digest

SCRATCH = "scratch"
"""Folder for what no backup may hold."""


def system_secret(plan: bytes, number: int, kind: str) -> bytes:
    """A round's secret from the operating system."""
    return os.urandom(32)


class Site:
    """One hospital.

    Args:
        home: The site's data folder; made if absent, for its owner only.
        signer: The site's name and identity key.
        key: What its secrets, outputs and states are sealed under at rest; looked at before all else.
        policy: The site's own limits.
        flags: What its machine is good at.
        today: Its clock.
        round_secret: Source of round secrets; anything but the operating system is for simulations and tests.
        entropy: Source of one-attempt keys; likewise.
        simulation_id: Marks the ledger of a simulation; None where deployed.
        task: Finds a plan's task by name.
    """

    def __init__(
        self,
        home: Path,
        *,
        signer: Signer,
        key: SiteKey,
        policy: SitePolicy = SitePolicy(),
        flags: RuntimeFlags = RuntimeFlags(),
        today: Callable[[], datetime.date] = datetime.date.today,
        round_secret: RoundSecret = system_secret,
        entropy: Callable[[int], bytes] = os.urandom,
        simulation_id: bytes | None = None,
        task: Callable[[str], Task] = load_task,
    ) -> None:
        self._policy = policy
        self._pause = Pause(home)
        self._today = today
        self._name = signer.name
        self._task = task
        private_folder(home / SCRATCH)
        scratch = Scratch(home / SCRATCH / "scratch.sqlite", key=key)
        self._parts = SiteParts(
            signer=signer,
            policy=policy,
            pins=Pins(home),
            ledger=open_ledger(home, policy=policy, simulation_id=simulation_id),
            scratch=scratch,
            record_path=home / "protocol.sqlite",
            flags=flags,
            today=today,
            round_secret=round_secret,
            entropy=entropy,
        )
        self._egress = Egress(open_audit(home, signer=signer), self._parts.ledger)
        self._studies: dict[bytes, SiteStudy] = {}
        self._most_sites = 0
        self._conversation: Conversation | None = None
        self._attempt: RoundContext | None = None
        self._last: tuple[bytes, Envelope, Packet] | None = None

    def close(self) -> None:
        """Close the databases."""
        for study in self._studies.values():
            study.close()
        self._parts.ledger.shut()
        self._parts.scratch.close()
        self._egress.close()

    def approve(self, signed_plan: bytes, catalogue: Catalogue) -> StudyPlan:
        """Approve exactly this plan on exactly this catalogue, and reserve its whole cost.

        Args:
            signed_plan: The plan as the lead signed it.
            catalogue: The images that it may use.

        Raises:
            ProtocolError, ConfigError, ConsentError: The plan is not acceptable (``check_consent``), or gives
                a pinned name another key.
            PrivacyError: It would overdraw a limit.
            AuditError: The approval could not be written down.
        """
        plan = open_plan(signed_plan, today=self._today())
        trainer = LocalTrainer(
            plan, site=self._name, catalogue=catalogue, flags=self._parts.flags, task=self._task
        )
        return self.take_up(signed_plan, catalogue.census, trainer)

    def take_up(self, signed_plan: bytes, census: Census, trainer: Trainer) -> StudyPlan:
        """As ``approve``, with somebody else who holds the images.

        Args:
            signed_plan: The plan as the lead signed it.
            census: Who is in the images.
            trainer: Trains and counts on them.

        Raises:
            WardroundError: As ``approve``.
        """
        plan = open_plan(signed_plan, today=self._today())
        self._parts.pins.check_plan(plan)
        check_consent(plan, name=self._name, policy=self._policy)
        self._parts.ledger.register(census.snapshot, census.members)
        self._parts.ledger.approve(plan, plan_digest(plan), snapshot=census.snapshot)
        self._egress.approved(plan)
        self._studies[plan_digest(plan)] = SiteStudy(
            self._parts, plan=plan, snapshot=census.snapshot, trainer=trainer
        )
        self._most_sites = max(self._most_sites, len(plan.sites))
        event("plan.approved", site=self._name, study=plan.study, plan=plan_digest(plan).hex())
        return plan

    def withdraw(self, digest: bytes) -> None:
        """Take no part in a study any more; nothing of it is answered from now on, repetitions included.

        Args:
            digest: The plan's; one that is not in force changes nothing.
        """
        study = self._studies.pop(digest, None)
        if study is None:
            return
        if self._attempt is not None and self._attempt.plan_digest == digest:
            self._end()
        self._last = None
        study.close()
        event("plan.withdrawn", site=self._name, plan=digest.hex())

    def settle(self, plan: StudyPlan, note: str) -> None:
        """Let a study go on that paused itself here; a person decided it, and says why.

        Raises:
            ConsentError: ``consent.not_approved``.
            AuditError: It could not be written down.
        """
        study = self._study(plan_digest(plan))
        self._egress.settled(plan, note)
        study.settle(note)

    def handle(self, request: Packet | None) -> Packet:
        """Answer one request of the coordinator.

        Args:
            request: What came; None where it was no packet at all.

        Returns:
            What may leave: it is in the audit log.

        Raises:
            AuditError: What would leave cannot be written down: nothing may be sent, not even this code.
            WardroundError: The request is refused; its code may be sent, and is in the audit log.
        """
        try:
            self._pause.check()
            claim, reply = self._heard(request)
            self._pause.check()
        except WardroundError as error:
            refusal = self._refusal(error)
            self._egress.refusal(request, self._claim(request), refusal)
            if refusal is error:
                raise
            raise refusal from error
        self._egress.reply(claim, reply)
        return reply

    def _heard(self, request: Packet | None) -> tuple[Envelope, Packet]:
        """What a request says of itself, and its reply; kept in case that the request comes again."""
        if request is None:
            raise no_packet()
        if self._last is None or self._last[0] != request.envelope:
            self._last = None
            claim = peek_request(request.envelope, sites=self._most_sites)
            self._last = request.envelope, claim, self._answer(request, claim)
        return self._last[1:]

    def _refusal(self, error: WardroundError) -> WardroundError:
        """What is said in place of an error: while the site is paused, that and nothing else."""
        try:
            self._pause.check()
        except ConsentError as paused:
            return paused
        return error

    def _claim(self, request: Packet | None) -> Envelope | None:
        """What a request says of itself, unverified; None where it cannot be read."""
        try:
            return None if request is None else peek_request(request.envelope, sites=self._most_sites)
        except ProtocolError:
            return None

    def _answer(self, request: Packet, claim: Envelope) -> Packet:
        study = self._study(claim.plan_digest)
        match claim.type:
            case "start":
                reply = self._begin(run_round(study, request), claim.context)
            case "abandon":
                reply = study.abort(request)
                if self._attempt == claim.context:
                    self._end()
            case _ if self._attempt == claim.context:
                reply = self._step(lambda conversation: conversation.send(request))
            case _:
                reply = self._begin(resume_round(study, request), claim.context)
        return reply

    def _study(self, digest: bytes) -> SiteStudy:
        study = self._studies.get(digest)
        if study is None:
            raise ConsentError(
                "a message belongs to a plan that was not approved here",
                remedy="Read the plan, and approve its digest if the site agrees.",
                code="consent.not_approved",
            )
        return study

    def _begin(self, conversation: Conversation, attempt: RoundContext) -> Packet:
        """The first reply of a conversation; the one before it ends only if there is one."""
        reply = next(conversation)
        self._end()
        self._conversation, self._attempt = conversation, attempt
        return reply

    def _step(self, step: Callable[[Conversation], Packet]) -> Packet:
        assert self._conversation is not None  # while there is an attempt
        try:
            return step(self._conversation)
        except BaseException:
            self._end()
            raise

    def _end(self) -> None:
        if self._conversation is not None:
            self._conversation.close()
        self._conversation = self._attempt = None


def check_consent(plan: StudyPlan, *, name: str, policy: SitePolicy) -> None:
    """Return only if the plan fits together and the site's policy permits it.

    Looks at the plan alone: it is called before any file is opened.

    Raises:
        ConfigError: The plan's fields do not fit together.
        ConsentError: ``consent.*``.
        PrivacyError: The plan's noise is too little for its precision.
    """
    check_plan(plan)
    refusals = (
        (plan.site(name) is None, "not_named", "the plan does not name this site"),
        (
            plan.task.name not in policy.tasks,
            "task",
            f"this site does not permit the task {plan.task.name!r}",
        ),
        (
            plan.aggregation.minimum_cohort < policy.minimum_cohort,
            "minimum_cohort",
            f"the plan permits sums over {plan.aggregation.minimum_cohort} sites, this site wants at least "
            f"{policy.minimum_cohort}",
        ),
    )
    for refused, code, message in refusals:
        if refused:
            raise ConsentError(
                message,
                remedy="Ask the lead for another plan, or change this site's policy.",
                code=f"consent.{code}",
            )
    check_precision(parameters=layout_of(plan).size, steps=plan.steps, delta=plan.privacy.target_delta)


def confirm_noise(plan: StudyPlan) -> None:
    """Return only if a second library agrees with the ledger's on what the plan's noise costs.

    Imports torch, so it belongs to the approval by a person and not to every start of a site.

    Raises:
        PrivacyError: ``privacy.opinions_differ``.
    """
    from wardround_client.privacy.second_opinion import second_opinion

    for planned in (train_event(plan, plan.steps), evaluate_event(plan)):
        if planned is not None:
            second_opinion([planned], delta=plan.privacy.target_delta)


def no_packet() -> ProtocolError:
    """What came is not one envelope and at most one array."""
    return ProtocolError(
        "expected a record of one envelope and at most one array of ring words",
        remedy="Check that both ends run the same version of Wardround.",
        code="message.malformed",
    )


def open_audit(home: Path, *, signer: Signer) -> AuditLog:
    """The audit log in a site's data folder; its newest head lies in the folder that backups leave out."""
    return AuditLog(home / "audit.sqlite", signer=signer, head_path=home / SCRATCH / "audit.head")


def open_ledger(home: Path, *, policy: SitePolicy, simulation_id: bytes | None = None) -> Ledger:
    """The ledger in a site's data folder; its newest head lies in the folder that backups leave out."""
    limits = Limits(
        largest_epsilon=policy.largest_epsilon,
        largest_delta=policy.largest_delta,
        lifetime_epsilon=policy.lifetime_epsilon,
        lifetime_delta=policy.lifetime_delta,
    )
    private_folder(home / SCRATCH)
    return Ledger(
        home / "ledger.sqlite",
        limits=limits,
        head_path=home / SCRATCH / "ledger.head",
        simulation_id=simulation_id,
    )
