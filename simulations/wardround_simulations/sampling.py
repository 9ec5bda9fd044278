"""What ``wardround-sim sample`` does: draw images from a released generator and write them.

Rules:

* The same release, seed, labels and count give the same files. An image depends on seed, plan, label and its
  number within the label: asking for more images, or for other labels too, changes none.
* Only ``model.safetensors`` and ``release.json`` of the run are read; no site's folder is opened.

Privacy: post-processing of a released model: drawing costs no patient anything, however often it is done.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wardround_client.tasks.generation.drawing import draw
from wardround_common.canonical import digest
from wardround_common.errors import ConfigError
from wardround_common.plan import StudyPlan
from wardround_common.streams import Stream, derive
from wardround_common.tasks.generation import GenerationPlan
from wardround_common.trust import plan_digest
from wardround_server.report import Release, read_release
from wardround_simulations.synthetic import Samples, write_samples

MOST_PER_LABEL: Final = 9_999


def sample(run: Path, *, out: Path, label: str | None, count: int, seed: int) -> Path:
    """Draw ``count`` images of one label, or of each, and write them.

    Args:
        run: Folder of a run, or of one of its studies.
        out: New, empty, or a folder of samples, which are then replaced.
        label: One of the plan's labels; None: all.
        count: Images of each label, 1 to ``MOST_PER_LABEL``.
        seed: At least 0.

    Returns:
        The path of the grid.

    Raises:
        StorageError: The release is missing or damaged, or ``out`` cannot be written.
        ConfigError: The run trained no generator, it knows no such label, or ``out`` holds something else.
    """
    release = read_release(run)
    plan = release.plan
    if not isinstance(plan.task, GenerationPlan):
        raise ConfigError(
            f"the study '{plan.study}' in {run} trained no generator: its task is {plan.task.name!r}",
            remedy="Give the folder of a study that did; a run keeps each study in its folder studies/.",
            code="sample.no_generator",
        )
    return write_samples(out, _samples(release, _chosen(plan, label), count=count, seed=seed))


def _chosen(plan: StudyPlan, label: str | None) -> tuple[int, ...]:
    if label is None:
        return tuple(range(len(plan.labels)))
    if label not in plan.labels:
        raise ConfigError(
            f"the generator knows no label '{label}'",
            remedy=f"Set --label to one of: {', '.join(plan.labels)}.",
            code="sample.unknown_label",
        )
    return (plan.labels.index(label),)


def _samples(release: Release, numbers: tuple[int, ...], *, count: int, seed: int) -> Samples:
    plan, stated = release.plan, plan_digest(release.plan)
    secret, length = digest("samples", stated, seed.to_bytes(8, "big")), GenerationPlan.of(plan).latent
    images = [
        draw(
            plan,
            release.vector_P,
            np.full(count, number, np.int64),
            latent=np.stack([_latent(secret, number, place, length=length) for place in range(count)]),
        )
        for number in numbers
    ]
    return Samples(
        images_NCHW=np.concatenate(images),
        label_N=np.repeat(np.array(numbers, np.int64), count),
        labels=plan.labels,
        input=plan.input,
        title=plan.title,
        plan_digest=stated.hex(),
    )


def _latent(secret: bytes, number: int, place: int, *, length: int) -> NDArray[np.float32]:
    """The latent vector of one image: a stream for each, so that it does not depend on how many there are."""
    return Stream(derive(secret, number, place)).normal(length).astype(np.float32)
