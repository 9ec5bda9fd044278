"""What a site's daemon and its trainer say to each other, as bytes over a pair of sockets.

Rules: one reply to one job, in order; both ends decode strictly.

Privacy: keys of rounds, updates and exact counts; the sockets have no name and no address.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from wardround_client.sealing import Sealer
from wardround_client.tasks.interface import RuntimeFlags
from wardround_common.errors import TrainerError
from wardround_common.problems import Problem

Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]

LIMIT_BYTES: Final = 1 << 33
"""Longest job or reply."""
CRASHED: Final = "trainer.crashed"
STOPPED: Final = "trainer.stopped"


class Open(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="open"):
    """Take up a study: read its images, and have its task's code ready."""

    plan: Digest
    signed: bytes
    """The plan as its lead signed it."""
    site: str
    catalogue: str
    """Path of the images."""
    sealer: Sealer
    """What they are sealed with; it opens the images of this plan and nothing else."""
    flags: RuntimeFlags


class Train(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="train"):
    """``Trainer.train`` of a study that is open; vectors as little-endian float32."""

    plan: Digest
    start: bytes
    local: bytes
    key: Digest


class Count(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="count"):
    """``Trainer.count`` of a study that is open."""

    plan: Digest
    vector: bytes


class Close(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="close"):
    """Drop a study and its images."""

    plan: Digest


class Opened(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="opened"):
    """The images of a study, without the images."""

    snapshot: Digest
    patient_keys: tuple[Digest, ...]


class Trained(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="trained"):
    """A task's output."""

    update: bytes
    noisy_steps: int
    local: bytes


class Counted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="counted"):
    """Exact counts, little-endian int64."""

    counts: bytes


class Closed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="closed"):
    """The images of a study are gone from memory."""


class Failed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="failed"):
    """The job could not be done."""

    problem: Problem


Job = Open | Train | Count | Close
Reply = Opened | Trained | Counted | Closed | Failed

_JOBS: Final = msgspec.msgpack.Decoder(Job)
_REPLIES: Final = msgspec.msgpack.Decoder(Reply)
write = msgspec.msgpack.Encoder().encode


def read_job(data: bytes) -> Job:
    """A job; raises ``msgspec.DecodeError``."""
    job: Job = _JOBS.decode(data)
    return job


def read_reply(data: bytes) -> Reply:
    """A reply; raises ``msgspec.DecodeError``."""
    reply: Reply = _REPLIES.decode(data)
    return reply


def no_memory(why: str) -> TrainerError:
    """There is too little memory for a job."""
    return TrainerError(
        f"there is too little memory to train ({why})",
        remedy="Free memory on the device that trains, or lower physical_batch in site.toml.",
        code="trainer.out_of_memory",
        retryable=True,
    )
