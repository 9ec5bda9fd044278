"""What a generator draws: images of given labels from a stream.

Privacy: post-processing of the generator. It takes no image of a patient.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wardround_client.tasks.generation.generators import Generator
from wardround_client.tasks.generation.networks import build
from wardround_common.plan import StudyPlan
from wardround_common.streams import Stream

_ROWS = 64


def latents(stream: Stream, count: int, *, length: int) -> Tensor:
    """``float32[count, length]`` standard normal numbers."""
    return torch.from_numpy(stream.normal(count * length).astype(np.float32)).view(count, length)


def labels(stream: Stream, count: int, *, prior: Sequence[float]) -> Tensor:
    """``int64[count]`` labels, each drawn with its share of the prior."""
    edges = np.cumsum(prior)[:-1]
    return torch.from_numpy(np.searchsorted(edges, stream.uniform(count), side="right").astype(np.int64))


def draw(
    plan: StudyPlan,
    vector: NDArray[np.float32],
    label_N: NDArray[np.int64],
    *,
    latent: Stream | NDArray[np.float32],
) -> NDArray[np.float32]:
    """Draw one image for each label.

    Args:
        plan: Names the model.
        vector: ``float32[P]``, the released vector (a discriminator in it is not used).
        label_N: Labels, indices into ``plan.labels``.
        latent: The latent vectors ``float32[N, latent]``, or the stream that they come from.

    Returns:
        ``float32[N, C, size_px, size_px]``, values 0 to 1.
    """
    networks = build(plan)
    networks.generator_parameters.load(vector[: networks.generator_parameters.layout.size])
    if isinstance(latent, Stream):
        z_NL = latents(latent, len(label_N), length=networks.generator.latent)
    else:
        z_NL = torch.from_numpy(latent)
    return _in_parts(networks.generator, z_NL, torch.from_numpy(label_N)).numpy()


@torch.no_grad()
def _in_parts(generator: Generator, z_NL: Tensor, label_N: Tensor) -> Tensor:
    parts = zip(z_NL.split(_ROWS), label_N.split(_ROWS), strict=True)
    return torch.cat([generator(z, label) for z, label in parts])
