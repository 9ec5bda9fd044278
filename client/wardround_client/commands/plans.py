"""``wardround-site plan``: what reached the site, and what people decided about it.

Privacy: prints plans, digests and reasons that people typed.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated

import typer

from wardround_client.commands.arguments import Digest, Dir, ledger_of, record_of, write_down
from wardround_client.home import SiteHome
from wardround_client.pins import Pins
from wardround_client.shelf import Shelf, Shelved
from wardround_client.site import check_consent, confirm_noise, open_ledger
from wardround_common.audit import Happened, clean_note
from wardround_common.errors import ConfigError
from wardround_common.files import read
from wardround_common.plan_text import explain as explain_plan
from wardround_common.trust import SIGNED_LIMIT_BYTES, open_plan, plan_digest

app = typer.Typer(help="Plans: add, list, explain, approve, refuse, settle.", no_args_is_help=True)


@app.command()
def add(
    folder: Dir, file: Annotated[Path, typer.Argument(metavar="SIGNED", help="As the lead signed it.")]
) -> None:
    """Keep a signed plan. Nothing happens until it is approved."""
    SiteHome(folder).check()
    typer.echo(Shelf(folder).add(read(file, limit_bytes=SIGNED_LIMIT_BYTES)).digest)


@app.command("list")
def list_all(folder: Dir) -> None:
    """List the plans, and what was decided about each."""
    SiteHome(folder).check()
    for found in Shelf(folder).all():
        typer.echo(f"{found.digest[:16]}  {found.plan.study}: {found.state}")


@app.command()
def explain(folder: Dir, digest: Digest) -> None:
    """Print a plan in plain words."""
    typer.echo(explain_plan(Shelf(folder).find(digest).plan), nl=False)


@app.command()
def approve(
    folder: Dir,
    digest: Digest,
    reconsider: Annotated[bool, typer.Option("--reconsider", help="Though it was refused before.")] = False,
) -> None:
    """Approve exactly this plan on the images that were read for it, after this site's own checks."""
    config = SiteHome(folder).config
    found = Shelf(folder).find(digest)
    found.check_reconsidered(reconsider=reconsider)
    open_plan(found.signed, today=datetime.date.today())
    Pins(folder).check_plan(found.plan)
    check_consent(found.plan, name=config.name, policy=config.policy)
    confirm_noise(found.plan)
    ledger = open_ledger(folder, policy=config.policy)
    try:
        ledger.check(found.plan, plan_digest(found.plan))
    finally:
        ledger.shut()
    found.approve(reconsider=reconsider)
    typer.echo(f"approved: {found.plan.study}, {found.digest}")


@app.command()
def refuse(
    folder: Dir,
    digest: Digest,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Who says so, and why; for your records.")] = "",
) -> None:
    """Refuse a plan. One that was approved is withdrawn: the site takes part in nothing of it any more."""
    home = SiteHome(folder)
    home.check()
    found = Shelf(folder).find(digest)
    found.refuse(clean_note(reason))
    code = "plan.withdrawn" if found.was_approved else ""
    plan, note = plan_digest(found.plan), clean_note(reason)
    write_down(home, Happened(event="refused", study=found.plan.study, plan=plan, code=code, note=note))
    typer.echo(f"refused: {found.plan.study}, {found.digest}")
    if found.was_approved:
        typer.echo(_close(home, found))


@app.command()
def settle(
    folder: Dir,
    digest: Digest,
    note: Annotated[str, typer.Option(metavar="TEXT", help="Who says so, and what was found out.")],
) -> None:
    """End a pause that a study made by itself at this site: two void rounds, or results that differ."""
    home, text = SiteHome(folder), clean_note(note).strip()
    home.check()
    found = Shelf(folder).find(digest)
    if not text:
        raise ConfigError(
            "a pause is ended with a note",
            remedy="Say with --note who decided so, and what was found out.",
            code="plan.no_note",
        )
    plan = plan_digest(found.plan)
    with record_of(home, plan) as record:
        write_down(home, Happened(event="settled", study=found.plan.study, plan=plan, note=text))
        record.settle(text)
    typer.echo(f"settled: {found.plan.study}, {found.digest}")


def _close(home: SiteHome, found: Shelved) -> str:
    """End a withdrawn study in the ledger; what is free again, in words."""
    study, digest = found.plan.study, plan_digest(found.plan)
    with ledger_of(home) as ledger:
        accounts = () if ledger is None else ledger.accounts()
        mine = [one for one in accounts if (one.study, one.plan) == (study, digest)]
        if ledger is None or not mine:
            return "The approval is withdrawn. Nothing was reserved or spent for it yet."
        ledger.close(study)
    return (
        f"The approval is withdrawn. Its {mine[0].rounds} rounds stay in the ledger as spent; the rest of "
        "what was reserved is free again.\nThis study cannot be approved here again."
    )
