"""``wardround-coordinator``: the coordinator's command line.

Privacy: reads plans, cards, rosters and the audit log; no patient data can reach this program.
"""

from __future__ import annotations

import datetime
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from wardround_common.audit.main import app as audit_app
from wardround_common.backup.main import add_commands
from wardround_common.canonical import read_toml
from wardround_common.errors import ConfigError
from wardround_common.plan_checks import plan_from_tables
from wardround_common.plan_text import explain as explain_plan
from wardround_common.programs import run_program
from wardround_server.keeping import COORDINATOR, RESTORED

app = typer.Typer(
    name="wardround-coordinator",
    help="Run federated studies: rounds, secure aggregation, reports. Sees sums, never a scan.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
study = typer.Typer(help="Studies: sign a plan, add it, run it, see how far it is.", no_args_is_help=True)
app.add_typer(study, name="study")
app.add_typer(audit_app, name="audit")

Dir = Annotated[Path, typer.Argument(metavar="DIR", help="The coordinator's folder.")]
LEAD_KEY = "lead.key"


@app.command()
def explain(plan: Annotated[Path, typer.Argument(help="A plan as TOML.")]) -> None:
    """Check a plan and print it in plain words, with the digest that sites approve."""
    typer.echo(explain_plan(plan_from_tables(read_toml(plan))), nl=False)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
    host: Annotated[str, typer.Option(help="Name or address that hospitals reach this machine by.")],
    bind: Annotated[str, typer.Option(help="Address that the outer ports are opened on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="For rounds.")] = 8443,
    enrol_port: Annotated[int, typer.Option(min=1, max=65535, help="For joining.")] = 8444,
    runtime_port: Annotated[int, typer.Option(min=1, max=65535, help="For the job, on loopback.")] = 8445,
    public_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="For rounds, where something in front passes it on.")
    ] = None,
    enrol_host: Annotated[str | None, typer.Option(help="For joining, if it is another name.")] = None,
    public_enrol_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="For joining, where something in front passes it on.")
    ] = None,
) -> None:
    """Make a coordinator: identity and card, CA and server certificate."""
    from wardround_common.canonical import convert
    from wardround_common.identity import fingerprint
    from wardround_server.home import CoordinatorConfig, create

    fields = {"host": host, "bind": bind, "port": port, "enrol_port": enrol_port}
    fields |= {"runtime_port": runtime_port, "public_port": public_port}
    fields |= {"enrol_host": enrol_host, "public_enrol_port": public_enrol_port}
    home = create(folder, convert(fields, CoordinatorConfig, where="options"))
    typer.echo(f"The coordinator is in {folder}. Hand {folder / 'card'} to the authority, and read out:")
    typer.echo(f"\n  {fingerprint(home.signer.key.public)}")


@app.command()
def enrol(
    folder: Dir,
    site: Annotated[str, typer.Argument(metavar="SITE", help="Its name, as in plans.")],
    hours: Annotated[int, typer.Option(min=1, max=720, help="How long the code is good for.")] = 72,
) -> None:
    """Print a join code for one site and one use. It is a secret until the site has joined."""
    from wardround_server.enrolment import invite
    from wardround_server.home import CoordinatorHome

    typer.echo(invite(CoordinatorHome(folder), site, hours=hours))


@app.command()
def roster(
    folder: Dir,
    file: Annotated[Path, typer.Argument(metavar="ROSTER", help="As the authority signed it.")],
    authority: Annotated[
        str, typer.Option(metavar="KEY", help="The authority's key in hex, or its file authority.pub.")
    ],
) -> None:
    """Take up a roster that the authority signed."""
    from wardround_common.files import read, write
    from wardround_common.trust import SIGNED_LIMIT_BYTES, open_roster
    from wardround_server.home import CoordinatorHome

    home = CoordinatorHome(folder)
    signed = read(file, limit_bytes=SIGNED_LIMIT_BYTES)
    opened = open_roster(signed, authority_key=_key(authority), today=datetime.date.today())
    if opened.coordinator != home.signer.key.public:
        raise ConfigError(
            "the roster names another coordinator",
            remedy=f"Ask the authority to sign one with {folder / 'card'}.",
            code="coordinator.other_roster",
        )
    write(folder / "roster", signed)
    typer.echo(f"roster version {opened.version}, until {opened.expires}: {len(opened.sites)} sites")


@app.command()
def run(folder: Dir) -> None:
    """Run the service: the port for sites, the port for joining, and the one for jobs on this machine."""
    from wardround_common.logs import log_to
    from wardround_server.home import CoordinatorHome
    from wardround_server.service import serve

    home = CoordinatorHome(folder)
    config = home.config
    log_to(folder / "log.jsonl")

    def ready() -> None:
        typer.echo(
            f"ready: rounds on {config.bind}:{config.port}, joining on {config.bind}:{config.enrol_port}"
        )
        sys.stdout.flush()

    serve(home, ready=ready)


@app.command()
def status(folder: Dir) -> None:
    """Show who has joined and how far each study is."""
    from wardround_common.identity import fingerprint
    from wardround_server.home import CoordinatorHome

    home = CoordinatorHome(folder)
    typer.echo(f"reached at {home.config.host}:{home.config.port}; service {_service(folder)}")
    for card in home.cards():
        typer.echo(f"  {card.name}  {fingerprint(card.key)}")
    for name in home.studies():
        typer.echo(f"study {name}: {_progress(home.study(name))}")


@study.command()
def lead(folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")]) -> None:
    """Make the key of a lead, who signs plans, and its card for the authority."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from wardround_common.authority import keyfile, make_card
    from wardround_common.files import OWNER_ONLY, write
    from wardround_common.identity import SigningKey, fingerprint

    if folder.exists():
        raise ConfigError(f"{folder} exists", remedy="Name a new folder.", code="coordinator.exists")
    folder.mkdir(mode=0o700, parents=True)
    private = Ed25519PrivateKey.generate()
    key = SigningKey(private)
    write(folder / LEAD_KEY, keyfile.seal(private, None), mode=OWNER_ONLY)
    write(folder / "card", make_card("lead", key))
    typer.echo(f"Hand {folder / 'card'} to the authority, and read out:\n\n  {fingerprint(key.public)}")


@study.command()
def sign(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="TOML; without keys, noise is computed.")],
    lead: Annotated[Path, typer.Option(metavar="DIR", help="The lead's folder.")],
    authority: Annotated[str, typer.Option(metavar="KEY", help="The authority's key in hex, or its file.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The signed plan, for coordinator and sites.")],
) -> None:
    """Complete a plan, sign it as its lead, and print it in plain words."""
    from wardround_common.authority import keyfile
    from wardround_common.files import write
    from wardround_common.plan_draft import complete_plan
    from wardround_common.trust import sign_plan

    key = keyfile.load(lead / LEAD_KEY, None)
    tables = read_toml(plan) | {"authority_key": _key(authority).hex(), "lead_key": key.public.hex()}
    complete = complete_plan(tables)
    write(out, sign_plan(complete, key))
    typer.echo(explain_plan(complete), nl=False)


@study.command()
def new(
    folder: Dir,
    plan: Annotated[Path, typer.Argument(metavar="SIGNED", help="The plan as the lead signed it.")],
) -> None:
    """Add a study."""
    from wardround_common.files import read
    from wardround_common.trust import SIGNED_LIMIT_BYTES, plan_digest
    from wardround_server.home import CoordinatorHome

    added = CoordinatorHome(folder).add_study(read(plan, limit_bytes=SIGNED_LIMIT_BYTES))
    typer.echo(f"study {added.study}, plan {plan_digest(added).hex()}")


@study.command("run")
def run_study(folder: Dir, name: Annotated[str, typer.Argument(metavar="STUDY")]) -> None:
    """Run a study on the service, or go on with it; prints the path of the report."""
    from wardround_server.home import CoordinatorHome
    from wardround_server.job import run_job
    from wardround_server.progress import Lines

    command = shlex.join(["wardround-coordinator", *sys.argv[1:]])
    typer.echo(run_job(CoordinatorHome(folder), name, Lines(sys.stderr), command=command))


def _service(folder: Path) -> str:
    try:
        pid = int((folder / "service.pid").read_text(encoding="ascii"))
        os.kill(pid, 0)
    except (OSError, ValueError):
        return "not running"
    return f"running as process {pid}"


def _progress(folder: Path) -> str:
    from wardround_common.files import read
    from wardround_common.trust import SIGNED_LIMIT_BYTES, open_plan, plan_digest
    from wardround_server.job import JOURNAL
    from wardround_server.journal import Journal

    plan = open_plan(read(folder / "plan", limit_bytes=SIGNED_LIMIT_BYTES), today=datetime.date.min)
    if not (folder / JOURNAL).exists():
        return "not begun"
    journal = Journal(folder / JOURNAL, plan=plan_digest(plan))
    try:
        rows, paused = journal.rounds(), journal.paused()
    finally:
        journal.close()
    void = sum(row.next is None for row in rows)
    ended = f"{len(rows)} of {plan.rounds + (plan.evaluation is not None)} rounds ended, {void} void"
    return f"{ended}, paused ({paused})" if paused else ended


def _key(text: str) -> bytes:
    """A public key in hex, or in a file."""
    from wardround_common.files import read
    from wardround_common.identity import KEY_BYTES

    if Path(text).is_file():
        text = read(Path(text), limit_bytes=2 * KEY_BYTES + 1).decode("ascii", "replace")
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(
            "--authority is neither 64 hex digits nor a file",
            remedy="Give the authority's key, or its file authority.pub.",
            code="coordinator.options",
        )
    return key


add_commands(app, COORDINATOR, restored=RESTORED)


def main() -> None:
    """Entry point."""
    run_program(app, stopped="what was reached is in the journals")
