"""Ledger and audit log: whether they open, their chains hold, and their newest heads are those remembered.

Rules: one that does not exist yet is not made; one that is gone while its head is remembered is missing.

Privacy: numbers of rows.
"""

from __future__ import annotations

from collections.abc import Iterator

from wardround_client.doctor.finding import Finding, fail, ok
from wardround_client.home import SiteHome
from wardround_client.site import SCRATCH, open_ledger
from wardround_common.audit import verify
from wardround_common.audit.log import broken, head_file

_GONE = "Put the newest copy back; never begin a new one beside an old head."


def ledger(home: SiteHome) -> Iterator[Finding]:
    """The ledger."""
    head = home.path / SCRATCH / "ledger.head"
    if not (home.path / "ledger.sqlite").is_file():
        yield _absent("ledger", remembered=head.exists())
        return
    book = open_ledger(home.path, policy=home.config.policy)
    try:
        yield ok("ledger", f"{book.verify()} rows in order, head {book.head().hex()[:16]}")
    finally:
        book.shut()


def audit(home: SiteHome) -> Iterator[Finding]:
    """The audit log."""
    path, beside = home.path / "audit.sqlite", head_file(home.path / SCRATCH / "audit.head")
    head = None if beside is None else beside.recall()
    if not path.is_file():
        yield _absent("audit log", remembered=head is not None)
        return
    verdict = verify(path, home.signer.key.public, head=head)
    if verdict.bad_row is not None:
        raise broken(verdict.bad_row, verdict.reason)
    yield ok("audit log", f"{verdict.rows} rows in order, head {verdict.head.hex()[:16]}")


def _absent(what: str, *, remembered: bool) -> Finding:
    if remembered:
        return fail(what, "it is gone, though its newest head is remembered", remedy=_GONE)
    return ok(what, "none yet, the daemon makes it")
