"""Where ingest writes: two files in the site's data store, replaced as a whole.

Not here: the format of the catalogue (``wardround_client.catalogue``).

Privacy: the rejects table holds paths of originals; it is readable by its owner only and never leaves.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from wardround_client.catalogue import replacing
from wardround_client.ingest.reasons import Rejected

REJECTS_FILE = "rejects.csv"


def save_rejects(store: Path, rejects: Iterable[Rejected]) -> None:
    """Write the rejects table: path, tag, code and reason of each file that was not used.

    Raises:
        StorageError: The store cannot be written.
    """
    with (
        replacing(store / REJECTS_FILE) as path,
        path.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(("path", "tag", "code", "reason"))
        writer.writerows((row.path, row.tag, row.code, row.reason) for row in rejects)
