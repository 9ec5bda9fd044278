"""What the model card of a generator says: above all that its images are not those of patients.

Privacy: repeats numbers of the report; exact ones are named as such.
"""

from __future__ import annotations

from typing import Final

from wardround_server.report.formats import count, rate
from wardround_server.report.model import Report
from wardround_server.report.tasks.generation import words
from wardround_server.report.tasks.generation.results import results_of
from wardround_server.report.tasks.generic import size_in_words
from wardround_server.report.tasks.interface import CardParts, Measure

_ROWS: Final = {
    "train_synthetic_test_real": "synthetic images (exact; simulation only, not private)",
    "train_real_test_real": "real images, without privacy (simulation only)",
    "class_mean_baseline": "class means with noise on each pixel, no privacy (simulation only)",
    "without_privacy": "synthetic images of a generator trained without privacy (simulation only)",
}


def card_parts(report: Report) -> CardParts:
    """Task, results, intended use, what the guarantee covers, and limits."""
    return CardParts(
        pipeline="unconditional-image-generation",
        tags=("synthetic-images", "class-conditional"),
        metrics=("roc_auc",) if results_of(report).train_synthetic_test_real else (),
        measures=_measures(report),
        notes=(words.MARKED,),
        uses=_uses(report),
        columns=("a classifier trained on", "AUROC on real patients (95 % interval)", "patients"),
        rows=_rows(report),
        privacy=_privacy(report),
        limits=(
            "Synthetic images show what is common in the training images; a rare finding may be missing or "
            "wrong in all of them.",
            "A classifier trained on them must be tried on real patients before anything is said of it.",
        ),
    )


def _privacy(report: Report) -> tuple[str, ...]:
    """The task's promises, and what they cover; nothing where no cost was recorded."""
    promises = report.plan.task.promises(report.plan)
    return (*promises, words.COVERED, words.NOT_COVERED) if report.privacy.sites else ()


def _uses(report: Report) -> tuple[str, ...]:
    plan = report.plan
    labels = ", ".join(f"'{label}'" for label in plan.labels)
    return (
        f"Research: training data, teaching and trying out of programs for {plan.input.modality} images like "
        f"those of the sites. Not for diagnosis, not as evidence about any patient, not to replace real test "
        f"patients.",
        f"Input: one of {count(len(plan.labels))} labels ({labels}) and random numbers.",
        f"Output: a synthetic image, {size_in_words(report)}.",
    )


def _measures(report: Report) -> tuple[Measure, ...]:
    judged = results_of(report).train_synthetic_test_real
    if judged is None or not judged.auroc.known:
        return ()
    return (
        Measure(
            metric="roc_auc",
            value=rate(judged.auroc.value),
            name="AUROC, trained on synthetic, tested on real images (exact, simulation only, not private)",
            dataset=results_of(report).tested_on or "held-out patients of all sites",
        ),
    )


def _rows(report: Report) -> tuple[tuple[str, ...], ...]:
    made = results_of(report)
    found = [(label, getattr(made, name)) for name, label in _ROWS.items()]
    found += [(f"{_ROWS[name]}; public test set", made.external.get(name)) for name in _ROWS]
    return tuple(
        (label, words.known(judged), words.tested(judged)) for label, judged in found if judged is not None
    )
