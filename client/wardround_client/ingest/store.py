"""Where ingest writes: two sealed files in the site's data store, replaced as a whole.

Not here: the format of the catalogue (``wardround_client.catalogue``), the scheme (``sealing``).

Privacy: the rejects table holds paths of originals, which may name patients; it is sealed, readable by its
owner only, and never leaves.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from wardround_client.catalogue import replacing
from wardround_client.ingest.limits import MAX_REJECTS_BYTES
from wardround_client.ingest.reasons import Rejected
from wardround_client.sealing import Sealer
from wardround_common.files import read

REJECTS_FILE = "rejects.sealed"


def save_rejects(store: Path, rejects: Iterable[Rejected], *, sealer: Sealer) -> None:
    """Write the rejects table: path, tag, code and reason of each file that was not used.

    Raises:
        StorageError: The store cannot be written.
    """
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(("path", "tag", "code", "reason"))
    writer.writerows((row.path, row.tag, row.code, row.reason) for row in rejects)
    with replacing(store / REJECTS_FILE) as path:
        path.write_bytes(sealer.seal(table.getvalue().encode(), REJECTS_FILE))


def load_rejects(store: Path, *, sealer: Sealer) -> str:
    """The rejects table as CSV.

    Raises:
        ConfigError: It cannot be read: ``files.unreadable``.
        StorageError: ``storage.other_key``, ``storage.altered``.
    """
    return sealer.open(read(store / REJECTS_FILE, limit_bytes=MAX_REJECTS_BYTES), REJECTS_FILE).decode()
