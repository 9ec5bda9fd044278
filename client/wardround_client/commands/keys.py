"""``wardround-site trust``: whose key is whose, as it was read out over the phone.

Privacy: prints names and fingerprints of institutions.
"""

from __future__ import annotations

from typing import Annotated

import typer

from wardround_client.commands.arguments import Dir
from wardround_client.home import SiteHome
from wardround_client.pins import Pins
from wardround_common.errors import ConfigError


def trust(
    folder: Dir,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="authority, coordinator, lead, or a site's name.")
    ] = None,
    fingerprint: Annotated[
        list[str] | None, typer.Argument(metavar="[FINGERPRINT]", help="As it was read out.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="NAME may be pinned to another one.")] = False,
) -> None:
    """Pin the key of NAME: a plan or roster that gives NAME another key is refused. Without NAME, list."""
    SiteHome(folder).check()
    pins = Pins(folder)
    if name is not None:
        if not fingerprint:
            raise ConfigError(
                f"there is no fingerprint for {name}",
                remedy="Give NAME and FINGERPRINT, as its owner reads it out; without both, pins are listed.",
                code="trust.fingerprint",
            )
        pins.put(name, " ".join(fingerprint), replace=replace)
    known = pins.all()
    for one, pinned in sorted(known.items()):
        typer.echo(f"{pinned}  {one}")
    if not known:
        typer.echo("No key is pinned: authority and lead are those that an approved plan names.")
