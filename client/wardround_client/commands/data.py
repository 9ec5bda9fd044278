"""``wardround-site data`` and ``check-data``: the images that a plan may use.

Privacy: prints counts and reason codes, and paths of originals where a person asks for the rejects; what is
derived from scans in a dry run is sealed under a key that is gone with it, and not kept.
"""

from __future__ import annotations

import secrets
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from wardround_client.commands.arguments import Digest, Dir, DryRun, Plan, Workers
from wardround_client.home import SiteHome
from wardround_client.sealing import Sealer, SiteKey
from wardround_client.shelf import Shelf, Shelved
from wardround_client.summary import Summary, keep, recall, summarise
from wardround_common.canonical import read_toml
from wardround_common.errors import ConsentError
from wardround_common.plan import StudyPlan
from wardround_common.plan_checks import plan_from_tables
from wardround_common.trust import plan_digest

app = typer.Typer(help="The images that a plan may use.", no_args_is_help=True)

MEGABYTE = 1_000_000


def check_data(
    plan: Plan,
    folder: Annotated[Path, typer.Argument(help="Folder of DICOM files with labels.csv.")],
    workers: Workers = 1,
) -> None:
    """Read a folder as a study would, keep nothing, and say what can be used and why the rest cannot."""
    wanted = plan_from_tables(read_toml(plan))
    with tempfile.TemporaryDirectory() as store:
        _read(
            folder,
            wanted,
            store=Path(store) / "data",
            sealer=SiteKey.new().data(b""),
            secret=secrets.token_bytes(32),
            workers=workers,
        )


@app.command()
def add(
    folder: Dir,
    scans: Annotated[Path, typer.Argument(metavar="FOLDER", help="DICOM files with labels.csv.")],
    plan: Annotated[str, typer.Option(metavar="DIGEST", help="The plan that the images are for.")],
    workers: Workers = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and report, keep nothing.")] = False,
) -> None:
    """Read a folder for a plan into this site's catalogue; files are only read, nothing leaves."""
    home = SiteHome(folder)
    found = Shelf(folder).find(plan)
    if found.approved and not dry_run:
        raise ConsentError(
            "the plan was approved on the images that were read for it before",
            remedy="Ask the lead for a new plan; what was approved stays as it is.",
            code="data.approved",
        )
    with _store(found, dry_run=dry_run) as store:
        summary = _read(
            scans,
            found.plan,
            store=store,
            sealer=_sealer(home, found),
            secret=home.patients_secret,
            workers=workers,
        )
        keep(summary, store)
    if dry_run:
        typer.echo("Nothing was kept: this was a dry run.")


@app.command("list")
def list_all(folder: Dir) -> None:
    """List what was read for which plan, when, and how much."""
    SiteHome(folder).check()
    for found in Shelf(folder).all():
        typer.echo(f"{found.digest[:16]}  {found.plan.study} ({found.state}): {_described(found)}")


@app.command()
def rejects(folder: Dir, digest: Digest) -> None:
    """Print, as CSV, the files that were read for a plan and cannot be used, and why."""
    from wardround_client.ingest import load_rejects

    home = SiteHome(folder)
    found = Shelf(folder).find(digest)
    typer.echo(load_rejects(found.catalogue.parent, sealer=_sealer(home, found)), nl=False)


@app.command()
def remove(folder: Dir, digest: Digest, dry_run: DryRun = False) -> None:
    """Delete what was read for a plan that is not approved. The originals and the ledger stay."""
    SiteHome(folder).check()
    found = Shelf(folder).find(digest)
    described = _described(found)
    if dry_run:
        found.check_removable()
        typer.echo(f"would remove, for {found.plan.study}: {described}")
        return
    found.remove_data()
    typer.echo(f"removed, for {found.plan.study}: {described}")
    typer.echo(
        "The ledger forgets nothing: these patients keep what was spent on them, whatever is read anew."
    )


def _described(found: Shelved) -> str:
    if not found.catalogue.is_file():
        return "no data read"
    size = sum(path.stat().st_size for path in found.catalogue.parent.glob("*") if path.is_file())
    summary = recall(found.catalogue.parent)
    if summary is None:
        return f"{size / MEGABYTE:.1f} MB; read it again to know how much it is"
    sides = ", ".join(f"{side} {count}" for side, count in summary.patients.items())
    return (
        f"{summary.scans} scans of {sum(summary.patients.values())} patients ({sides}), "
        f"{summary.rejects} files refused, {size / MEGABYTE:.1f} MB, read {summary.read_at}"
    )


@contextmanager
def _store(found: Shelved, *, dry_run: bool) -> Iterator[Path]:
    """Where images are read to: the plan's folder, or one in it that is gone afterwards."""
    if not dry_run:
        yield found.catalogue.parent
        return
    with tempfile.TemporaryDirectory(prefix=".dry-run-", dir=found.folder) as store:
        yield Path(store) / "data"


def _sealer(home: SiteHome, found: Shelved) -> Sealer:
    """What is read for a plan is sealed with."""
    return home.site_key.data(plan_digest(found.plan))


def _read(
    folder: Path, wanted: StudyPlan, *, store: Path, sealer: Sealer, secret: bytes, workers: int
) -> Summary:
    """Read a folder, and say what can be used and why the rest cannot."""
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
    summary = summarise(read.catalogue, rejects=len(read.rejects))
    typer.echo(f"{summary.scans} scans of {sum(summary.patients.values())} patients can be used:")
    for side, count in summary.patients.items():
        typer.echo(f"  {side}: {count} patients")
    typer.echo(f"{summary.rejects} files cannot be used:")
    for code, count in sorted(Counter(row.code for row in read.rejects).items()):
        typer.echo(f"  {count} {code}: {REASONS[code]}")
    return summary
