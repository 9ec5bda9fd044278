"""Tables of the ledger's file (``wardround_common.durable``).

``entry`` is the chain. ``spend`` and ``output`` show its rows column by column to a person with an SQLite
tool. Triggers stop accidents; who removes them to change a row breaks the chain. Two unique indexes are a
second check of what the code checks: one spend per round, one output per spend.

Privacy: ``patient`` holds keyed hashes; no table holds anything else about a patient.
"""

from __future__ import annotations

from typing import Final

from wardround_common.durable import Sort, append_only

_SCHEMA: Final = f"""
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
{append_only("entry", "snapshot", "patient", "member")}
"""
LEDGER: Final = Sort(
    noun="ledger",
    area="ledger",
    application=0x57524C47,
    version=1,
    schema=_SCHEMA,
    restore="Keep the file as evidence and restore the ledger from its newest backup.",
)
