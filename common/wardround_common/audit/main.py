"""``audit verify`` and ``audit show``: sub-commands of the site's and of the coordinator's program.

Privacy: prints what the log holds; see ``rows``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final

import click
import typer

from wardround_common.audit.chain import BadRowError, Tip
from wardround_common.audit.check import claimed_key, read, verify
from wardround_common.audit.log import broken, head_file
from wardround_common.audit.rows import Opened
from wardround_common.audit.show import HEADER, Totals, as_data, line
from wardround_common.errors import ConfigError
from wardround_common.identity import KEY_BYTES, fingerprint

FILE: Final = "audit.sqlite"
HEAD: Final = "audit.head"
SCRATCH: Final = "scratch"

app = typer.Typer(
    help="The audit log: every byte string that left, what came, what was decided.", no_args_is_help=True
)

Where = Annotated[Path, typer.Argument(metavar="HOME|FILE", help="A data folder, or its audit.sqlite.")]
Key = Annotated[
    str, typer.Option(metavar="HEX", help="The party's public key: 64 digits, from the roster or by phone.")
]


@app.command("verify")
def verify_log(
    where: Where,
    key: Key,
    head: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="A head of this log that you wrote down; else its head file's."),
    ] = None,
) -> None:
    """Check every row, its signature, its place, and that none is missing."""
    path = _file(where)
    remembered = _recalled(path) if head is None else _hex(head, "--head")
    verdict = verify(path, _hex(key, "--key"), head=remembered)
    if verdict.bad_row is not None:
        raise broken(verdict.bad_row, verdict.reason)
    typer.echo(f"{verdict.rows} rows of {verdict.party}, {verdict.first} to {verdict.last}: all in order.")
    typer.echo(f"head {verdict.head.hex()}")
    if remembered is None:
        typer.echo("Without a remembered head, rows missing at the end do not show: no --head, no head file.")
    else:
        typer.echo("The remembered head is there: nothing that was there by then is missing.")


@app.command()
def show(
    where: Where,
    study: Annotated[str | None, typer.Option(metavar="NAME", help="Only rows of this study.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for scripts.")] = False,
) -> None:
    """Print when what left, how large, with which digest, in which round, and epsilon by then."""
    path = _file(where)
    key, totals, tip = claimed_key(path), Totals(), Tip()
    if key is None:
        raise broken(1, "it does not begin a log")
    if not as_json:
        typer.echo(HEADER)
    try:
        for tip, entry in read(path, key):
            if study is not None and (isinstance(entry, Opened) or entry.study != study):
                continue
            totals.add(entry)
            typer.echo(json.dumps(as_data(tip.seq, entry)) if as_json else line(entry))
    except BadRowError as error:
        raise broken(tip.seq + 1, str(error)) from error
    if not as_json:
        program = click.get_current_context().find_root().info_name
        typer.echo(f"\n{totals.as_text()}")
        typer.echo(
            f"All rows are signed by the key that the log itself names ({fingerprint(key)}). Whose key that "
            f"is, the roster says:\n  {program} audit verify {where} --key {key.hex()}"
        )


def _file(where: Path) -> Path:
    """The log in a data folder.

    Raises:
        ConfigError: ``config.no_audit_log``.
    """
    path = where / FILE if where.is_dir() else where
    if not path.is_file():
        raise ConfigError(
            f"there is no audit log at {path}",
            remedy=f"Give the data folder of a site or of the coordinator, or its {FILE}.",
            code="config.no_audit_log",
        )
    return path


def _recalled(path: Path) -> bytes | None:
    """What the head file of a log remembers, where one lies at its place."""
    for beside in (path.parent / SCRATCH / HEAD, path.with_name(HEAD)):
        file = head_file(beside)
        if file is not None and (head := file.recall()) is not None:
            return head
    return None


def _hex(text: str, option: str) -> bytes:
    """32 bytes.

    Raises:
        ConfigError: ``config.hex``.
    """
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != KEY_BYTES:
        raise ConfigError(
            f"{option} is not 64 hexadecimal digits",
            remedy="Copy it from the roster (`wardround-authority show ROSTER --json`) or from a log's head.",
            code="config.hex",
        )
    return value
