"""The machine: free space, the daemon, the kill switch, a GPU.

Privacy: sizes, times, the name of a graphics card.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from wardround_client.doctor.finding import Finding, fail, ok, warn
from wardround_client.home import SiteHome
from wardround_client.pausing import Pause
from wardround_common.locks import is_held

GIGABYTE = 1_000_000_000
DISK_WARN_BYTES, DISK_FAIL_BYTES = 10 * GIGABYTE, GIGABYTE


def disk(home: SiteHome) -> Iterator[Finding]:
    """Free space: a site that cannot write its ledger or its audit log says nothing any more."""
    free = shutil.disk_usage(home.path).free
    said, remedy = f"{free / GIGABYTE:.1f} GB free", "Free space on the disk of the site's folder."
    if free < DISK_FAIL_BYTES:
        yield fail("disk", said, remedy=remedy)
    elif free < DISK_WARN_BYTES:
        yield warn("disk", said, remedy=remedy)
    else:
        yield ok("disk", said)


def daemon(home: SiteHome) -> Iterator[Finding]:
    """Whether it runs, and whether it may answer."""
    if is_held(home.path):
        yield ok("daemon", "running")
    else:
        yield warn("daemon", "not running", remedy="Start it with `wardround-site run DIR`.")
    since = Pause(home.path).since
    if since is not None:
        remedy = "End it with `wardround-site resume DIR` when the site agrees."
        yield warn("pause", f"paused since {since}, nothing leaves", remedy=remedy)


def gpu() -> Iterator[Finding]:
    """Whether torch sees a GPU."""
    try:
        import torch
    except ImportError:
        yield fail("GPU", "torch cannot be imported", remedy="Install wardround_site with its extra `site`.")
        return
    if torch.cuda.is_available():
        yield ok("GPU", torch.cuda.get_device_name(0))
    else:
        remedy = "Training uses the CPU; for a GPU, install its driver and a torch that fits."
        yield warn("GPU", f"torch {torch.__version__} sees none", remedy=remedy)
