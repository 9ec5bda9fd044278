"""What a model says about images, and the counts of held-out patients that an EVALUATE round sums.

Privacy: scores and counts are private. A held-out patient gives one score and one label, from one image
chosen by its key, to one cell: the caller adds noise for sensitivity 1 before anything leaves.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from wardround_client.catalogue import Catalogue, evaluation_rows
from wardround_client.tasks.batches import FeatureCache
from wardround_client.tasks.classification.networks import build
from wardround_common.evaluation import histogram
from wardround_common.plan import StudyPlan
from wardround_common.tasks.classification import ClassificationPlan

_ROWS = 64


@torch.no_grad()
def score(
    plan: StudyPlan, vector: NDArray[np.float32], images_NCHW: NDArray[np.float32], *, cache: FeatureCache
) -> NDArray[np.float64]:
    """The probability of the positive class for each image.

    Args:
        plan: Names the model.
        vector: ``float32[P]``.
        images_NCHW: Values 0 to 1; may be empty.
        cache: Keeps the front end's output for as long as the array lives.
    """
    network = build(plan)
    network.load(vector)
    if network.front_end is None:
        x_N = torch.tensor(images_NCHW)
    else:
        x_N = cache.features(images_NCHW, network.front_end)
    logits_N = torch.cat([network.head(part)[:, 0] for part in x_N.split(_ROWS)])
    return torch.sigmoid(logits_N.double()).numpy()


def count(
    plan: StudyPlan, *, vector: NDArray[np.float32], sides: Iterable[Catalogue], cache: FeatureCache
) -> NDArray[np.int64]:
    """Held-out patients by side, class and bin of their score: flat, exact, private.

    Args:
        plan: Names the model and the edges of the bins.
        vector: ``float32[P]``.
        sides: Validation, then test.
        cache: As for ``score``.
    """
    counts, edges = [], ClassificationPlan.of(plan).bin_edges
    for side in sides:
        rows_P = evaluation_rows(side)
        scores_P = score(plan, vector, side.images_NCHW[rows_P], cache=cache)
        counts.append(histogram(scores_P, side.label_N[rows_P], edges).reshape(-1))
    return np.concatenate(counts)
