"""Programs whose name look-ups and connections are written down."""

from __future__ import annotations

import ipaddress
import json
import os
from pathlib import Path

HOOK = Path(__file__).with_name("lookups")


def watched(lookups: Path) -> dict[str, str]:
    """The environment of such a program: it writes into ``lookups``."""
    path = os.pathsep.join(filter(None, (str(HOOK), os.environ.get("PYTHONPATH", ""))))
    return {"PYTHONPATH": path, "LOOKUPS": str(lookups)}


def seen(lookups: Path) -> set[tuple[str, str, str | None]]:
    """Program, event, and name or address."""
    return {tuple(json.loads(line)) for line in lookups.read_text().splitlines()}


def outward(lookups: Path) -> set[tuple[str, str, str | None]]:
    """What is more than a literal address of loopback, or a socket of the file system."""
    return {one for one in seen(lookups) if not _is_loopback(one[2])}


def _is_loopback(place: str | None) -> bool:
    if not place:
        return True  # AF_UNIX, or the address that a port is opened on
    try:
        return ipaddress.ip_address(place).is_loopback
    except ValueError:
        return False
