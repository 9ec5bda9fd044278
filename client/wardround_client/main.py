"""``wardround-site``: a hospital's command line.

Privacy: prints counts, reason codes and the audit log; what is derived from scans in a dry run is not kept.
"""

from __future__ import annotations

import datetime
import json
import secrets
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wardround_client.keeping import RESTORED, SITE
from wardround_common.audit.main import app as audit_app
from wardround_common.backup.main import add_commands
from wardround_common.canonical import read_toml
from wardround_common.errors import ConsentError
from wardround_common.plan import StudyPlan
from wardround_common.plan_checks import plan_from_tables
from wardround_common.plan_text import explain as explain_plan
from wardround_common.programs import run_program

if TYPE_CHECKING:
    from wardround_client.sealing import Sealer

app = typer.Typer(
    name="wardround-site",
    help="A hospital's side of federated studies: scans stay here, only masked updates leave.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

plan_commands = typer.Typer(help="Plans: add, list, explain, approve.", no_args_is_help=True)
data_commands = typer.Typer(help="The images that a plan may use.", no_args_is_help=True)
app.add_typer(plan_commands, name="plan")
app.add_typer(data_commands, name="data")
app.add_typer(audit_app, name="audit")

Dir = Annotated[Path, typer.Argument(metavar="DIR", help="The site's folder.")]
Digest = Annotated[str, typer.Argument(metavar="DIGEST", help="Of a plan; its first eight digits will do.")]
Workers = Annotated[int, typer.Option(min=1, max=64, help="Processes that read files.")]
Plan = Annotated[Path, typer.Argument(help="A plan as TOML.")]


@app.command()
def explain(plan: Plan) -> None:
    """Check a plan and print it in plain words, with the digest that sites approve."""
    typer.echo(explain_plan(plan_from_tables(read_toml(plan))), nl=False)


@app.command("check-data")
def check_data(
    plan: Plan,
    folder: Annotated[Path, typer.Argument(help="Folder of DICOM files with labels.csv.")],
    workers: Workers = 1,
) -> None:
    """Read a folder as a study would, keep nothing, and say what can be used and why the rest cannot."""
    from wardround_client.sealing import SiteKey

    with tempfile.TemporaryDirectory() as store:
        _read(
            folder,
            plan_from_tables(read_toml(plan)),
            store=Path(store) / "data",
            sealer=SiteKey.new().data(b""),
            secret=secrets.token_bytes(32),
            workers=workers,
        )


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


@app.command()
def status(folder: Dir) -> None:
    """Show whether the line stands, and what was decided about each plan."""
    from wardround_client.home import SiteHome

    config = SiteHome(folder).config
    typer.echo(f"{config.name}, coordinator at {config.host}:{config.port}: {_line(folder)}")
    _list(folder)


@data_commands.command("add")
def add_data(
    folder: Dir,
    scans: Annotated[Path, typer.Argument(metavar="FOLDER", help="DICOM files with labels.csv.")],
    plan: Annotated[str, typer.Option(metavar="DIGEST", help="The plan that the images are for.")],
    workers: Workers = 1,
) -> None:
    """Read a folder for a plan into this site's catalogue; files are only read, nothing leaves."""
    from wardround_client.home import SiteHome
    from wardround_client.shelf import Shelf
    from wardround_common.trust import plan_digest

    home = SiteHome(folder)
    found = Shelf(folder).find(plan)
    if found.approved:
        raise ConsentError(
            "the plan was approved on the images that were read for it before",
            remedy="Ask the lead for a new plan; what was approved stays as it is.",
            code="data.approved",
        )
    _read(
        scans,
        found.plan,
        store=found.catalogue.parent,
        sealer=home.site_key.data(plan_digest(found.plan)),
        secret=home.patients_secret,
        workers=workers,
    )


@data_commands.command("rejects")
def show_rejects(folder: Dir, digest: Digest) -> None:
    """Print, as CSV, the files that were read for a plan and cannot be used, and why."""
    from wardround_client.home import SiteHome
    from wardround_client.ingest import load_rejects
    from wardround_client.shelf import Shelf
    from wardround_common.trust import plan_digest

    found = Shelf(folder).find(digest)
    sealer = SiteHome(folder).site_key.data(plan_digest(found.plan))
    typer.echo(load_rejects(found.catalogue.parent, sealer=sealer), nl=False)


@plan_commands.command("add")
def add_plan(
    folder: Dir, file: Annotated[Path, typer.Argument(metavar="SIGNED", help="As the lead signed it.")]
) -> None:
    """Keep a signed plan. Nothing happens until it is approved."""
    from wardround_client.shelf import Shelf
    from wardround_common.files import read
    from wardround_common.trust import SIGNED_LIMIT_BYTES

    typer.echo(Shelf(folder).add(read(file, limit_bytes=SIGNED_LIMIT_BYTES)).digest)


@plan_commands.command("list")
def list_plans(folder: Dir) -> None:
    """List the plans, and what was decided about each."""
    _list(folder)


@plan_commands.command("explain")
def explain_shelved(folder: Dir, digest: Digest) -> None:
    """Print a plan in plain words."""
    from wardround_client.shelf import Shelf

    typer.echo(explain_plan(Shelf(folder).find(digest).plan), nl=False)


@plan_commands.command()
def approve(folder: Dir, digest: Digest) -> None:
    """Approve exactly this plan on the images that were read for it, after this site's own checks."""
    from wardround_client.home import SiteHome
    from wardround_client.shelf import Shelf
    from wardround_client.site import check_consent, confirm_noise, open_ledger
    from wardround_common.trust import open_plan, plan_digest

    config = SiteHome(folder).config
    found = Shelf(folder).find(digest)
    open_plan(found.signed, today=datetime.date.today())
    check_consent(found.plan, name=config.name, policy=config.policy)
    confirm_noise(found.plan)
    ledger = open_ledger(folder, policy=config.policy)
    try:
        ledger.check(found.plan, plan_digest(found.plan))
    finally:
        ledger.shut()
    found.approve()
    typer.echo(f"approved: {found.plan.study}, {found.digest}")


def _list(folder: Path) -> None:
    from wardround_client.shelf import Shelf

    for found in Shelf(folder).all():
        typer.echo(f"{found.digest[:16]}  {found.plan.study}: {found.state}")


def _line(folder: Path) -> str:
    from wardround_client.daemon import STATUS
    from wardround_common.files import read

    if not (folder / STATUS).is_file():
        return "the daemon was never started"
    said = json.loads(read(folder / STATUS, limit_bytes=4096))
    return f"{said['state']} {said['code']}".strip()


def _read(
    folder: Path, wanted: StudyPlan, *, store: Path, sealer: Sealer, secret: bytes, workers: int
) -> None:
    """Read a folder, and say what can be used and why the rest cannot."""
    from wardround_client.catalogue import SIDES
    from wardround_client.ingest import REASONS, ingest

    with typer.progressbar(length=1, label="reading", file=sys.stderr) as bar:

        def progress(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        read = ingest(
            folder,
            store=store,
            sealer=sealer,
            input_plan=wanted.input,
            labels=wanted.labels,
            site_secret=secret,
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


add_commands(app, SITE, restored=RESTORED)


def main() -> None:
    """Entry point."""
    run_program(app)
