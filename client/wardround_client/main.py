"""``wardround-site``: a hospital's command line.

Privacy: prints counts, reason codes and the audit log; what is derived from scans in a dry run is not kept.
"""

from __future__ import annotations

import secrets
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from wardround_common.audit.main import app as audit_app
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

app.add_typer(audit_app, name="audit")

Plan = Annotated[Path, typer.Argument(help="A plan as TOML.")]


@app.command()
def explain(plan: Plan) -> None:
    """Check a plan and print it in plain words, with the digest that sites approve."""
    typer.echo(explain_plan(plan_from_tables(read_toml(plan))), nl=False)


@app.command("check-data")
def check_data(
    plan: Plan,
    folder: Annotated[Path, typer.Argument(help="Folder of DICOM files with labels.csv.")],
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that read files.")] = 1,
) -> None:
    """Read a folder as a study would, keep nothing, and say what can be used and why the rest cannot."""
    from wardround_client.catalogue import SIDES
    from wardround_client.ingest import REASONS, ingest

    wanted = plan_from_tables(read_toml(plan))
    with (
        tempfile.TemporaryDirectory() as store,
        typer.progressbar(length=1, label="reading", file=sys.stderr) as bar,
    ):

        def progress(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        read = ingest(
            folder,
            store=Path(store) / "data",
            input_plan=wanted.input,
            labels=wanted.labels,
            site_secret=secrets.token_bytes(32),
            progress=progress,
            workers=workers,
        )
    catalogue = read.catalogue
    typer.echo(f"{len(catalogue.label_N)} scans of {len(catalogue.patient_keys)} patients can be used:")
    for side in SIDES:
        typer.echo(f"  {side}: {len(catalogue.of_side(side).patient_keys)} patients")
    typer.echo(f"{len(read.rejects)} files cannot be used:")
    for code, count in sorted(Counter(row.code for row in read.rejects).items()):
        typer.echo(f"  {count} {code}: {REASONS[code]}")


def main() -> None:
    """Entry point."""
    run_program(app)
