"""``wardround-site``: a hospital's command line.

Not here: what the commands do (``commands``).

Privacy: prints counts, reason codes and the audit log; what is derived from scans in a dry run is not kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wardround_client.commands import data, plans
from wardround_client.commands.arguments import Dir, Plan
from wardround_client.commands.costs import ledger
from wardround_client.commands.health import doctor
from wardround_client.commands.keys import trust
from wardround_client.commands.states import status
from wardround_client.commands.switch import pause, resume
from wardround_client.keeping import RESTORED, SITE
from wardround_common.audit.main import app as audit_app
from wardround_common.backup.main import add_commands
from wardround_common.canonical import read_toml
from wardround_common.plan_checks import plan_from_tables
from wardround_common.plan_text import explain as explain_plan
from wardround_common.programs import run_program

app = typer.Typer(
    name="wardround-site",
    help="A hospital's side of federated studies: scans stay here, only masked updates leave.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def explain(plan: Plan) -> None:
    """Check a plan and print it in plain words, with the digest that sites approve."""
    typer.echo(explain_plan(plan_from_tables(read_toml(plan))), nl=False)


app.command("check-data")(data.check_data)


@app.command()
def join(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder for this site.")],
    code: Annotated[str, typer.Argument(metavar="CODE", help="What `wardround-coordinator enrol` printed.")],
) -> None:
    """Make this site's keys, and join the coordinator of a code."""
    from wardround_client.join import join as join_coordinator
    from wardround_common.enrolment import read_code
    from wardround_common.identity import fingerprint

    home = join_coordinator(folder, read_code(code))
    typer.echo(f"{home.config.name} has joined. Hand {folder / 'card'} to the authority, and read out:")
    typer.echo(f"\n  {fingerprint(home.signer.key.public)}")


@app.command()
def run(folder: Dir) -> None:
    """Run the site's daemon: take part in the studies whose plans were approved. Connects outward only."""
    from wardround_client.daemon import run_site
    from wardround_client.home import SiteHome

    run_site(SiteHome(folder))


for command in (status, doctor, pause, resume, trust, ledger):
    app.command()(command)
app.add_typer(plans.app, name="plan")
app.add_typer(data.app, name="data")
app.add_typer(audit_app, name="audit")
add_commands(app, SITE, restored=RESTORED)


def main() -> None:
    """Entry point."""
    run_program(app)
