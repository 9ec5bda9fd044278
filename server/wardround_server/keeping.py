"""What a backup of the coordinator holds.

Not here: how backups are made (``wardround_common.backup``).

Rules:

* Invitations stay out: one that is restored could be used a second time.
* ``audit.head`` stays out: a head that is restored with its log shows nothing.
* Flower's messages in transit stay out: the job sends again what its journal says.

Privacy: a backup holds the coordinator's identity and its CA; no patient data.
"""

from __future__ import annotations

from typing import Final

from wardround_common.backup import DATABASE_LIMIT_BYTES, Contents, Part

REPORT_LIMIT_BYTES: Final = 1 << 34

COORDINATOR: Final = Contents(
    program="wardround-coordinator",
    parts=(
        Part(place="coordinator.toml", required=True),
        Part(place="identity.key", required=True),
        Part(place="ca.key", required=True),
        Part(place="ca.pem", required=True),
        Part(place="server.pem", required=True),
        Part(place="runtime.secret", required=True),
        Part(place="card"),
        Part(place="roster"),
        Part(place="authority.pub"),
        Part(place="sites/{name}/card"),
        Part(place="sites/{name}/node.pub"),
        Part(place="sites/{name}/certificate.pem"),
        Part(place="sites/{name}/next.pem"),
        Part(place="studies/{name}/plan"),
        Part(place="studies/{name}/opened"),
        Part(place="studies/{name}/paused"),
        Part(place="studies/{name}/stopped"),
        Part(place="studies/{name}/journal.sqlite", limit_bytes=DATABASE_LIMIT_BYTES, database=True),
        Part(place="studies/{name}/report/report.html", limit_bytes=REPORT_LIMIT_BYTES),
        Part(place="studies/{name}/report/report.json", limit_bytes=REPORT_LIMIT_BYTES),
        Part(place="studies/{name}/report/model_card.md"),
        Part(place="studies/{name}/report/model.safetensors", limit_bytes=REPORT_LIMIT_BYTES),
        Part(place="studies/{name}/report/release.json", limit_bytes=REPORT_LIMIT_BYTES),
        Part(place="audit.sqlite", limit_bytes=DATABASE_LIMIT_BYTES, database=True),
    ),
    left_out=(
        "invitations/",
        "audit.head",
        "superlink.sqlite",
        "superlink.sqlite-journal",
        "superlink.sqlite-wal",
        "superlink.sqlite-shm",
        "audit.sqlite-journal",
        "service.pid",
        "log.jsonl",
        "studies/{name}/log.jsonl",
        "studies/{name}/journal.sqlite-journal",
    ),
    folders=("invitations", "sites", "studies"),
)

RESTORED: Final = (
    "Before you start the service: end the one that this is a copy of, for ever. A study that went on since "
    "the backup cannot be continued from it: the sites do not go back. Unused join codes are void."
)
