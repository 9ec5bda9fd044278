"""``backup`` and ``restore``: commands of the site's and of the coordinator's program.

Privacy: prints names of files, lengths and digests.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wardround_common.backup.contents import Contents
from wardround_common.backup.restoring import restore_backup
from wardround_common.backup.writing import write_backup


def add_commands(app: typer.Typer, contents: Contents, *, restored: str) -> None:
    """Give a program the two commands.

    Args:
        app: The program.
        contents: What its backups hold.
        restored: What to do after restoring, in a sentence.
    """

    @app.command()
    def backup(
        folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder; its program may run.")],
        file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file, at best on another disk.")],
    ) -> None:
        """Write what is in the folder to one file, which is as secret as the folder; prints its digest."""
        written = write_backup(folder, file, contents)
        members = written.manifest.members
        total = sum(member.size for member in members)
        typer.echo(f"{len(members)} files, {total:,} bytes")
        typer.echo(f"digest {written.manifest.digest}")
        for name in written.unknown:
            typer.echo(f"left out, since this version does not know it: {name}", err=True)

    @app.command()
    def restore(
        file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.")],
        folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
        digest: Annotated[
            str | None, typer.Option(metavar="HEX", help="As `backup` printed it; another file is refused.")
        ] = None,
    ) -> None:
        """Restore a backup into a new folder."""
        manifest = restore_backup(file, folder, contents, digest=digest)
        typer.echo(f"{len(manifest.members)} files as they were on {manifest.made}")
        typer.echo(restored)
