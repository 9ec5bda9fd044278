"""The whole examination, in the order in which a person would go through it.

Privacy: see the package.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from wardround_client.doctor import books, files, line, machine, plans
from wardround_client.doctor.finding import Finding, looked
from wardround_client.home import SiteHome


def examine(folder: Path, *, gpu: bool, now: datetime.datetime | None = None) -> list[Finding]:
    """Look at everything.

    Args:
        folder: The site's folder.
        gpu: Whether to look for a GPU too; importing torch takes a while.
        now: The time; None: this machine's.
    """
    home, now = SiteHome(folder), now or datetime.datetime.now(tz=datetime.UTC)
    looks: dict[str, Callable[[], Iterable[Finding]]] = {
        "site.toml": partial(files.config, home),
        "permissions": partial(files.permissions, home),
        "site key": partial(files.site_key, home),
        "identity": partial(files.identity, home),
        "disk": partial(machine.disk, home),
        "certificate": partial(files.certificates, home, now),
        "coordinator": partial(line.coordinator, home),
        "ledger": partial(books.ledger, home),
        "audit log": partial(books.audit, home),
        "plans": partial(plans.plans, home, now.date()),
        "daemon": partial(machine.daemon, home),
    }
    if gpu:
        looks["GPU"] = machine.gpu
    return [finding for subject, look in looks.items() for finding in looked(subject, look)]
