"""``study pause``, ``study resume``, ``study stop`` and ``report``: what people decide while a study runs.

Privacy: notes are what people typed.
"""

from __future__ import annotations

from typing import Annotated

import typer

from wardround_server.commands.arguments import Dir, Study, command_line

Note = Annotated[str, typer.Option(metavar="TEXT", help="Who says so, and why; for your records.")]
NeededNote = Annotated[str, typer.Option("--note", metavar="TEXT", help="Who says so, and why.")]


def pause(folder: Dir, name: Study, note: Note = "") -> None:
    """Let a study begin no further round until `study resume`. A round that has begun is finished first."""
    from wardround_server.home import CoordinatorHome
    from wardround_server.steering import Steering

    if Steering(CoordinatorHome(folder), name).pause(note):
        typer.echo(f"study {name} is paused.")
    else:
        typer.echo(f"study {name}: its job ends before the next round, and reports.")


def resume(folder: Dir, name: Study, note: NeededNote) -> None:
    """End a pause, also one that the study made by itself; `study run` goes on."""
    from wardround_server.home import CoordinatorHome
    from wardround_server.steering import Steering

    Steering(CoordinatorHome(folder), name).resume(note)
    typer.echo(f"study {name} may go on: `wardround-coordinator study run {folder} {name}`, if no job runs.")


def stop(folder: Dir, name: Study, note: Note = "") -> None:
    """End a study for good, and report what it reached. A round that has begun is finished first."""
    from wardround_server.home import CoordinatorHome
    from wardround_server.job import report_anew
    from wardround_server.steering import Steering

    home = CoordinatorHome(folder)
    if Steering(home, name).stop(note):
        typer.echo(report_anew(home, name, command=command_line()))
    else:
        typer.echo(f"study {name}: its job ends before the next round, and reports.")


def report(folder: Dir, name: Study) -> None:
    """Write the report of a study anew from its journal, and print its path. Runs nothing."""
    from wardround_server.home import CoordinatorHome
    from wardround_server.job import report_anew

    typer.echo(report_anew(CoordinatorHome(folder), name, command=command_line()))
