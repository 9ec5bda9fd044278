"""The report of a study: its data, the page, the model card and the model file.

`model` is the data that every task has, `words`, `formats` and `charts` say and draw it, `page` and `card`
lay it out, `write` puts it on disk, `release` the model and its plan. What one task alone has is in `tasks`.

Not here: any computing on patients' data; the coordinator has none.

Privacy: shows released numbers; exact ones only where a simulation played all hospitals, marked as such.
"""

from wardround_server.report.model import (
    ContactSheet,
    LearningCurve,
    Lifetime,
    Privacy,
    Protection,
    Report,
    Reproducibility,
    Results,
    RoundEpsilon,
    RoundReport,
    SiteData,
    SitePrivacy,
    StudySpend,
    Traffic,
)
from wardround_server.report.release import RELEASE_FILE, Release, read_release, write_release
from wardround_server.report.write import MODEL_FILE, write_model, write_model_card, write_report

__all__ = [
    "MODEL_FILE",
    "RELEASE_FILE",
    "ContactSheet",
    "LearningCurve",
    "Lifetime",
    "Privacy",
    "Protection",
    "Release",
    "Report",
    "Reproducibility",
    "Results",
    "RoundEpsilon",
    "RoundReport",
    "SiteData",
    "SitePrivacy",
    "StudySpend",
    "Traffic",
    "read_release",
    "write_model",
    "write_model_card",
    "write_release",
    "write_report",
]
