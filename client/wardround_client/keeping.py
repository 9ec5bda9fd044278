"""What a backup of a site holds.

Not here: how backups are made (``wardround_common.backup``).

Rules:

* ``scratch/`` stays out: round secrets, outputs, and the heads that show that a ledger is an older one. A
  spend whose secret is gone is void; a head that is restored with its ledger shows nothing.
* ``site.key`` stays out: a backup that holds the key of what is encrypted in it protects nothing. Keep it
  elsewhere.
* What the site said is copied first, what it spent last: a spend too many is safe, one too few is not.
* What a person decided comes back: approvals, refusals, a pause.
* The table of rejected files stays out: it holds paths as people name them, and reading writes it again.

Privacy: a backup holds the identity, the secret that patient numbers are hashed under, the catalogues. It is
as secret as the site's folder.
"""

from __future__ import annotations

from typing import Final

from wardround_common.backup import DATABASE_LIMIT_BYTES, Contents, Part

IMAGES_LIMIT_BYTES: Final = 1 << 44

SITE: Final = Contents(
    program="wardround-site",
    parts=(
        Part(place="site.toml", required=True),
        Part(place="identity.key", required=True),
        Part(place="patients.secret", required=True),
        Part(place="trust.toml"),
        Part(place="paused"),
        Part(place="card"),
        Part(place="tls.pem"),
        Part(place="ca.pem"),
        Part(place="node.key"),
        Part(place="plans/{digest}/plan"),
        Part(place="plans/{digest}/data/catalogue.safetensors", limit_bytes=IMAGES_LIMIT_BYTES),
        Part(place="plans/{digest}/data/catalogue.sealed", limit_bytes=IMAGES_LIMIT_BYTES),
        Part(place="plans/{digest}/data/summary.json"),
        Part(place="plans/{digest}/approved"),
        Part(place="plans/{digest}/refused"),
        Part(place="protocol.sqlite", limit_bytes=DATABASE_LIMIT_BYTES, database=True),
        Part(place="audit.sqlite", limit_bytes=DATABASE_LIMIT_BYTES, database=True),
        Part(place="ledger.sqlite", limit_bytes=DATABASE_LIMIT_BYTES, database=True),
    ),
    left_out=(
        "scratch/",
        "site.key",
        "status.json",
        "log.jsonl",
        "plans/{digest}/data/rejects.csv",
        "plans/{digest}/data/rejects.sealed",
        "protocol.sqlite-journal",
        "audit.sqlite-journal",
        "ledger.sqlite-journal",
    ),
)

RESTORED: Final = (
    "Before you start the site: end the one that this is a copy of, for ever. If its disk can still be read, "
    "move its scratch folder here: an older ledger is noticed by it. Put site.key back if there was one."
)
