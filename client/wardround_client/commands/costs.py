"""``wardround-site ledger``: what each study has cost so far.

Rules: reads; writes nothing; the daemon may be running.

Privacy: prints epsilons, deltas and numbers of rounds; no patient key and no number of patients.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from wardround_client.commands.arguments import AsJson, Dir, ledger_of
from wardround_client.home import SiteHome
from wardround_client.ledger import Account, Ledger
from wardround_common.errors import ConsentError


def ledger(
    folder: Dir,
    study: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="Only this one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print what each study has cost so far, and the patient who has spent the most in all of them."""
    home = SiteHome(folder)
    home.check()
    with ledger_of(home) as book:
        accounts = () if book is None else book.accounts()
        if study is not None:
            accounts = tuple(one for one in accounts if one.study == study)
            _check_known(study, accounts)
        data = {"studies": [account_data(one) for one in accounts]} | _whole(book, home)
    typer.echo(json.dumps(data, indent=2) if as_json else _text(data))


def account_data(account: Account) -> dict[str, Any]:
    """An account as JSON has it."""
    return {
        "study": account.study,
        "task": account.task,
        "plan": account.plan.hex(),
        "spent": {
            "train": account.spent.train,
            "validation": account.spent.validation,
            "test": account.spent.test,
        },
        "budget": {"train": account.train_budget, "held_out": account.held_out_budget},
        "delta": account.delta,
        "rounds": account.rounds,
        "last_round": account.last_round,
        "closed": account.closed,
    }


def _check_known(study: str, accounts: tuple[Account, ...]) -> None:
    if not accounts:
        raise ConsentError(
            f"the ledger knows no study named {study}",
            remedy="Its names are in `wardround-site ledger DIR`; a study enters it when the daemon takes up "
            "the approval.",
            code="ledger.not_approved",
        )


def _whole(book: Ledger | None, home: SiteHome) -> dict[str, Any]:
    policy = home.config.policy
    epsilon = 0.0 if book is None else book.lifetime().epsilon
    return {
        "lifetime": {
            "epsilon": epsilon,
            "limit": policy.lifetime_epsilon,
            "delta": policy.lifetime_delta,
        },
        "head": None if book is None else book.head().hex(),
    }


def _text(data: dict[str, Any]) -> str:
    lines = [line for one in data["studies"] for line in _study_lines(one)]
    lines = lines or ["Nothing was reserved or spent yet."]
    lifetime, head = data["lifetime"], data["head"]
    lines.append(
        f"most exposed patient, all studies: epsilon {lifetime['epsilon']:.4f} spent or reserved, of "
        f"{lifetime['limit']:g} at delta {lifetime['delta']:g}"
    )
    return "\n".join([*lines, f"head {head}"] if head else lines)


def _study_lines(one: dict[str, Any]) -> list[str]:
    state = "closed" if one["closed"] else "open"
    rounds = "round" if one["rounds"] == 1 else "rounds"
    head = (
        f"{one['study']} ({one['task']}, {state}): {one['rounds']} {rounds} paid for, delta {one['delta']:g}"
    )
    budget = {side: one["budget"]["train" if side == "train" else "held_out"] for side in one["spent"]}
    kept = "" if one["closed"] else "reserved "
    sides = [
        f"  {side:<10}  epsilon {epsilon:.4f} spent, of {budget[side]:g} {kept}".rstrip()
        for side, epsilon in one["spent"].items()
    ]
    return [head, *sides]
