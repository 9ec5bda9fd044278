"""``wardround-site doctor``: what works, what does not, and what to do.

Privacy: prints names, dates, codes and sizes.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer
from msgspec.structs import asdict

from wardround_client.commands.arguments import AsJson, Dir
from wardround_client.doctor import examine
from wardround_client.home import SiteHome


def doctor(
    folder: Dir,
    as_json: AsJson = False,
    gpu: Annotated[bool, typer.Option("--gpu", help="Look for a GPU too; takes a while.")] = False,
) -> None:
    """Check everything, one line each: ok, warn or FAIL with what to do; exit status 1 where one FAILs."""
    if not folder.is_dir():
        SiteHome(folder).check()
    findings = examine(folder, gpu=gpu)
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in findings], indent=2))
    else:
        typer.echo("\n".join(one.line for one in findings))
    if any(one.verdict == "FAIL" for one in findings):
        raise typer.Exit(1)
