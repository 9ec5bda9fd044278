"""The report of a study: its data, the page, the model card and the model file.

`model` is the data, `words`, `formats` and `charts` say and draw it, `page` and `card` lay it out, `write`
puts it on disk.

Not here: any computing on patients' data; the coordinator has none.

Privacy: shows released numbers; exact ones only where a simulation played all hospitals, marked as such.
"""

from wardround_server.report.model import (
    ContactSheet,
    Evaluation,
    LearningCurve,
    ModelResult,
    Privacy,
    Protection,
    ReleasedCounts,
    Report,
    Reproducibility,
    RoundEpsilon,
    RoundReport,
    SiteData,
    SiteEvaluation,
    SitePrivacy,
    Traffic,
)
from wardround_server.report.write import write_model, write_model_card, write_report

__all__ = [
    "ContactSheet",
    "Evaluation",
    "LearningCurve",
    "ModelResult",
    "Privacy",
    "Protection",
    "ReleasedCounts",
    "Report",
    "Reproducibility",
    "RoundEpsilon",
    "RoundReport",
    "SiteData",
    "SiteEvaluation",
    "SitePrivacy",
    "Traffic",
    "write_model",
    "write_model_card",
    "write_report",
]
