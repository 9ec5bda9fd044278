"""``wardround-coordinator study``: the lead's key and plans, adding, opening and running a study.

Privacy: reads plans, cards and rosters.
"""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from wardround_common.canonical import read_toml
from wardround_common.errors import ConfigError
from wardround_common.plan_text import explain as explain_plan
from wardround_server.commands.arguments import AsJson, Dir, Study, command_line, public_key
from wardround_server.commands.steering import pause, resume, stop

app = typer.Typer(
    help="Studies: sign a plan, add it, open it, run it, pause or stop it, see how far it is.",
    no_args_is_help=True,
)

LEAD_KEY = "lead.key"


@app.command()
def lead(folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")]) -> None:
    """Make the key of a lead, who signs plans, and its card for the authority."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from wardround_common.authority import keyfile, make_card
    from wardround_common.files import OWNER_ONLY, write
    from wardround_common.identity import SigningKey, fingerprint

    if folder.exists():
        raise ConfigError(f"{folder} exists", remedy="Name a new folder.", code="coordinator.exists")
    folder.mkdir(mode=0o700, parents=True)
    private = Ed25519PrivateKey.generate()
    key = SigningKey(private)
    write(folder / LEAD_KEY, keyfile.seal(private, None), mode=OWNER_ONLY)
    write(folder / "card", make_card("lead", key))
    typer.echo(f"Hand {folder / 'card'} to the authority, and read out:\n\n  {fingerprint(key.public)}")


@app.command()
def sign(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="TOML; without keys, noise is computed.")],
    lead: Annotated[Path, typer.Option(metavar="DIR", help="The lead's folder.")],
    authority: Annotated[str, typer.Option(metavar="KEY", help="The authority's key in hex, or its file.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The signed plan, for coordinator and sites.")],
) -> None:
    """Complete a plan, sign it as its lead, and print it in plain words."""
    from wardround_common.authority import keyfile
    from wardround_common.files import write
    from wardround_common.plan_draft import complete_plan
    from wardround_common.trust import sign_plan

    key = keyfile.load(lead / LEAD_KEY, None)
    tables = read_toml(plan) | {"authority_key": public_key(authority).hex(), "lead_key": key.public.hex()}
    complete = complete_plan(tables)
    write(out, sign_plan(complete, key))
    typer.echo(explain_plan(complete), nl=False)


@app.command()
def new(
    folder: Dir,
    plan: Annotated[Path, typer.Argument(metavar="SIGNED", help="The plan as the lead signed it.")],
) -> None:
    """Add a study. It runs when it was opened."""
    from wardround_common.files import read
    from wardround_common.trust import SIGNED_LIMIT_BYTES, plan_digest
    from wardround_server.home import CoordinatorHome

    added = CoordinatorHome(folder).add_study(read(plan, limit_bytes=SIGNED_LIMIT_BYTES))
    typer.echo(f"study {added.study}, plan {plan_digest(added).hex()}")


@app.command("open")
def open_study(folder: Dir, name: Study) -> None:
    """Check that a study can run (plan, roster, sites that joined), and let it run from now on."""
    from wardround_server.home import CoordinatorHome
    from wardround_server.opening import check_ready
    from wardround_server.steering import Steering

    home, today = CoordinatorHome(folder), datetime.date.today()
    steering = Steering(home, name, today=today)
    roster = check_ready(home, steering.plan, today=today)
    steering.open()
    typer.echo(
        f"study {name} is open: {len(steering.plan.sites)} sites joined, roster version {roster.version} "
        f"until {roster.expires}"
    )


@app.command("run")
def run_study(folder: Dir, name: Study) -> None:
    """Run a study on the service, or go on with it; prints the path of the report."""
    from wardround_server.control import Control, halted
    from wardround_server.home import CoordinatorHome
    from wardround_server.job import run_job
    from wardround_server.progress import Lines

    home = CoordinatorHome(folder)
    ended = run_job(home, name, Lines(sys.stderr), command=command_line())
    typer.echo(ended.report)
    if ended.paused:
        control = Control(home.study(name))
        raise halted(ended.paused, control.stopped or control.paused)


@app.command()
def status(
    folder: Dir,
    name: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="Only this one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show how far each study is: state, rounds, who was away, who accepted, where the report lies."""
    from msgspec.structs import asdict

    from wardround_server.home import CoordinatorHome
    from wardround_server.standing import standing

    home = CoordinatorHome(folder)
    _ = home.config
    found = [standing(home.study(one)) for one in ([name] if name is not None else home.studies())]
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], indent=2))
    else:
        typer.echo("\n".join(one.text for one in found) or "No study was added yet.")


for command in (pause, resume, stop):
    app.command()(command)
