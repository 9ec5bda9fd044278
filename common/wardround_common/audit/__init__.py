"""The audit log of a site or of the coordinator: what left, what came, what was decided.

A log is one SQLite file of rows that are only ever added. Each row's hash covers its number, the hash of the
row before it and its canonical text; each hash is signed with the party's identity key. Whoever holds the
public key, and nothing else, can check the whole file (``verify``): that every row is as it was written, that
none was moved, inserted or removed between two others, and that one party wrote them all.

``rows`` says what is written down, ``chain`` how rows hang together, ``log`` adds them, ``check`` verifies a
file, ``show`` prints one, ``main`` has both as commands. ``packets`` says what is noted of a message.

What a log does **not** show:

* The end: without its newest rows it is a valid, shorter log. That is found by who remembers a later head:
  a file outside the backups, a person who wrote a head down, the other party's log of the same messages.
* That its party wrote everything down, or the truth: who owns the key and the program can write what it
  likes, also a second log from the beginning. It binds the party to what it shows, and the log of the other
  end has the same digests.
* Times beyond the party's own clock.

Not here: what patients have spent (the ledger), progress and trouble (``logs``).

Privacy: sizes, digests, codes, names and addresses of institutions, and a study's epsilon; no patient data. A
note is what a person typed.
"""

from wardround_common.audit.check import Verdict, verify
from wardround_common.audit.log import AuditLog, moment
from wardround_common.audit.packets import REPLIES, place, summary
from wardround_common.audit.rows import (
    Certified,
    Entry,
    Happened,
    Opened,
    Refused,
    Sent,
    Taken,
    TurnedAway,
    clean_address,
    clean_code,
    clean_label,
    clean_note,
)

__all__ = [
    "REPLIES",
    "AuditLog",
    "Certified",
    "Entry",
    "Happened",
    "Opened",
    "Refused",
    "Sent",
    "Taken",
    "TurnedAway",
    "Verdict",
    "clean_address",
    "clean_code",
    "clean_label",
    "clean_note",
    "moment",
    "place",
    "summary",
    "verify",
]
