"""What the evaluation of a classification gave: the compared models on one or two sets of test patients.

Not here: how it is written in words (``words``), drawn (``forest``, ``roc``, ``histogram``) or laid out
(``section``).

Privacy: a field marked *simulation only* holds results computed from single patients' scores or from exact
counts; `ClassificationResults.exact` names the ones that are filled.
"""

from __future__ import annotations

from msgspec import Struct

from wardround_common.evaluation import Estimate, OperatingPoint, RocCurve
from wardround_server.report.model import Report, Results

RELEASED = ("tested_on", "federated_released", "released_counts")
"""Fields of an `Evaluation` that a deployment has."""


class ModelResult(Struct, frozen=True, kw_only=True):
    """How one model did on one set of test patients."""

    auroc: Estimate
    positives: float
    """Test patients of the positive class (noised where the counts are)."""
    negatives: float
    """Test patients of the other class (noised where the counts are)."""
    roc: RocCurve | None = None
    operating_point: OperatingPoint | None = None


class ReleasedCounts(Struct, frozen=True, kw_only=True):
    """The sum over the sites of the noised counts: rows are classes, columns bins by rising score."""

    edges: tuple[float, ...]
    validation: tuple[tuple[float, ...], ...]
    test: tuple[tuple[float, ...], ...]
    noise_sd_cell: float
    """Standard deviation of the noise on each cell of the sum, patients."""


class SiteEvaluation(Struct, frozen=True, kw_only=True):
    """The five models on one site's own test patients. Simulation only."""

    federated: ModelResult | None = None
    federated_without_privacy: ModelResult | None = None
    pooled: ModelResult | None = None
    local: ModelResult | None = None
    local_private: ModelResult | None = None


class Evaluation(Struct, frozen=True, kw_only=True):
    """All models on one set of test patients. All but ``federated_released`` is simulation only."""

    tested_on: str = ""
    """Who was tested, in words: "the held-out patients of all sites"."""
    federated_released: ModelResult | None = None
    """The federated model with privacy, from released counts."""
    released_counts: ReleasedCounts | None = None
    federated: ModelResult | None = None
    """Trained together, with privacy."""
    federated_without_privacy: ModelResult | None = None
    pooled: ModelResult | None = None
    """All scans in one place, no privacy."""
    local: dict[str, ModelResult] = {}
    """By site: alone, without privacy."""
    local_private: dict[str, ModelResult] = {}
    """By site: alone, with the same privacy."""
    gain: dict[str, Estimate] = {}
    """By site: AUROC of ``federated`` minus that of ``local_private``, paired on the same patients."""
    by_site: dict[str, SiteEvaluation] = {}


class ClassificationResults(Results, frozen=True, kw_only=True):
    """The models on held-out patients of the sites, and on a public test set."""

    evaluation: Evaluation = Evaluation()
    external: Evaluation | None = None
    """The same models on a further, public test set. Simulation only."""

    @property
    def exact(self) -> tuple[str, ...]:
        """Names of the filled fields that only a simulation may fill."""
        names = [name for name in Evaluation.__struct_fields__ if name not in RELEASED]
        filled = [f"evaluation.{name}" for name in names if getattr(self.evaluation, name)]
        return (*filled, *(["external"] if self.external is not None else []))

    @property
    def headline(self) -> ModelResult | None:
        """The federated model with privacy: exact in a simulation, else as released."""
        return self.evaluation.federated or self.evaluation.federated_released


def results_of(report: Report) -> ClassificationResults:
    """The report's results where they are those of a classification, else empty ones."""
    return report.results if isinstance(report.results, ClassificationResults) else ClassificationResults()
