"""``wardround-authority``: the consortium's offline key, and the rosters that it signs.

Privacy: shows names and public keys of institutions; a passphrase or private key is never printed.
"""

from __future__ import annotations

import datetime
import json
import os
import sys
from pathlib import Path
from typing import Annotated

import click
import typer

from wardround_common.authority.cards import CARD_LIMIT_BYTES, Card, open_card
from wardround_common.authority.folder import Folder, check_newest, create, opened
from wardround_common.authority.members import LEAD, Membership
from wardround_common.authority.overview import Overview, changes, describe
from wardround_common.authority.passphrase import ask_new, ask_old
from wardround_common.authority.records import load_public, open_undated, peek
from wardround_common.errors import ConfigError, ConsentError, ProtocolError, WardroundError
from wardround_common.files import read, write
from wardround_common.identity import KEY_BYTES, fingerprint
from wardround_common.programs import run_program
from wardround_common.trust import COORDINATOR, ROSTER_DAYS, SIGNED_LIMIT_BYTES

app = typer.Typer(
    name="wardround-authority",
    help="The consortium's key, kept offline: it signs who takes part. Never needs a network, and never "
    "belongs on the coordinator's machine.",
    epilog="Begin with `wardround-authority init DIR`. Sign a fresh roster before the old one expires "
    f"({ROSTER_DAYS} days at most); `show` warns a week before.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Dir = Annotated[Path, typer.Argument(metavar="DIR", help="The authority's folder.")]
Out = Annotated[Path, typer.Option(metavar="FILE", help="Where the roster goes; an older one is replaced.")]
Days = Annotated[int, typer.Option(min=1, max=ROSTER_DAYS, help="How long the roster lasts.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask. Only where fingerprints were compared before.")]
PassphraseFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Read the passphrase from here instead of asking.")
]
Newest = Annotated[
    Path | None,
    typer.Option(
        metavar="ROSTER",
        help="A roster that members hold: refuse to go on if DIR, restored from an old backup, forgot it.",
    ),
]


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, on a machine kept offline.")],
    passphrase_file: PassphraseFile = None,
    no_passphrase: Annotated[
        bool, typer.Option("--no-passphrase", help="Only where the disk itself is encrypted.")
    ] = False,
) -> None:
    """Make the consortium's key, and print its fingerprint."""
    if no_passphrase and passphrase_file:
        raise ConfigError(
            "--no-passphrase and --passphrase-file contradict each other",
            remedy="Give one of them.",
            code="authority.options",
        )
    made = create(folder, None if no_passphrase else ask_new(passphrase_file))
    typer.echo(f"The authority's key is in {folder}. Its fingerprint, to be read out over the phone:")
    typer.echo(f"\n  {fingerprint(made.public)}\n")
    typer.echo(f'In plans: authority_key = "{made.public.hex()}"')
    typer.echo("Keep a backup of the folder offline, and renew it after every roster.")


@app.command("sign-roster")
def sign_roster(
    folder: Dir,
    out: Out,
    more: Annotated[
        list[Path] | None, typer.Argument(metavar="[CARD]...", help="More cards of sites.")
    ] = None,
    sites: Annotated[list[Path] | None, typer.Option(metavar="CARD...", help="Cards of sites.")] = None,
    coordinator: Annotated[Path | None, typer.Option(metavar="CARD", help="The coordinator's card.")] = None,
    lead: Annotated[Path | None, typer.Option(metavar="CARD", help="Of whoever signs plans.")] = None,
    replace: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="This member may come with another key.")
    ] = None,
    days: Days = ROSTER_DAYS,
    newest: Newest = None,
    yes: Yes = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Sign who takes part. Without cards, the members of the last roster stay, with fresh dates.

    Cards add members. Compare each new fingerprint with the member, by phone, before saying yes.
    """
    with opened(folder) as authority:
        _compare(authority, newest)
        cards = [_card(path, None) for path in (*(sites or ()), *(more or ()))]
        cards += [_card(coordinator, COORDINATOR)] if coordinator else []
        cards += [_card(lead, LEAD)] if lead else []
        after = authority.membership.admit(cards, replace=replace or (), authority_key=authority.public)
        _issue(authority, after, days=days, out=out, yes=yes, passphrase_file=passphrase_file)


@app.command()
def revoke(
    folder: Dir,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The site that leaves.")],
    out: Out,
    days: Days = ROSTER_DAYS,
    newest: Newest = None,
    yes: Yes = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Sign a roster without a site. Its key never comes back, under no name."""
    with opened(folder) as authority:
        _compare(authority, newest)
        after = authority.membership.revoke(name)
        _issue(authority, after, days=days, out=out, yes=yes, passphrase_file=passphrase_file)
    typer.echo("Until the old roster expires, whoever withholds this one can still show the old one.")


@app.command()
def show(
    path: Annotated[Path, typer.Argument(metavar="DIR|ROSTER", help="The authority's folder, or a roster.")],
    authority: Annotated[
        str | None, typer.Option(metavar="KEY", help="Check a roster with this key: hex, or authority.pub.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
) -> None:
    """Show who takes part, with fingerprints, dates and what expires soon."""
    if path.is_dir():
        with opened(path, change=False) as folder:
            seen = Overview(
                authority=folder.public,
                roster=folder.roster,
                retired=folder.register.retired,
                today=_today(),
            )
    else:
        data = read(path, limit_bytes=SIGNED_LIMIT_BYTES)
        public = _public(authority) if authority else None
        roster = open_undated(data, public) if public else peek(data)
        seen = Overview(authority=public, roster=roster, today=_today())
    typer.echo(json.dumps(seen.as_data(), indent=2) if as_json else seen.as_text())


def _issue(
    authority: Folder, after: Membership, *, days: int, out: Path, yes: bool, passphrase_file: Path | None
) -> None:
    today, last = _today(), authority.roster
    roster = after.roster(today=today, days=days)
    _check_out(out, authority)
    typer.echo(f"roster {describe(roster, today)}\n", err=True)
    typer.echo("\n".join(changes(authority.membership, after)) + "\n", err=True)
    if last and roster.issued < last.issued:
        typer.echo(
            f"warning: version {last.version} was issued later, on {last.issued}: is the clock right?",
            err=True,
        )
    if not yes:
        _confirm(compare=bool(after.keys.items() - authority.membership.keys.items()))
    key = authority.unlock(ask_old(passphrase_file) if authority.sealed or passphrase_file else None)
    signed = authority.issue(roster, after.retired, key)
    try:
        write(out, signed)
    except WardroundError as error:
        error.remedy = f"The roster was issued: copy {authority.copy_of(roster.version)} instead."
        raise
    typer.echo(f"{out}: roster version {roster.version}, until {roster.expires}. Hand it to the coordinator.")


def _confirm(*, compare: bool) -> None:
    question = "Does each new fingerprint agree with what its owner reads out?" if compare else "Sign it?"
    try:
        agreed = typer.confirm(question, err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        agreed = False
    if not sys.stdin.isatty():
        typer.echo(err=True)  # nobody pressed Return there
    if not agreed:
        raise ConsentError(
            "nothing was signed",
            remedy="Compare new fingerprints by phone, then answer y (or give --yes).",
            code="authority.not_confirmed",
        )


def _card(path: Path, role: str | None) -> Card:
    try:
        card = open_card(read(path, limit_bytes=CARD_LIMIT_BYTES))
    except ProtocolError as error:
        raise ProtocolError(
            f"{path} is no valid identity card: {error.message}",
            remedy="Ask the member to make its card again with Wardround's own program.",
            code=error.code,
        ) from error
    if role != card.name and (role or card.name in (COORDINATOR, LEAD)):
        raise ConfigError(
            f"{path} is the card of {card.name}, not of {f'the {role}' if role else 'a site'}",
            remedy="Give it with the option that fits, and ask its owner by phone what it claims to be.",
            code="authority.wrong_role",
        )
    return card


def _compare(authority: Folder, newest: Path | None) -> None:
    if newest:
        check_newest(authority, read(newest, limit_bytes=SIGNED_LIMIT_BYTES))


def _check_out(out: Path, authority: Folder) -> None:
    """Before a version is used up: can the roster be put there, and is nothing lost?"""
    if out.resolve().is_relative_to(authority.path.resolve()):
        raise ConfigError(
            f"{out} is inside the authority's folder",
            remedy="Name a file outside it with --out; the folder keeps its own copy.",
            code="authority.out_inside",
        )
    if out.exists():
        try:
            open_undated(read(out, limit_bytes=SIGNED_LIMIT_BYTES), authority.public)
        except WardroundError as error:
            raise ConfigError(
                f"{out} exists and is no roster of this authority",
                remedy="Name another file with --out.",
                code="authority.out_exists",
            ) from error
    if not os.access(out.absolute().parent, os.W_OK):
        raise ConfigError(
            f"nothing can be written in {out.absolute().parent}",
            remedy="Make that folder, or name another file with --out.",
            code="authority.out_folder",
        )


def _public(text: str) -> bytes:
    if Path(text).is_file():
        return load_public(Path(text))
    try:
        public = bytes.fromhex(text)
    except ValueError:
        public = b""
    if len(public) != KEY_BYTES:
        raise ConfigError(
            "--authority is neither 64 hex digits nor a file",
            remedy="Give the plan's authority_key, or the authority's file authority.pub.",
            code="authority.options",
        )
    return public


def _today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()


def main() -> None:
    """Entry point."""
    run_program(app, stopped="what was issued is in the authority's folder")
