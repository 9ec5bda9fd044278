"""The interface between a round and what it trains.

A task turns a start vector and a site's images into an update, and held-out patients into counts. It sees no
message, no key and no other site.

Rules:

* Everything random comes from ``streams(purpose, step)``; global generators stay where they are.
* The same plan, start vector, data and streams give the same output, in whichever process.
* ``RuntimeFlags`` change speed and memory, never the mechanism.

Privacy: ``TrainOutput`` is already noised: whoever sees it learns what the ledger was charged for. Counts of
``evaluate`` and the result of ``scores`` are private: the caller noises the one and keeps the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wardround_client.catalogue import Catalogue
from wardround_common.plan import StudyPlan
from wardround_common.streams import Stream

Streams = Callable[[str, int], Stream]
"""Opens the stream of a purpose and a step; each is opened at most once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RuntimeFlags:
    """What a site's machine is good at.

    Args:
        device: torch's name of the device.
        physical_batch: Rows per forward pass.
    """

    device: str = "cpu"
    physical_batch: int = 64


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrainOutput:
    """What a site's training gave.

    Attributes:
        update_P: Parameters after the round minus before, float32.
        noisy_steps: Noisy sums that were really released; the plan's ``local_steps``.
    """

    update_P: NDArray[np.float32]
    noisy_steps: int


class Task(Protocol):
    """A task: how a round trains, and how its model is judged."""

    def train_round(
        self,
        plan: StudyPlan,
        *,
        site: str,
        start: NDArray[np.float32],
        data: Catalogue,
        streams: Streams,
        flags: RuntimeFlags,
    ) -> TrainOutput:
        """Train for the plan's local steps, with its privacy.

        Args:
            plan: The study's plan.
            site: Name of this site in the plan: its divisor is ``sample_rate * patients``.
            start: ``float32[P]``, the global vector.
            data: The train side.
            streams: The round's private randomness.
            flags: Device and physical batch.

        Raises:
            PrivacyError: The network cannot be clipped.
        """
        ...

    def evaluate(
        self, plan: StudyPlan, *, vector: NDArray[np.float32], validation: Catalogue, test: Catalogue
    ) -> NDArray[np.int64]:
        """Count held-out patients: one score and one label each.

        Returns:
            Exact numbers of patients, ``int64[cells]`` in the order of ``wardround_common.evaluation``.
        """
        ...

    def scores(
        self, plan: StudyPlan, vector: NDArray[np.float32], images_NCHW: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """The probability of the positive class for each image, ``float64[N]``."""
        ...
