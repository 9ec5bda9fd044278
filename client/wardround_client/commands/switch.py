"""``wardround-site pause`` and ``resume``: the kill switch.

Privacy: a note is what a person typed; it stays at the site.
"""

from __future__ import annotations

from typing import Annotated

import typer

from wardround_client.commands.arguments import Dir, write_down
from wardround_client.home import CONFIG, SiteHome
from wardround_client.pausing import Pause
from wardround_common.audit import Happened, clean_note

Note = Annotated[str, typer.Option(metavar="TEXT", help="Who says so, and why; for your records.")]


def pause(folder: Dir, note: Note = "") -> None:
    """Stop everything at once: nothing leaves this site until `resume`, whether or not the daemon runs."""
    home, switch = SiteHome(folder), Pause(folder)
    if not (folder / CONFIG).is_file():
        home.check()
    switch.begin(clean_note(note))  # first of all: it holds also where key or audit log cannot be used
    write_down(home, Happened(event="paused", note=clean_note(note)))
    typer.echo(f"{home.config.name} is paused since {switch.since}. Nothing leaves until `resume`.")


def resume(folder: Dir, note: Note = "") -> None:
    """End a pause. The site takes part again with the next round or attempt."""
    home = SiteHome(folder)
    home.check()
    switch = Pause(folder)
    if switch.since is None:
        typer.echo(f"{home.config.name} is not paused.")
        return
    write_down(home, Happened(event="resumed", note=clean_note(note)))
    switch.end()
    typer.echo(f"{home.config.name} takes part again.")
