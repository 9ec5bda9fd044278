"""``wardround-coordinator``: the coordinator's command line.

Privacy: reads plans and the audit log; no patient data can reach this program.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wardround_common.audit.main import app as audit_app
from wardround_common.canonical import read_toml
from wardround_common.plan_checks import plan_from_tables
from wardround_common.plan_text import explain as explain_plan
from wardround_common.programs import run_program

app = typer.Typer(
    name="wardround-coordinator",
    help="Run federated studies: rounds, secure aggregation, reports. Sees sums, never a scan.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(audit_app, name="audit")


@app.command()
def explain(plan: Annotated[Path, typer.Argument(help="A plan as TOML.")]) -> None:
    """Check a plan and print it in plain words, with the digest that sites approve."""
    typer.echo(explain_plan(plan_from_tables(read_toml(plan))), nl=False)


def main() -> None:
    """Entry point."""
    run_program(app)
