"""The interface between a round and what it trains.

A task turns a start vector and a site's images into an update, and held-out patients into counts. It sees no
message, no key and no other site.

Rules:

* Everything random comes from ``streams(purpose, step)``; global generators stay where they are.
* The same plan, start vector, data and streams give the same output, in whichever process.
* ``RuntimeFlags`` change speed and memory, never the mechanism.

Privacy: ``TrainOutput`` is already noised: whoever sees it learns what the ledger was charged for. Counts of
``evaluate`` are private: the caller noises them. ``local_L`` is noised like the update and stays at the site.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Final, Protocol, runtime_checkable

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from wardround_client.catalogue import Catalogue
from wardround_common.plan import StudyPlan
from wardround_common.streams import Stream

NOTHING: Final = np.zeros(0, np.float32)
"""The local state of a task that keeps none."""

Streams = Callable[[str, int], Stream]
"""Opens the stream of a purpose and a step; each is opened at most once."""


class RuntimeFlags(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a site's machine is good at."""

    device: Annotated[str, Meta(pattern=r"\A(cpu|mps|cuda(:[0-9]{1,2})?)\Z")] = "cpu"
    """torch's name of the device."""
    physical_batch: Annotated[int, Meta(ge=1, le=1 << 16)] = 64
    """Rows per forward pass."""
    threads: Annotated[int, Meta(ge=1, le=256)] = 1
    """How many make the masks."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrainOutput:
    """What a site's training gave.

    Attributes:
        update_P: Parameters after the round minus before, float32.
        noisy_steps: Noisy sums that were really released; the plan's ``local_steps``.
        local_L: What the task keeps at the site for its next round, float32 of any length.
    """

    update_P: NDArray[np.float32]
    noisy_steps: int
    local_L: NDArray[np.float32] = field(default_factory=lambda: NOTHING)


class Task(Protocol):
    """A task: how a round trains."""

    def train_round(
        self,
        plan: StudyPlan,
        *,
        site: str,
        start: NDArray[np.float32],
        local_L: NDArray[np.float32],
        data: Catalogue,
        streams: Streams,
        flags: RuntimeFlags,
    ) -> TrainOutput:
        """Train for the plan's local steps, with its privacy.

        Args:
            plan: The study's plan.
            site: Name of this site in the plan: its divisor is ``sample_rate * patients``.
            start: ``float32[P]``, the global vector.
            local_L: What the task kept at this site when the last accepted round ended; before the first
                round empty.
            data: The train side.
            streams: The round's private randomness.
            flags: Device and physical batch.

        Raises:
            PrivacyError: The network cannot be clipped.
        """
        ...


@runtime_checkable
class CountingTask(Task, Protocol):
    """A task whose plan counts held-out patients."""

    def evaluate(
        self, plan: StudyPlan, *, vector: NDArray[np.float32], validation: Catalogue, test: Catalogue
    ) -> NDArray[np.int64]:
        """Count held-out patients: one score and one label each.

        Returns:
            Exact numbers of patients, ``int64[cells]`` in the order of ``plan.task``.
        """
        ...
