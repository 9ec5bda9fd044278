"""What was read for a plan, in numbers: kept beside the catalogue, so that it can be listed unopened.

Not here: the catalogue itself (``catalogue``).

Privacy: numbers of scans and patients; they stay in the site's folder and are for its own people.
"""

from __future__ import annotations

import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from wardround_client.catalogue import SIDES, Catalogue
from wardround_common.errors import ConfigError
from wardround_common.files import OWNER_ONLY, read, write

FILE = "summary.json"
_LIMIT_BYTES = 65536


class Summary(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was read, and when."""

    read_at: str
    """In UTC."""
    scans: int
    patients: dict[str, int]
    """By side."""
    rejects: int
    """Files that cannot be used."""


def summarise(catalogue: Catalogue, *, rejects: int) -> Summary:
    """The numbers of a catalogue that was read now."""
    return Summary(
        read_at=datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds"),
        scans=len(catalogue.label_N),
        patients={side: len(catalogue.of_side(side).patient_keys) for side in SIDES},
        rejects=rejects,
    )


def keep(summary: Summary, store: Path) -> None:
    """Write it into the folder of a catalogue.

    Raises:
        StorageError: ``files.unwritable``.
    """
    write(store / FILE, msgspec.json.encode(summary), mode=OWNER_ONLY)


def recall(store: Path) -> Summary | None:
    """What was written there; None where it is missing or unreadable."""
    try:
        return msgspec.json.decode(read(store / FILE, limit_bytes=_LIMIT_BYTES), type=Summary)
    except (ConfigError, msgspec.DecodeError, UnicodeDecodeError):
        return None
