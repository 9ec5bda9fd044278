"""The signed envelope around every message, and the packet in which it travels.

An envelope says which protocol version, plan, round, kind and attempt it belongs to, what it is, who sent
it, and the hash of everything its sender had agreed to before; one signature covers all of that and the body.
``Wire`` seals and opens envelopes of one attempt: bytes in, verified content or an error out.

Not here: what may follow what (``secagg``), how packets travel (the Flower edge).

Rules:

* ``Wire.open`` checks in this order: length, encoding, version, type, plan, round, kind, attempt, sender,
  transcript, signature, body. Nothing is returned before the last of them.
* A sender must be named in the plan *and* be in the authority's roster; the coordinator signs with the key
  that the roster gives it.
* ``peek`` verifies nothing; it is for finding out which study and round a message claims to belong to.

Privacy: an envelope hides nothing; it only binds.

References: ARCHITECTURE.md, "A round, message by message".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Final, Generic, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from wardround_common.canonical import decode, encode
from wardround_common.errors import ProtocolError
from wardround_common.identity import SigningKey, verify
from wardround_common.messages.bodies import (
    NO_TRANSCRIPT,
    TABLE,
    Abort,
    Body,
    Digest,
    Kind,
    MessageType,
)
from wardround_common.plan_parts import Name
from wardround_common.trust import COORDINATOR, Roster, Signature

B = TypeVar("B", bound=Body)

VERSION: Final = 1
_LABEL: Final = "envelope"

Number = Annotated[int, Meta(ge=0, le=2**31 - 1)]


@dataclass(frozen=True, slots=True, eq=False)
class Packet:
    """What travels: the bytes of an envelope (for DEAL: of a ``DealParcel``) and at most one array.

    Attributes:
        envelope: Opaque to whoever carries it.
        array: Ring words, uint16 or uint32, shape [P], or None. Its digest stands in the envelope.
    """

    envelope: bytes
    array: npt.NDArray[np.uint16 | np.uint32] | None = None


class RoundContext(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which attempt at which round of which study."""

    plan_digest: Digest
    round: Number
    kind: Kind
    attempt: Annotated[int, Meta(ge=1, le=2**31 - 1)]


class Envelope(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A message as it is signed and sent."""

    version: Number
    plan_digest: Digest
    round: Number
    kind: Kind
    attempt: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    type: MessageType
    sender: Name
    transcript: Digest
    body: bytes
    signature: Signature

    @property
    def context(self) -> RoundContext:
        """The attempt that the envelope claims to belong to."""
        return RoundContext(
            plan_digest=self.plan_digest, round=self.round, kind=self.kind, attempt=self.attempt
        )

    @property
    def signed_bytes(self) -> bytes:
        """What the signature covers: everything but itself."""
        return encode(msgspec.structs.astuple(self)[:-1])

    def is_signed_by(self, key: bytes) -> bool:
        """Whether the owner of a public key signed it."""
        try:
            verify(key, self.signature, _LABEL, self.signed_bytes)
        except ProtocolError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs: a site under its own name, or the coordinator under ``COORDINATOR``."""

    name: str
    key: SigningKey


@dataclass(frozen=True, slots=True)
class Opened(Generic[B]):
    """A verified message: its sender, its attempt, its content, and the exact bytes that were sent."""

    sender: str
    context: RoundContext
    body: B
    data: bytes


@dataclass(frozen=True, slots=True)
class Wire:
    """Seals and opens the envelopes of one attempt.

    Attributes:
        context: The attempt.
        roster: Whose keys count.
        sites: The plan's sites.
    """

    context: RoundContext
    roster: Roster
    sites: frozenset[str]

    def seal(self, body: Body, *, transcript: bytes, signer: Signer) -> bytes:
        """The envelope of ``body``, signed."""
        about = self.context
        unsigned = Envelope(
            version=VERSION,
            plan_digest=about.plan_digest,
            round=about.round,
            kind=about.kind,
            attempt=about.attempt,
            type=TABLE[type(body)].type,
            sender=signer.name,
            transcript=transcript,
            body=encode(body),
            signature=bytes(64),
        )
        signature = signer.key.sign(_LABEL, unsigned.signed_bytes)
        return encode(msgspec.structs.replace(unsigned, signature=signature))

    def open(self, data: bytes, body: type[B], *, transcript: bytes, sender: str | None = None) -> Opened[B]:
        """Verify one envelope of this attempt.

        Args:
            data: Bytes from anywhere.
            body: The message expected.
            transcript: What it must cover.
            sender: Who must have sent it; None: any site of the plan.

        Raises:
            ProtocolError: ``message.*``, ``trust.stranger`` or ``identity.bad_signature``.
        """
        envelope = peek(data, body, sites=len(self.sites))
        check_context(envelope, self.context)
        self._check_sender(envelope, sender)
        if envelope.transcript != transcript:
            raise _refuse(
                "other_transcript", f"{envelope.sender} signed another history of this attempt than ours"
            )
        return self._verified(envelope, data, body)

    def open_past(self, data: bytes, body: type[B], *, sender: str | None = None) -> Opened[B]:
        """Verify a site's message of any round of this study, whatever its transcript.

        Args:
            data: Bytes from anywhere.
            body: The message expected.
            sender: Who must have sent it; None: any site of the plan.

        Raises:
            ProtocolError: As ``open``.
        """
        envelope = peek(data, body, sites=len(self.sites))
        if envelope.plan_digest != self.context.plan_digest:
            raise _refuse("other_plan", "the message belongs to another plan")
        self._check_sender(envelope, sender)
        return self._verified(envelope, data, body)

    def open_abort(self, data: bytes) -> Opened[Abort]:
        """Verify a site's ABORT of an earlier attempt at this round.

        Raises:
            ProtocolError: As ``open``; ``message.other_attempt`` where the attempt is not an earlier one,
                ``message.bound_abort`` where it covers a transcript.
        """
        envelope = peek(data, Abort, sites=len(self.sites))
        check_context(envelope, msgspec.structs.replace(self.context, attempt=envelope.attempt))
        if envelope.attempt >= self.context.attempt:
            raise _refuse(
                "other_attempt", f"expected one before {self.context.attempt}, got {envelope.attempt}"
            )
        self._check_sender(envelope, None)
        if envelope.transcript != NO_TRANSCRIPT:
            raise _refuse("bound_abort", f"{envelope.sender} bound its ABORT to a view of the attempt")
        return self._verified(envelope, data, Abort)

    def _check_sender(self, envelope: Envelope, sender: str | None) -> None:
        if envelope.sender != sender if sender is not None else envelope.sender == COORDINATOR:
            raise _refuse("other_sender", f"expected {sender or 'a site'}, got {envelope.sender}")

    def _verified(self, envelope: Envelope, data: bytes, body: type[B]) -> Opened[B]:
        if envelope.sender not in self.sites and envelope.sender != COORDINATOR:
            raise _refuse("not_in_plan", f"{envelope.sender} is not a site of this plan")
        key = self.roster.key_of(envelope.sender)
        verify(key, envelope.signature, _LABEL, envelope.signed_bytes)
        limit = TABLE[body].limit_bytes(len(self.sites))
        content = decode(envelope.body, body, limit_bytes=limit)
        return Opened(envelope.sender, envelope.context, content, data)

    def open_all(self, items: Iterable[bytes], body: type[B], *, transcript: bytes) -> dict[str, Opened[B]]:
        """Verify one envelope per site, by name in ascending order.

        Raises:
            ProtocolError: As ``open``; ``message.duplicate`` and ``message.not_sorted``.
        """
        opened: dict[str, Opened[B]] = {}
        last = ""
        for data in items:
            message = self.open(data, body, transcript=transcript)
            if message.sender in opened:
                raise _refuse("duplicate", f"{message.sender} is listed twice")
            if message.sender < last:
                raise _refuse("not_sorted", f"{message.sender} is listed after {last}")
            opened[message.sender] = message
            last = message.sender
        return opened


def peek(data: bytes, body: type[Body], *, sites: int) -> Envelope:
    """Decode an envelope **without verifying it**.

    Args:
        data: Bytes from anywhere.
        body: The message expected; sets the byte limit.
        sites: Number of sites of the plan.

    Raises:
        ProtocolError: ``message.too_long``, ``message.malformed``, ``message.not_canonical``,
            ``message.other_version``, ``message.other_type``.
    """
    row = TABLE[body]
    envelope = decode(data, Envelope, limit_bytes=row.limit_bytes(sites))
    if envelope.version != VERSION:
        raise _refuse("other_version", f"expected protocol version {VERSION}, got {envelope.version}")
    if envelope.type != row.type:
        raise _refuse("other_type", f"expected {row.type.upper()}, got {envelope.type.upper()}")
    return envelope


def peek_request(data: bytes, *, sites: int) -> Envelope:
    """Decode an envelope of any type **without verifying it**, to find the study that should look at it.

    Args:
        data: Bytes from anywhere.
        sites: Number of sites of the largest plan that may be meant; sets the byte limit.

    Raises:
        ProtocolError: ``message.too_long``, ``message.malformed`` or ``message.not_canonical``.
    """
    limit = max(row.limit_bytes(sites) for row in TABLE.values())
    return decode(data, Envelope, limit_bytes=limit)


def check_context(envelope: Envelope, expected: RoundContext) -> None:
    """Return only if the envelope belongs to the attempt.

    Raises:
        ProtocolError: ``message.other_plan``, ``.other_round``, ``.other_kind`` or ``.other_attempt``.
    """
    if envelope.plan_digest != expected.plan_digest:
        raise _refuse("other_plan", "the message belongs to another plan")
    if envelope.round != expected.round:
        raise _refuse("other_round", f"expected round {expected.round}, got {envelope.round}")
    if envelope.kind != expected.kind:
        raise _refuse("other_kind", f"expected a round of kind {expected.kind}, got {envelope.kind}")
    if envelope.attempt != expected.attempt:
        raise _refuse("other_attempt", f"expected attempt {expected.attempt}, got {envelope.attempt}")


_REMEDIES: Final = {
    "other_version": "Install the same version of Wardround at all sites and at the coordinator.",
    "other_plan": "Check that the coordinator runs the plan that this site approved.",
    "other_round": "Nothing if it is rare; else ask the coordinator's operator why it replays messages.",
    "other_kind": "Ask the coordinator's operator why it replays messages.",
    "other_attempt": "Nothing if it is rare; else ask the coordinator's operator why it replays messages.",
    "other_type": "Check that both ends run the same version; somebody may be replaying messages.",
    "other_sender": "Find out who sent this: a reply came under another site's name.",
    "other_transcript": "Stop the study and compare the transcripts: sites were told different things.",
    "bound_abort": "Install the same version of Wardround at this site; its ABORT may not hold for others.",
    "not_in_plan": "Find out why a site that the plan does not name takes part.",
    "duplicate": "Stop the study and keep the message: the coordinator counts a site twice.",
    "not_sorted": "Check that both ends run the same version of Wardround.",
}


def _refuse(what: str, message: str) -> ProtocolError:
    return ProtocolError(message, remedy=_REMEDIES[what], code=f"message.{what}")
