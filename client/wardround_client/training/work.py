"""What a round asks of a site's images, and the trainer that does it in this process.

Rules: all randomness comes from the key that the caller gives, which it derived from the round's secret.

Privacy: as ``tasks.interface``: updates are noised, counts are not yet.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wardround_client.catalogue import Catalogue, Census
from wardround_client.sealing import Sealer
from wardround_client.tasks.interface import CountingTask, RuntimeFlags, Streams, Task, TrainOutput
from wardround_common.errors import ProtocolError
from wardround_common.messages import Kind
from wardround_common.plan import StudyPlan
from wardround_common.streams import Stream, derive


class Trainer(Protocol):
    """Trains and counts for one study."""

    def train(self, *, start: NDArray[np.float32], local_L: NDArray[np.float32], key: bytes) -> TrainOutput:
        """Train for the plan's local steps on the train side.

        Args:
            start: ``float32[P]``, the global vector.
            local_L: What the task kept at this site, ``float32`` of any length.
            key: 32 bytes that all of the round's randomness comes from.

        Raises:
            TrainerError: The process that trains broke down; the same call gives the same output later.
            WardroundError: The task's own.
        """
        ...

    def count(self, *, vector: NDArray[np.float32]) -> NDArray[np.int64]:
        """Count held-out patients; exact, ``int64[cells]``.

        Args:
            vector: ``float32[P]``, the model to judge.

        Raises:
            TrainerError: As ``train``.
            ProtocolError: ``round.not_planned``.
        """
        ...


class Trainers(Protocol):
    """What trains at a site: a trainer for each of its studies."""

    def study(
        self,
        plan: bytes,
        *,
        signed: bytes,
        site: str,
        catalogue: Path,
        sealer: Sealer,
        flags: RuntimeFlags,
    ) -> tuple[Census, Trainer]:
        """Read a study's images; returns what they are, and who trains on them.

        Args:
            plan: Digest of the plan.
            signed: The plan as its lead signed it.
            site: Name of the site in it.
            catalogue: Path of the images.
            sealer: What they are sealed with.
            flags: What the machine is good at.

        Raises:
            StorageError: The images cannot be read.
            TrainerError: The process that trains broke down, or is stopped.
        """
        ...

    def forget(self, plan: bytes) -> None:
        """Drop a study's images from memory; one that was not read changes nothing.

        Args:
            plan: Digest of the plan, on which nobody trains any more.
        """
        ...

    def stop(self) -> None:
        """End whatever is being trained at once, and train nothing; from any thread."""
        ...

    def start(self) -> None:
        """Train again."""
        ...

    def close(self) -> None:
        """Stop for good."""
        ...


class LocalTrainer:
    """Trains in this process.

    Args:
        plan: The study's plan.
        site: Name of the site in it.
        catalogue: The site's images.
        flags: What the machine is good at.
        task: Finds a plan's task by name.
    """

    def __init__(
        self,
        plan: StudyPlan,
        *,
        site: str,
        catalogue: Catalogue,
        flags: RuntimeFlags,
        task: Callable[[str], Task],
    ) -> None:
        self._plan = plan
        self._site = site
        self._sides = {side: catalogue.of_side(side) for side in ("train", "validation", "test")}
        self._flags = flags
        self._task = task

    def train(self, *, start: NDArray[np.float32], local_L: NDArray[np.float32], key: bytes) -> TrainOutput:
        """Train for the plan's local steps (``Trainer.train``)."""
        return self.warm().train_round(
            self._plan,
            site=self._site,
            start=start,
            local_L=local_L,
            data=self._sides["train"],
            streams=streams_of(key),
            flags=self._flags,
        )

    def count(self, *, vector: NDArray[np.float32]) -> NDArray[np.int64]:
        """Count held-out patients (``Trainer.count``)."""
        task = self.warm()
        if self._plan.evaluation is None or not isinstance(task, CountingTask):
            raise not_planned("evaluate")
        return task.evaluate(
            self._plan, vector=vector, validation=self._sides["validation"], test=self._sides["test"]
        )

    def warm(self) -> Task:
        """Load the task's code, and torch with it, before it is needed."""
        return self._task(self._plan.task.name)


def streams_of(key: bytes) -> Streams:
    """The streams of a round, by purpose and step, under its key."""
    return lambda purpose, step: Stream(derive(key, purpose, step))


def not_planned(kind: Kind) -> ProtocolError:
    """The plan has no such round."""
    return ProtocolError(
        f"the plan has no round of kind {kind!r}",
        remedy="Check that coordinator and sites run the same version of Wardround.",
        code="round.not_planned",
    )
