"""How the rows of an audit log hang together: numbers, hashes, signatures, and the table that holds them.

Row ``n`` has the hash ``H("audit row", n, hash of row n - 1, text)`` and a signature over that hash for the
purpose "audit log". The first row names the party and its key, so a signature binds to one log: rows of
another log of the same party have another history.

Not here: what a row says (``rows``), the connection (``log``, ``check``).

Rules:

* Numbers count from 1 without a gap.
* The text is the canonical encoding of one ``Entry``; anything else is refused when it is read.

Privacy: see ``rows``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wardround_common.audit.rows import ROW_LIMIT_BYTES, Entry, Opened, Text
from wardround_common.canonical import decode, digest, encode
from wardround_common.durable import Sort, append_only
from wardround_common.errors import AuditError, ProtocolError
from wardround_common.identity import SigningKey, verify

FIRST: Final = bytes(32)
"""What the first row calls the row before it."""
_LABEL: Final = "audit log"

SORT: Final = Sort(
    noun="audit log",
    area="audit",
    application=0x57524155,
    version=1,
    schema=f"""
CREATE TABLE entry (
    seq INTEGER PRIMARY KEY, body BLOB NOT NULL, hash BLOB NOT NULL, signature BLOB NOT NULL
) STRICT;
{append_only("entry")}
""",
    restore="Keep the file as evidence, move it and its head file away, and start again with a new log.",
    error=AuditError,
)


@dataclass(frozen=True, slots=True)
class Tip:
    """A row as the row after it sees it."""

    seq: int = 0
    hash: bytes = FIRST


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it stands in the file; nothing about it is believed yet."""

    seq: int
    body: object
    hash: object
    signature: object


class BadRowError(Exception):
    """A row is not what its party wrote there; the reason in words."""


def seal(entry: Entry, *, after: Tip, key: SigningKey) -> Row:
    """The row behind ``after``, signed.

    Raises:
        ProtocolError: A field is out of its range: the row could not be read again.
    """
    body = encode(Text(entry))
    _decoded(body)
    seq = after.seq + 1
    hash_ = _hash(seq, after.hash, body)
    return Row(seq, body, hash_, key.sign(_LABEL, hash_))


def unseal(row: Row, *, after: Tip, public_key: bytes) -> tuple[Tip, Entry]:
    """What a row says, if its party wrote it behind ``after``.

    Raises:
        BadRowError: With the reason in words.
    """
    seq = after.seq + 1
    if row.seq != seq:
        raise BadRowError("it is missing" if row.seq > seq else "a row was inserted")
    if not (type(row.body) is type(row.hash) is type(row.signature) is bytes):
        raise BadRowError("a field is not what it was")
    body, hash_, signature = row.body, row.hash, row.signature
    if hash_ != _hash(seq, after.hash, body):
        raise BadRowError("it was changed, moved or inserted, or the row before it was")
    try:
        verify(public_key, signature, _LABEL, hash_)
    except ProtocolError as error:
        raise BadRowError("it is not signed with this key") from error
    try:
        entry = _decoded(body)
    except ProtocolError as error:
        raise BadRowError(f"it cannot be read ({error.code})") from error
    if isinstance(entry, Opened) != (seq == 1):
        raise BadRowError("it begins another log" if seq > 1 else "it does not begin a log")
    if isinstance(entry, Opened) and entry.key != public_key:
        raise BadRowError("it names another key than the one that signed it")
    return Tip(seq, hash_), entry


def _hash(seq: int, previous: bytes, body: bytes) -> bytes:
    return digest("audit row", seq.to_bytes(8, "big"), previous, body)


def _decoded(body: bytes) -> Entry:
    return decode(body, Text, limit_bytes=ROW_LIMIT_BYTES).entry


def claimed(row: Row) -> bytes | None:
    """The key that a first row names, **unchecked**; None where it is no first row."""
    try:
        entry = _decoded(row.body) if isinstance(row.body, bytes) else None
    except ProtocolError:
        return None
    return entry.key if isinstance(entry, Opened) else None
