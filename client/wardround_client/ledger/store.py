"""The ledger that a site works with: register, approve, spend, output, close, and what was spent so far.

One call, one durable transaction. What a call refuses it refuses before anything is written, and a caller
that was refused has touched no patient: ``approve`` comes before a study, ``spend`` before a round.

Rules:

* Approval reserves the whole planned cost; rounds draw on it and on nothing else; closing frees the rest.
* One spend per (study, round, kind). The same claim again is a re-run and returns the same spend; another
  start state, catalogue, event or secret is refused. Rounds only go up.
* One output per spend.
* A crash can only over-count: a spend without output stays spent.

Not here: what is refused at approval (``limits``), who is charged (``history``, ``members``), the file
(``book``, ``database``). Whether a person approved the plan is decided before ``approve`` is called.

Privacy: the ledger stays at the site. ``head`` leaves; it commits to a random id and to keyed digests, so it
cannot be searched for what the ledger holds.

References: ARCHITECTURE.md, "Privacy accounting".
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from msgspec.structs import asdict, replace

from wardround_client.ledger import members, refusals
from wardround_client.ledger.accounts import Account, accounts_of, spent
from wardround_client.ledger.book import Book, Page
from wardround_client.ledger.history import Study
from wardround_client.ledger.limits import (
    Lifetime,
    Limits,
    SideEpsilon,
    StudyCost,
    check_lifetime,
    check_study,
    largest_lifetime,
)
from wardround_client.ledger.records import Claim, Closed, Output, Registered, Reservation, Spend
from wardround_common.accounting import evaluate_event, train_event
from wardround_common.messages import Kind
from wardround_common.plan import StudyPlan
from wardround_common.trust import plan_digest as digest_of_plan

DIGEST_BYTES: Final = 32


class Ledger:
    """A site's ledger, kept in one file. Threads of a process, and processes, take turns.

    Args:
        path: The file; made where it does not exist. Its folder must exist.
        limits: What the site permits.
        head_path: File for the newest head, outside every backup; None keeps none.
        simulation_id: 32 bytes that make a new ledger reproducible and mark it "seeded". A ledger so marked
            opens only with an id, one of a deployed site only without: nothing that a deployed site reads
            from its configuration is ever passed here.

    Raises:
        StorageError: The file cannot be used, its chain is broken, it is older than its head file, or it is
            of the other sort (simulation, deployed).
    """

    def __init__(
        self,
        path: Path,
        *,
        limits: Limits,
        head_path: Path | None = None,
        simulation_id: bytes | None = None,
    ) -> None:
        self._limits = limits
        self._book = Book(path, head_path=head_path, simulation_id=simulation_id)

    def shut(self) -> None:
        """Close the file; every call after this one fails."""
        self._book.close()

    def register(self, snapshot: bytes, people: Iterable[tuple[bytes, int]]) -> None:
        """Remember, for ever, who is in a snapshot of the catalogue.

        Args:
            snapshot: The catalogue's digest.
            people: Patient key (32 bytes) and side (0 training, 1 validation, 2 test) of each patient; may be
                empty. The same snapshot with the same people changes nothing.

        Raises:
            PrivacyError: ``ledger.side_changed``, or ``ledger.snapshot_differs``: the snapshot is known with
                other people.
            ValueError: A key or side of the wrong shape, or one patient on two sides.
        """
        pairs = set(people)
        side_of = dict(sorted(pairs))
        if len(side_of) != len(pairs) or len(snapshot) != DIGEST_BYTES:
            raise ValueError("a snapshot is 32 bytes and has each patient on one side")
        members.check_keys(side_of)
        digest = members.members_digest(side_of)
        with self._book.page() as page:
            known = page.history.members.get(snapshot)
            if known is not None and known.members != digest:
                raise refusals.snapshot_differs()
            if known is None:
                members.add(page.connection, snapshot, side_of)
                page.append(Registered(seq=page.next_seq, snapshot=snapshot, members=digest))

    def approve(self, plan: StudyPlan, plan_digest: bytes, *, snapshot: bytes) -> Reservation:
        """Reserve the whole planned cost of a study for the patients of one snapshot.

        The same plan and snapshot again return the reservation that exists. Another snapshot of the same open
        study adds its patients; nobody is charged twice for a study.

        Args:
            plan: The plan.
            plan_digest: The digest that a person approved.
            snapshot: The catalogue that the study will read; registered before.

        Raises:
            PrivacyError: ``privacy.overdrawn``: the plan's own promise, the site's limit per study, or some
                patient's lifetime limit would be exceeded; nothing is reserved.
            ConsentError: ``ledger.other_plan``: the digest is not the plan's; ``ledger.name_taken``,
                ``ledger.closed`` or ``ledger.unknown_snapshot``.
        """
        wanted = self._wanted(plan, plan_digest, snapshot)
        with self._book.page() as page:
            if snapshot not in page.history.members:
                raise refusals.unknown_snapshot()
            reservation = self._reserved(page, wanted)
            if reservation is None:
                reservation = replace(wanted, seq=page.next_seq)
                page.append(reservation)
        return reservation

    def check(self, plan: StudyPlan, plan_digest: bytes) -> None:
        """Return only if ``approve`` would permit the plan for the patients of the newest snapshot, if any.

        Needs no catalogue: it is asked before a file is opened. Nothing is reserved.

        Raises:
            PrivacyError, ConsentError: As ``approve``.
        """
        wanted = self._wanted(plan, plan_digest, bytes(DIGEST_BYTES))
        with self._book.page() as page:
            newest = next(reversed(page.history.members), wanted.snapshot)
            self._reserved(page, replace(wanted, snapshot=newest))

    def spend(self, claim: Claim) -> Spend:
        """Write down what a round costs, before the round touches a patient. Durable when it returns.

        Returns:
            The new spend, or the one that exists where the same round is claimed again in every field.

        Raises:
            ConsentError: ``ledger.not_approved``, ``ledger.closed``, ``ledger.name_taken`` or
                ``ledger.unknown_snapshot``.
            PrivacyError: ``privacy.rerun_differs``, ``privacy.round_passed``, or ``privacy.overdrawn`` where
                the event is not within what is left of the reservation.
        """
        with self._book.page() as page:
            study = _study(page, claim.study)
            _check_open(study, claim.study, plan_digest=claim.plan_digest)
            known = study.spends.get((claim.round, claim.kind))
            if known is not None:
                return _same(known, claim)
            _check_claim(study, claim)
            spend = Spend(seq=page.next_seq, **asdict(claim))
            page.append(spend)
        return spend

    def output(self, spend: Spend, digest: bytes) -> Output:
        """Write down the digest of a round's finished output; nothing is computed for the round any more.

        Raises:
            PrivacyError: ``privacy.output_differs``: there is another output already.
            ConsentError: ``ledger.not_approved``: this ledger holds no such spend.
        """
        with self._book.page() as page:
            study = _study(page, spend.study)
            if study.spends.get((spend.round, spend.kind)) != spend:
                raise refusals.not_approved(spend.study)
            known = page.history.outputs.get(spend.seq)
            if known is not None and known.output_digest != digest:
                raise refusals.output_differs(spend.round)
            if known is not None:
                return known
            output = Output(seq=page.next_seq, spend_seq=spend.seq, output_digest=digest)
            page.append(output)
        return output

    def close(self, study: str) -> None:
        """End a study at this site: its patients are charged with what was spent, the rest is free again.

        Raises:
            ConsentError: ``ledger.not_approved``: there is no such study.
        """
        with self._book.page() as page:
            if not _study(page, study).closed:
                page.append(Closed(seq=page.next_seq, study=study))

    def output_of(self, study: str, round: int, kind: Kind) -> bytes | None:
        """Return the digest of a round's output, or None before there is one."""
        with self._book.page() as page:
            account = page.history.studies.get(study)
            spend = None if account is None else account.spends.get((round, kind))
            output = None if spend is None else page.history.outputs.get(spend.seq)
        return None if output is None else output.output_digest

    def spends(self, study: str) -> tuple[Spend, ...]:
        """Return what was spent for ``study``, oldest first; nothing for a study never approved."""
        with self._book.page() as page:
            account = page.history.studies.get(study)
            return () if account is None else tuple(account.spends.values())

    def epsilon_spent(self, study: str) -> SideEpsilon:
        """Compute what ``study`` has cost a patient of each side so far, by PLD at the plan's delta.

        Raises:
            ConsentError: ``ledger.not_approved``: there is no such study.
        """
        with self._book.page() as page:
            return spent(_study(page, study))

    def costs(self) -> tuple[StudyCost, ...]:
        """Return what each study has cost so far, in the order of their approval.

        They do not add up: what all of them together cost a patient is ``lifetime``.
        """
        return tuple(
            StudyCost(study=one.study, task=one.task, epsilon=one.spent.largest, delta=one.delta)
            for one in self.accounts()
        )

    def accounts(self) -> tuple[Account, ...]:
        """Return the account of each study, in the order of their approval."""
        with self._book.page() as page:
            studies = dict(page.history.studies)
        return accounts_of(studies)

    def lifetime(self, patient_key: bytes | None = None) -> Lifetime:
        """Compute what a patient has spent or reserved over all studies.

        Args:
            patient_key: One patient (never seen: 0); None looks for the most charged of all.
        """
        with self._book.page() as page:
            groups = members.groups(page.connection, patient_key=patient_key)
            charged = [tuple(page.history.charged(side, snapshots)) for side, snapshots in groups]
        return largest_lifetime(charged, self._limits)

    def head(self) -> bytes:
        """Return the hash of the newest row."""
        with self._book.page() as page:
            return page.tip.hash

    def knows_head(self, head: bytes) -> bool:
        """Return whether ``head`` was this ledger's head once; a restored older copy lacks its later ones."""
        with self._book.page() as page:
            return page.knows(head)

    def verify(self) -> int:
        """Recompute the whole chain, and compare every snapshot's members with it; return the number of rows.

        Raises:
            StorageError: ``ledger.broken``, naming the first bad row.
        """
        return self._book.verify()

    def _wanted(self, plan: StudyPlan, plan_digest: bytes, snapshot: bytes) -> Reservation:
        """What approval would reserve, if the plan alone gives no reason to refuse it; needs no history."""
        if plan_digest != digest_of_plan(plan):
            raise refusals.other_plan(plan.study)
        wanted = _reservation(plan, plan_digest, snapshot)
        check_study(wanted, self._limits)
        return wanted

    def _reserved(self, page: Page, wanted: Reservation) -> Reservation | None:
        """The reservation that exists already, or None where ``wanted`` may be made."""
        study = page.history.studies.get(wanted.study)
        if study is not None:
            _check_open(study, wanted.study, plan_digest=wanted.plan_digest)
            if wanted.snapshot in study.reservations:
                return study.reservations[wanted.snapshot]
        for side, snapshots in members.groups(page.connection, snapshot=wanted.snapshot):
            charged = page.history.charged(side, snapshots, without=wanted.study)
            check_lifetime(wanted, self._limits, side=side, charged=charged)
        return None


def _reservation(plan: StudyPlan, plan_digest: bytes, snapshot: bytes) -> Reservation:
    """What approving ``plan`` would reserve; its place in the chain is not known yet."""
    return Reservation(
        seq=0,
        study=plan.study,
        task=plan.task.name,
        plan_digest=plan_digest,
        snapshot=snapshot,
        target_epsilon=plan.privacy.target_epsilon,
        evaluation_epsilon=0.0 if plan.evaluation is None else plan.evaluation.epsilon,
        target_delta=plan.privacy.target_delta,
        train=train_event(plan, plan.steps),
        evaluate=evaluate_event(plan),
    )


def _study(page: Page, name: str) -> Study:
    study = page.history.studies.get(name)
    if study is None:
        raise refusals.not_approved(name)
    return study


def _check_open(study: Study, name: str, *, plan_digest: bytes) -> None:
    if study.plan_digest != plan_digest:
        raise refusals.name_taken(name)
    if study.closed:
        raise refusals.closed(name)


def _same(known: Spend, claim: Claim) -> Spend:
    """Return ``known`` if ``claim`` is the same in every field."""
    before = asdict(known)
    differing = [name for name, value in asdict(claim).items() if before[name] != value]
    if differing:
        raise refusals.rerun_differs(claim.round, differing)
    return known


def _check_claim(study: Study, claim: Claim) -> None:
    """Return only if the claim is for a new round, approved data, and within the reservation."""
    if claim.round <= study.last_round:
        raise refusals.round_passed(claim.round, study.last_round)
    if claim.snapshot not in study.reservations:
        raise refusals.unknown_snapshot()
    planned = study.reservation.planned(claim.kind)
    if planned is None:
        raise refusals.not_reserved(claim.round, f"the plan has no rounds of kind {claim.kind!r}")
    if replace(claim.event, steps=planned.steps) != planned:
        raise refusals.not_reserved(claim.round, "its event differs from the planned one")
    left = planned.steps - sum(event.steps for event in study.spent(claim.kind))
    if claim.event.steps > left:
        raise refusals.not_reserved(claim.round, f"it needs {claim.event.steps} steps, {left} are left")
