"""How good a model is, from scores (simulation, or a site for its own eyes) or from released counts.

``cells`` says what a site counts and in which order; ``auroc`` and ``operating_point`` turn counts or
scores into numbers with intervals; ``estimate`` holds the number and the interval arithmetic.

Not here: which patients are held out and which of their images is scored (the catalogue), the noise
(the site adds it), what the counts cost (the ledger).

Privacy: everything that takes ``counts_KB`` reads only the released, noised sum over the sites and is
post-processing: it costs nothing more. Everything named ``exact`` reads single scores; its results are
not private and leave a site in the simulation only.
"""

from wardround_common.evaluation.auroc import (
    RocCurve,
    auroc_difference,
    auroc_exact,
    auroc_released,
    roc_exact,
    roc_released,
)
from wardround_common.evaluation.cells import CELL_LEVELS, cells, histogram, pack, unpack
from wardround_common.evaluation.estimate import Estimate, proportion, unknown
from wardround_common.evaluation.operating_point import (
    OperatingPoint,
    operating_point,
    operating_point_exact,
)

__all__ = [
    "CELL_LEVELS",
    "Estimate",
    "OperatingPoint",
    "RocCurve",
    "auroc_difference",
    "auroc_exact",
    "auroc_released",
    "cells",
    "histogram",
    "operating_point",
    "operating_point_exact",
    "pack",
    "proportion",
    "roc_exact",
    "roc_released",
    "unknown",
    "unpack",
]
