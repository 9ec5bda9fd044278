"""What each study has cost at this site, for people to read.

Not here: what is refused (``limits``), the file (``book``).

Privacy: epsilons, deltas and numbers of rounds; no patient key and no number of patients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from wardround_client.ledger.history import Study
from wardround_client.ledger.limits import SideEpsilon, side_epsilon


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """One study's account.

    Attributes:
        study: Its name.
        task: Its task.
        plan: Digest of its plan.
        spent: What it has cost a patient of each side so far, by PLD at ``delta``.
        delta: Its plan's.
        train_budget: Epsilon that is promised to training patients.
        held_out_budget: Epsilon that is promised to validation and to test patients.
        rounds: Number of rounds that it was paid for.
        last_round: The highest of them; 0 where there is none.
        closed: Whether it has ended here, so that its patients are charged with what was spent only.
    """

    study: str
    task: str
    plan: bytes
    spent: SideEpsilon
    delta: float
    train_budget: float
    held_out_budget: float
    rounds: int
    last_round: int
    closed: bool


def spent(study: Study) -> SideEpsilon:
    """What a study has cost a patient of each side so far."""
    train, evaluate = study.spent("train"), study.spent("evaluate")
    return side_epsilon(train, evaluate, delta=study.reservation.target_delta)


def accounts_of(studies: Mapping[str, Study]) -> tuple[Account, ...]:
    """The accounts of all studies, in the order of their approval."""
    return tuple(
        Account(
            study=name,
            task=study.reservation.task,
            plan=study.plan_digest,
            spent=spent(study),
            delta=study.reservation.target_delta,
            train_budget=study.reservation.target_epsilon,
            held_out_budget=study.reservation.evaluation_epsilon,
            rounds=len(study.spends),
            last_round=max(study.last_round, 0),
            closed=study.closed,
        )
        for name, study in studies.items()
    )
