"""The newest roster that a site has on record, for people: read without becoming part of a round.

Privacy: names and public keys of institutions.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from wardround_client.secagg.tables import translated

_SELECT = "SELECT signed FROM roster WHERE study = ? ORDER BY round DESC LIMIT 1"


def newest_roster(path: Path, study: bytes) -> bytes | None:
    """The newest roster of a study in the record at ``path``, as the authority signed it.

    Raises:
        StorageError: ``storage.protocol_record``.
    """
    with translated(), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        row = database.execute(_SELECT, (study,)).fetchone()
    return None if row is None else bytes(row[0])
