"""Tables and settings of the ledger's file.

One SQLite file, journal mode DELETE, ``synchronous = EXTRA``: a transaction that has returned survives a
power cut, the removal of its journal included. Write-ahead logging would be faster and as durable, but
there the newest rows live in a second file, and a copy of the first one alone is a ledger that has
forgotten spends. A round appends two rows, so speed does not matter.

``entry`` is the chain. ``spend`` and ``output`` show its rows column by column to a person with an SQLite
tool. Triggers stop accidents; who removes them to change a row breaks the chain. Two unique indexes are a
second check of what the code checks: one spend per round, one output per spend.

Privacy: ``patient`` holds keyed hashes; no table holds anything else about a patient.

References:
    SQLite, "PRAGMA synchronous" and "Atomic Commit In SQLite".
"""

from __future__ import annotations

from typing import Final

APPLICATION: Final = 0x57524C47
VERSION: Final = 1

PRAGMAS: Final = (
    "journal_mode = DELETE",
    "synchronous = EXTRA",
    "fullfsync = ON",
    "foreign_keys = ON",
    "busy_timeout = 5000",
)
_TRIGGERS: Final = "\n".join(
    f"CREATE TRIGGER {table}_{event.lower()} BEFORE {event} ON {table} "
    "BEGIN SELECT RAISE(ABORT, 'append-only'); END;"
    for table in ("entry", "snapshot", "patient", "member")
    for event in ("UPDATE", "DELETE")
)
SCHEMA: Final = f"""
CREATE TABLE entry (
    seq INTEGER PRIMARY KEY, body TEXT NOT NULL, previous BLOB NOT NULL, hash BLOB NOT NULL UNIQUE
) STRICT;
CREATE TABLE snapshot (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE patient (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, side INTEGER NOT NULL) STRICT;
CREATE TABLE member (
    patient INTEGER NOT NULL REFERENCES patient, snapshot INTEGER NOT NULL REFERENCES snapshot,
    PRIMARY KEY (patient, snapshot)
) STRICT, WITHOUT ROWID;
CREATE INDEX member_of_snapshot ON member (snapshot);
CREATE UNIQUE INDEX one_spend ON entry (
    json_extract(body, '$.study'), json_extract(body, '$.round'), json_extract(body, '$.kind')
) WHERE json_extract(body, '$.what') = 'spent';
CREATE UNIQUE INDEX one_output ON entry (json_extract(body, '$.spend_seq'))
WHERE json_extract(body, '$.what') = 'output';
CREATE VIEW spend AS SELECT
    seq, json_extract(body, '$.study') AS study, json_extract(body, '$.round') AS round,
    json_extract(body, '$.kind') AS kind, json_extract(body, '$.snapshot') AS snapshot,
    json_extract(body, '$.event') AS event, json_extract(body, '$.D') AS D,
    json_extract(body, '$.secret_id') AS secret_id, hex(previous) AS previous_hash, hex(hash) AS hash
FROM entry WHERE json_extract(body, '$.what') = 'spent';
CREATE VIEW output AS SELECT
    seq, json_extract(body, '$.spend_seq') AS spend_seq, json_extract(body, '$.output_digest') AS
    output_digest, hex(previous) AS previous_hash, hex(hash) AS hash
FROM entry WHERE json_extract(body, '$.what') = 'output';
{_TRIGGERS}
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
"""
