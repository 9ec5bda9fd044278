"""``wardround-site status``: the line, the pause, the plans, and what was spent on each.

Privacy: prints names, states, numbers of rounds and epsilons.
"""

from __future__ import annotations

import json
from typing import Any

import typer

from wardround_client.commands.arguments import AsJson, Dir, ledger_of
from wardround_client.home import STATUS, SiteHome
from wardround_client.pausing import Pause
from wardround_client.shelf import Shelf, Shelved
from wardround_client.trouble import words
from wardround_common.errors import ConfigError
from wardround_common.files import read
from wardround_common.locks import is_held

_STATUS_LIMIT_BYTES = 4096


def status(folder: Dir, as_json: AsJson = False) -> None:
    """Show whether the line stands, whether the site is paused, and how far each plan is."""
    home = SiteHome(folder)
    config, pause = home.config, Pause(folder)
    with ledger_of(home) as ledger:
        accounts = {one.plan.hex(): one for one in (() if ledger is None else ledger.accounts())}
    plans = []
    for found in Shelf(folder).all():
        account = accounts.get(found.digest)
        plans.append(
            _plan(found)
            | {
                "last_round": 0 if account is None else account.last_round,
                "epsilon": 0.0 if account is None else account.spent.largest,
            }
        )
    data = {
        "site": config.name,
        "coordinator": f"{config.host}:{config.port}",
        "daemon": is_held(folder),
        "line": _line(home),
        "paused": pause.since,
        "note": pause.note,
        "plans": plans,
    }
    typer.echo(json.dumps(data, indent=2) if as_json else _text(data))


def _plan(found: Shelved) -> dict[str, Any]:
    return {"plan": found.digest, "study": found.plan.study, "state": found.state}


def _line(home: SiteHome) -> dict[str, Any]:
    """What the daemon said last of its line."""
    try:
        said = json.loads(read(home.path / STATUS, limit_bytes=_STATUS_LIMIT_BYTES))
        return {
            "state": str(said["state"]),
            "code": str(said["code"]),
            "clock_s": int(said.get("clock_s", 0)),
        }
    except (ConfigError, ValueError, KeyError, TypeError):
        return {"state": "", "code": "", "clock_s": 0}


def _text(data: dict[str, Any]) -> str:
    line, since = data["line"], data["paused"]
    said = f"{line['state']} {line['code']}".strip() or "the daemon was never started"
    if line["state"] == "online" and not data["daemon"]:
        said = "the daemon does not run"
    elif advice := words(line["code"], line["clock_s"]):
        said += f". {advice}"
    lines = [f"{data['site']}, coordinator at {data['coordinator']}: {said}"]
    if since is not None:
        note = f" ({data['note']})" if data["note"] else ""
        lines.append(f"PAUSED since {since}{note}: nothing leaves until `wardround-site resume`")
    lines += [_plan_line(one) for one in data["plans"]]
    return "\n".join(lines)


def _plan_line(one: dict[str, Any]) -> str:
    head = f"{one['plan'][:16]}  {one['study']}: {one['state']}"
    if not one["last_round"]:
        return head
    return f"{head}; last round taken part in {one['last_round']}, epsilon {one['epsilon']:.4f} so far"
