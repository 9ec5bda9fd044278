import numpy as np
import pytest

from wardround_simulations.tasks.generation.class_mean import class_mean_images
from wardround_simulations.tasks.generation.classifier import Recipe
from wardround_simulations.tasks.generation.labelled import Labelled
from wardround_simulations.tasks.generation.quality import BASELINE, REAL, SYNTHETIC, measure

SHORT = Recipe(steps=100)
LABELS = ("clear", "bar")


@pytest.fixture
def measured(images, secret):
    """Measures samples against the same real images."""
    train, held_out = images(400, 1), images(200, 2)

    def run(samples, **changes):
        arguments = {"train": train, "held_out": held_out, "labels": LABELS, "secret": secret}
        return measure(samples, **arguments | {"recipe": SHORT} | changes)

    return run


def test_real_images_in_the_place_of_samples_teach_what_real_images_teach(images, measured):
    quality = measured(images(400, 3))
    synthetic, real = quality.train_synthetic_test_real.auroc, quality.train_real_test_real.auroc
    assert real.value > 0.9
    assert synthetic.value == pytest.approx(real.value, abs=0.05)
    assert quality.class_mean_baseline.auroc.value < real.value - 0.05
    assert all(share.value > 0.8 for share in quality.agreement.values())
    assert quality.nearest.nearer_to_train.low < 0.5 < quality.nearest.nearer_to_train.high


def test_samples_with_shuffled_labels_teach_nothing(images, measured):
    samples = images(400, 3)
    shuffled_N = np.random.default_rng(0).permutation(samples.label_N)
    quality = measured(Labelled(images_NCHW=samples.images_NCHW, label_N=shuffled_N))
    assert quality.train_synthetic_test_real.auroc.value == pytest.approx(0.5, abs=0.15)
    assert all(share.value == pytest.approx(0.5, abs=0.15) for share in quality.agreement.values())


def test_three_classes_and_an_external_set_are_measured_alike(images, measured):
    quality = measured(
        images(90, 3, classes=3),
        train=images(90, 1, classes=3),
        held_out=images(60, 2, classes=3),
        external=images(45, 4, classes=3),
        labels=("clear", "across", "down"),
        recipe=Recipe(steps=10),
    )
    assert set(quality.external) == {SYNTHETIC, REAL, BASELINE}
    assert quality.external[REAL].positives == 30
    assert set(quality.agreement) == set(quality.diversity) == {"clear", "across", "down"}


def test_the_same_secret_gives_the_same_figures(images, measured, secret):
    one, same = (measured(images(40, 3), recipe=Recipe(steps=5)) for _ in range(2))
    assert one == same
    assert one != measured(images(40, 3), recipe=Recipe(steps=5), secret=secret[::-1])


def test_the_baseline_has_each_classs_mean_and_deviation_and_nothing_else(images, stream):
    real = images(200, 0, contrast=0.3)
    drawn = class_mean_images(real, images(2000, 1), stream())
    assert drawn.label_N.tolist() == images(2000, 1).label_N.tolist()
    assert drawn.images_NCHW.dtype == np.float32
    assert 0 <= drawn.images_NCHW.min() <= drawn.images_NCHW.max() <= 1
    for label in (0, 1):
        assert drawn.of_class(label).mean(axis=0) == pytest.approx(
            real.of_class(label).mean(axis=0), abs=0.03
        )
        assert drawn.of_class(label).std(axis=0) == pytest.approx(real.of_class(label).std(axis=0), abs=0.03)
    neighbours = np.corrcoef(drawn.of_class(1)[:, 0, 7, 7], drawn.of_class(1)[:, 0, 7, 8])[0, 1]
    assert abs(neighbours) < 0.1


def test_the_baseline_leaves_out_classes_that_no_training_image_shows(images, stream):
    drawn = class_mean_images(images(20, 0), images(30, 1, classes=3), stream())
    assert drawn.counts(3).tolist() == [10, 10, 0]
