"""What the ledger writes down: one frozen record per row of its chain.

Rules:

* A record is JSON text in the database, so that a privacy officer can read it with any SQLite tool; bytes are
  base64. The hash of a row covers exactly that text.
* A spend names an event, never an epsilon: what events cost together is computed when it is asked for.
* No record holds a time: clocks are wrong, and nothing that is hashed may depend on one.

Privacy: patient keys are not in here (``members`` holds them); records name snapshots of the catalogue.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from wardround_common.accounting import Event
from wardround_common.messages import Kind
from wardround_common.plan_parts import Name

TRAIN: Final = 0
VALIDATION: Final = 1
TEST: Final = 2
SIDES: Final = (TRAIN, VALIDATION, TEST)
SIDE_NAMES: Final = ("training", "validation", "test")

Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]
Number = Annotated[int, Meta(ge=0, le=2**31 - 1)]


def kind_charged(side: int) -> Kind:
    """Return the kind of round that patients of ``side`` pay for; no patient pays for both."""
    return "train" if side == TRAIN else "evaluate"


class _Record(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="what"):
    seq: Number
    """Place in the chain, from 1, without gaps."""


class Opened(_Record, frozen=True, kw_only=True, tag="opened"):
    """The first row."""

    ledger_id: Digest
    """Random; keeps the head hash of a young ledger from being guessed."""
    randomness: Literal["operating system", "seeded"]
    """``seeded``: a simulation, whose noise protects nobody."""


class Registered(_Record, frozen=True, kw_only=True, tag="registered"):
    """A snapshot of the catalogue and who is in it."""

    snapshot: Digest
    members: Digest
    """Digest of the sorted patient keys and sides."""


class Reservation(_Record, frozen=True, kw_only=True, tag="reserved"):
    """The whole planned cost of a study, for the patients of one snapshot."""

    study: Name
    task: Name
    plan_digest: Digest
    snapshot: Digest
    target_epsilon: float
    """The plan's promise to training patients."""
    evaluation_epsilon: float
    """The plan's promise to validation and to test patients; 0 where it counts none of them."""
    target_delta: float
    train: Event
    """All training steps of the study."""
    evaluate: Event | None
    """All evaluations of the study."""

    def planned(self, kind: Kind) -> Event | None:
        """Return what is reserved for rounds of ``kind``; None where there are none."""
        return self.train if kind == "train" else self.evaluate


class Claim(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a round is about to spend."""

    study: Name
    plan_digest: Digest
    round: Number
    kind: Kind
    snapshot: Digest
    """The catalogue that the round reads; its patients of the charged sides pay."""
    event: Event
    D: Digest
    """Digest of all that the round is computed from: plan, version, start state, snapshot, task state."""
    secret_id: Annotated[bytes, Meta(min_length=16, max_length=32)]
    """Names the round's secret; the secret itself is in the scratch database."""


class Spend(Claim, frozen=True, kw_only=True, tag="spent", tag_field="what"):
    """A claim that was granted: one round's event, written before the round touches a patient."""

    seq: Number


class Output(_Record, frozen=True, kw_only=True, tag="output"):
    """The one result of a spend. From this row on nothing is computed for that round any more."""

    spend_seq: Number
    output_digest: Digest


class Closed(_Record, frozen=True, kw_only=True, tag="closed"):
    """The end of a study at this site: what is reserved and not spent is free again."""

    study: Name


Record = Opened | Registered | Reservation | Spend | Output | Closed
