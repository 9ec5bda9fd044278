"""``wardround-coordinator``: the coordinator's command line.

Privacy: reads plans, cards, rosters and the audit log; no patient data can reach this program.
"""

from __future__ import annotations

import datetime
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from wardround_common.audit.main import app as audit_app
from wardround_common.backup.main import add_commands
from wardround_common.canonical import read_toml
from wardround_common.plan_checks import plan_from_tables
from wardround_common.plan_text import explain as explain_plan
from wardround_common.programs import run_program
from wardround_server.commands.arguments import Dir, public_key
from wardround_server.commands.steering import report
from wardround_server.commands.studies import app as study_app
from wardround_server.keeping import COORDINATOR, RESTORED

app = typer.Typer(
    name="wardround-coordinator",
    help="Run federated studies: rounds, secure aggregation, reports. Sees sums, never a scan.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(study_app, name="study")
app.add_typer(audit_app, name="audit")


@app.command()
def explain(plan: Annotated[Path, typer.Argument(help="A plan as TOML.")]) -> None:
    """Check a plan and print it in plain words, with the digest that sites approve."""
    typer.echo(explain_plan(plan_from_tables(read_toml(plan))), nl=False)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
    host: Annotated[str, typer.Option(help="Name or address that hospitals reach this machine by.")],
    bind: Annotated[str, typer.Option(help="Address that the outer ports are opened on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="For rounds.")] = 8443,
    enrol_port: Annotated[int, typer.Option(min=1, max=65535, help="For joining.")] = 8444,
    runtime_port: Annotated[int, typer.Option(min=1, max=65535, help="For the job, on loopback.")] = 8445,
    public_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="For rounds, where something in front passes it on.")
    ] = None,
    enrol_host: Annotated[str | None, typer.Option(help="For joining, if it is another name.")] = None,
    public_enrol_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="For joining, where something in front passes it on.")
    ] = None,
) -> None:
    """Make a coordinator: identity and card, CA and server certificate."""
    from wardround_common.canonical import convert
    from wardround_common.identity import fingerprint
    from wardround_server.home import CoordinatorConfig, create

    fields = {"host": host, "bind": bind, "port": port, "enrol_port": enrol_port}
    fields |= {"runtime_port": runtime_port, "public_port": public_port}
    fields |= {"enrol_host": enrol_host, "public_enrol_port": public_enrol_port}
    home = create(folder, convert(fields, CoordinatorConfig, where="options"))
    typer.echo(f"The coordinator is in {folder}. Hand {folder / 'card'} to the authority, and read out:")
    typer.echo(f"\n  {fingerprint(home.signer.key.public)}")


@app.command()
def enrol(
    folder: Dir,
    site: Annotated[str, typer.Argument(metavar="SITE", help="Its name, as in plans.")],
    hours: Annotated[int, typer.Option(min=1, max=720, help="How long the code is good for.")] = 72,
) -> None:
    """Print a join code for one site and one use. It is a secret until the site has joined."""
    from wardround_server.enrolment import invite
    from wardround_server.home import CoordinatorHome

    typer.echo(invite(CoordinatorHome(folder), site, hours=hours))


@app.command()
def roster(
    folder: Dir,
    file: Annotated[Path, typer.Argument(metavar="ROSTER", help="As the authority signed it.")],
    authority: Annotated[
        str, typer.Option(metavar="KEY", help="The authority's key in hex, or its file authority.pub.")
    ],
) -> None:
    """Take up a roster that the authority signed; service and studies that run do so within a second."""
    from wardround_common.files import read
    from wardround_common.trust import SIGNED_LIMIT_BYTES
    from wardround_server.home import CoordinatorHome

    signed = read(file, limit_bytes=SIGNED_LIMIT_BYTES)
    home, key, today = CoordinatorHome(folder), public_key(authority), datetime.date.today()
    opened = home.take_roster(signed, authority_key=key, today=today)
    typer.echo(f"roster version {opened.version}, until {opened.expires}: {len(opened.sites)} sites")


@app.command()
def run(folder: Dir) -> None:
    """Run the service: the port for sites, the port for joining, and the one for jobs on this machine."""
    from wardround_common.logs import log_to
    from wardround_server.home import CoordinatorHome
    from wardround_server.service import serve

    home = CoordinatorHome(folder)
    config = home.config
    log_to(folder / "log.jsonl")

    def ready() -> None:
        typer.echo(
            f"ready: rounds on {config.bind}:{config.port}, joining on {config.bind}:{config.enrol_port}"
        )
        sys.stdout.flush()

    serve(home, ready=ready)


@app.command()
def status(folder: Dir) -> None:
    """Show who has joined and how far each study is."""
    from wardround_common.identity import fingerprint
    from wardround_server.home import CoordinatorHome
    from wardround_server.standing import standing

    home = CoordinatorHome(folder)
    typer.echo(f"reached at {home.config.host}:{home.config.port}; service {_service(folder)}")
    for card in home.cards():
        typer.echo(f"  {card.name}  {fingerprint(card.key)}")
    for name in home.studies():
        typer.echo(f"study {name}: {standing(home.study(name)).line}")


app.command()(report)


def _service(folder: Path) -> str:
    try:
        pid = int((folder / "service.pid").read_text(encoding="ascii"))
        os.kill(pid, 0)
    except (OSError, ValueError):
        return "not running"
    return f"running as process {pid}"


add_commands(app, COORDINATOR, restored=RESTORED)


def main() -> None:
    """Entry point."""
    run_program(app, stopped="what was reached is in the journals")
