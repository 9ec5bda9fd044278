"""The model of a plan: its layout and the vector that the study starts from.

Not here: which models there are (the ``tasks``), how they compute (the site).

Privacy: public; no patient data is read.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wardround_common.canonical import digest, encode
from wardround_common.layout import Layout, initial_vector
from wardround_common.plan import StudyPlan


def layout_of(plan: StudyPlan) -> Layout:
    """The layout of the vector that the plan's TRAIN rounds sum.

    Raises:
        ConfigError: The task has no model of that name.
    """
    return plan.task.layout(plan)


def initial_vector_of(plan: StudyPlan) -> NDArray[np.float32]:
    """The global vector before the first round, from the plan's model name and seed alone.

    Raises:
        ConfigError: The task has no model of that name.
    """
    return initial_values_of(plan, layout_of(plan))


def initial_values_of(plan: StudyPlan, layout: Layout) -> NDArray[np.float32]:
    """The values with which tensors of the plan's model begin, whether they are shared or stay at a site."""
    return initial_vector(layout, digest("initial vector", encode(plan.model)))
