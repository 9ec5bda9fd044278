"""How good generated images are: everything that a simulation can say about them, from arrays alone.

Three classifiers are trained, on samples (train synthetic, test real: TSTR), on real images (train real, test
real: TRTR), and on the class-mean baseline, and tried on patients that none of them saw. TSTR near TRTR: the
samples teach what the images teach. TSTR not above the baseline: they teach no more than a mean and its
noise.

Not here: files, pictures, the report.

Privacy: every figure is exact, from the images of all sites together: simulation only.

References: Esteban, Hyland and Raetsch 2017, section 4.2 (TSTR).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wardround_common.evaluation import Estimate
from wardround_common.streams import Stream, derive
from wardround_simulations.tasks.generation.class_mean import class_mean_images
from wardround_simulations.tasks.generation.classifier import DEFAULT, Classifier, Recipe, train_classifier
from wardround_simulations.tasks.generation.distances import Diversity, Nearest, diversity, nearest
from wardround_simulations.tasks.generation.judging import Judged, agreement, judge
from wardround_simulations.tasks.generation.labelled import Labelled

SYNTHETIC = "train_synthetic_test_real"
REAL = "train_real_test_real"
BASELINE = "class_mean_baseline"


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """What was measured.

    Attributes:
        train_synthetic_test_real: TSTR on the held-out patients.
        train_real_test_real: TRTR on them.
        class_mean_baseline: The class-mean baseline on them.
        external: The same three by these names, on a public test set; empty without one.
        agreement: By label, the share of samples to which the TRTR classifier gives their label.
        diversity: By label, the mean distance of two images.
        nearest: Distances to the nearest training and held-out image; None without either.
    """

    train_synthetic_test_real: Judged
    train_real_test_real: Judged
    class_mean_baseline: Judged
    external: Mapping[str, Judged]
    agreement: Mapping[str, Estimate]
    diversity: Mapping[str, Diversity]
    nearest: Nearest | None


def measure(
    samples: Labelled,
    *,
    train: Labelled,
    held_out: Labelled,
    labels: Sequence[str],
    secret: bytes,
    external: Labelled | None = None,
    recipe: Recipe = DEFAULT,
) -> Quality:
    """Measure samples.

    Args:
        samples: Generated images; as many as the training images make the comparison fair.
        train: The images that the generator was trained on, of all sites.
        held_out: One image of each test patient of all sites.
        labels: Names of the classes.
        secret: 32 bytes; everything random follows from it.
        external: One image of each patient of a public test set.
        recipe: How the three classifiers are trained.

    Raises:
        WardroundError: Training diverged (``evaluation.bad_scores``).
    """
    trained_on = {
        SYNTHETIC: samples,
        REAL: train,
        BASELINE: class_mean_images(train, samples, Stream(derive(secret, "class mean"))),
    }
    classifiers = {
        name: train_classifier(data, classes=len(labels), secret=derive(secret, name), recipe=recipe)
        for name, data in trained_on.items()
    }
    judged = _judge_all(classifiers, held_out, secret=derive(secret, "held out"))
    return Quality(
        train_synthetic_test_real=judged[SYNTHETIC],
        train_real_test_real=judged[REAL],
        class_mean_baseline=judged[BASELINE],
        external={}
        if external is None
        else _judge_all(classifiers, external, secret=derive(secret, "external")),
        agreement=agreement(samples, classifiers[REAL], labels=labels),
        diversity=diversity(samples, train, labels=labels, stream=Stream(derive(secret, "diversity"))),
        nearest=nearest(samples, train=train, held_out=held_out, stream=Stream(derive(secret, "nearest"))),
    )


def _judge_all(classifiers: Mapping[str, Classifier], test: Labelled, *, secret: bytes) -> dict[str, Judged]:
    return {
        name: judge(classifier, test, stream=Stream(derive(secret, name)))
        for name, classifier in classifiers.items()
    }
