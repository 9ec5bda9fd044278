"""What the rows of an audit log say.

``opened`` is the first row of every log. ``sent`` and ``taken`` are messages that left, and that came and
were believed, byte for byte by their digests. ``refused`` is what was not believed, and the error code that
left in its place. ``turned_away`` is what one of the coordinator's ports refused before anybody read it.
``certified`` is a certificate that the coordinator's CA made. ``happened`` is a decision, or the end of a
round.

Not here: how rows hang together (``chain``).

Rules:

* Every field has a form and a limit, so a row is never longer than ``ROW_LIMIT_BYTES``.
* Text from outside enters through ``clean_code`` or ``clean_note``: no control character reaches a terminal.

Privacy: sizes, digests, codes, names, network addresses of institutions; what a person typed as a note.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, Struct

from wardround_common.plan_parts import Name

ROW_LIMIT_BYTES: Final = 1 << 16
NOTE_LIMIT: Final = 1000
UNKNOWN: Final = "unknown"
_CONTROL: Final = r"\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
"""Control characters, and what turns the direction of a text: a terminal would obey them."""

Moment = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")]
Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]
MaybeDigest = Annotated[bytes, Meta(max_length=32)]
Number = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Size = Annotated[int, Meta(ge=0, le=2**48)]
Label = Annotated[str, Meta(pattern=r"^[a-z0-9_.-]{0,40}\Z")]
Code = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.]{0,60}\Z")]
Address = Annotated[str, Meta(pattern=r"^[0-9A-Za-z.:%_-]{0,64}\Z")]
Seconds = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Note = Annotated[
    str, Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]*\Z", max_length=NOTE_LIMIT)
]
Epsilon = Annotated[float, Meta(ge=0)]


class Opened(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="what", tag="opened"):
    """The log begins: whose it is, the key that signs it, and a number that no other log has."""

    at: Moment
    party: Name
    key: Digest
    log: Digest


class _Round(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="what"):
    """What all other rows have in common; what is not known, or does not apply, is empty or 0."""

    at: Moment = "1970-01-01T00:00:00.000Z"
    """When; the log itself writes it."""
    study: Label = ""
    plan: MaybeDigest = b""
    round: Number = 0
    kind: Literal["", "train", "evaluate"] = ""
    attempt: Number = 0
    epsilon: Epsilon | None = None
    """At a site: what the study had cost a patient there by then, from its ledger."""


class _Message(_Round, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message, by its size and digest."""

    peer: Label = ""
    """The other end; a node's number where nobody knows yet who is there."""
    message: Label = ""
    """Its type: ``hello``, ``masked``, ..."""
    exchange: Label = ""
    """The request that it is, or answers: ``start``, ``cohort``, ..."""
    size: Size
    """Bytes of the envelope."""
    digest: Digest
    """SHA-256 of the envelope."""
    array_size: Size = 0
    array_digest: MaybeDigest = b""
    """As MASKED and RESULT sign it (``secagg.ring.vector_digest``)."""
    repeated: bool = False
    """Whether the same bytes went the same way not long before."""

    @property
    def total(self) -> int:
        """Bytes of envelope and array."""
        return self.size + self.array_size


class Sent(_Message, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="sent"):
    """This message leaves."""


class Taken(_Message, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="taken"):
    """This message came and was believed."""


class Refused(_Message, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="refused"):
    """This came and was not believed, or nothing came; what it says of itself is a claim."""

    code: Code
    """Why."""
    left: Size = 0
    """Bytes that leave in place of an answer: the code's, where it leaves."""


class TurnedAway(_Round, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="turned_away"):
    """A port of the coordinator refused a connection, or a request, before anybody read what it says."""

    code: Code
    """Why."""
    site: Label = ""
    """Whose certificate was shown, or which name was claimed; empty where nobody's."""
    address: Address = ""
    """Where it came from; empty for all those together that are too many to be named."""
    count: Number = 1
    """How often since the row before about the same."""
    seconds: Seconds = 0
    """By how much the peer's clock was ahead, where that was the reason."""


class Certified(_Round, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="certified"):
    """The coordinator's CA made a certificate."""

    name: Name
    """Whose: a site's, or ``coordinator`` for its own server."""
    fingerprint: Digest
    """SHA-256 of the certificate."""
    until: Moment


class Happened(_Round, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="happened"):
    """Something was decided, or ended."""

    event: Literal["approved", "refused", "opened", "paused", "settled", "resumed", "stopped", "round_ended"]
    code: Code = ""
    note: Note = ""
    """Who decided so, and why, in their own words."""
    cohort: tuple[Name, ...] = ()
    """At a round's end: the sites in the sum."""


Entry: TypeAlias = Opened | Sent | Taken | Refused | TurnedAway | Certified | Happened


class Text(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A row's text is the canonical encoding of this."""

    entry: Entry


def clean_code(code: str) -> str:
    """An error code, or ``unknown`` where it has not the form of one: it may have come from anywhere."""
    return code if re.fullmatch(r"[A-Za-z0-9_.]{1,60}", code) else UNKNOWN


def clean_label(text: str) -> str:
    """A name that somebody claims, or nothing where it has not the form of one."""
    return text if re.fullmatch(r"[a-z0-9_.-]{0,40}", text) else ""


def clean_address(text: str) -> str:
    """A network address as a socket says it, or nothing where it has not the form of one."""
    return text if re.fullmatch(r"[0-9A-Za-z.:%_-]{0,64}", text) else ""


def clean_note(note: str) -> str:
    """A person's note without control characters, cut to ``NOTE_LIMIT`` characters."""
    return re.sub(f"[{_CONTROL}]", " ", note)[:NOTE_LIMIT]
