"""What several commands are told, and what several do.

Privacy: paths and digests; a note is what a person typed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from wardround_client.home import SiteHome
from wardround_client.ledger import Ledger
from wardround_client.scratch import Scratch
from wardround_client.secagg import ProtocolRecord, Vault, newest_roster
from wardround_client.site import SCRATCH, open_audit, open_ledger
from wardround_common.audit import Happened
from wardround_common.errors import ConfigError

LEDGER, RECORD = "ledger.sqlite", "protocol.sqlite"

Dir = Annotated[Path, typer.Argument(metavar="DIR", help="The site's folder.")]
Digest = Annotated[str, typer.Argument(metavar="DIGEST", help="Of a plan; its first eight digits will do.")]
Workers = Annotated[int, typer.Option(min=1, max=64, help="Processes that read files.")]
Plan = Annotated[Path, typer.Argument(help="A plan as TOML.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="For scripts.")]


def write_down(home: SiteHome, entry: Happened) -> None:
    """Put what a person decided into the site's audit log; the daemon may be running.

    Raises:
        AuditError: It could not be written down.
    """
    log = open_audit(home.path, signer=home.signer)
    try:
        log.append(entry)
    finally:
        log.close()


@contextmanager
def ledger_of(home: SiteHome) -> Iterator[Ledger | None]:
    """The site's ledger, which the daemon may be using; None where there is none yet, and none is made.

    Raises:
        StorageError: It cannot be used.
    """
    if not (home.path / LEDGER).is_file():
        yield None
        return
    ledger = open_ledger(home.path, policy=home.config.policy)
    try:
        yield ledger
    finally:
        ledger.shut()


@contextmanager
def record_of(home: SiteHome, study: bytes) -> Iterator[ProtocolRecord]:
    """The site's record of a study, which the daemon may be using.

    Raises:
        ConfigError: ``plan.not_begun``: nothing was ever said in it.
        StorageError: It cannot be used.
    """
    path = home.path / RECORD
    if not path.is_file() or newest_roster(path, study) is None:
        raise ConfigError(
            "no round of this plan has begun here",
            remedy="See `wardround-site status`.",
            code="plan.not_begun",
        )
    scratch = Scratch(home.path / SCRATCH / "scratch.sqlite", key=home.site_key)
    try:
        vault = Vault(scratch.vault(study))
        record = ProtocolRecord(path, study=study, vault=vault, tip=scratch.tip(study))
        try:
            yield record
        finally:
            record.close()
    finally:
        scratch.close()
