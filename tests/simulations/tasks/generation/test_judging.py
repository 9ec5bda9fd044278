import numpy as np
import pytest

from wardround_common.evaluation import auroc_exact, proportion, unknown
from wardround_simulations.tasks.generation import judging
from wardround_simulations.tasks.generation.classifier import Recipe, train_classifier
from wardround_simulations.tasks.generation.judging import agreement, judge, macro_auroc
from wardround_simulations.tasks.generation.labelled import Labelled


def scores_of(label_N, classes, seed=0, signal=1.0):
    """Noise plus ``signal`` on the right class."""
    score_NK = np.random.default_rng(seed).standard_normal((len(label_N), classes))
    score_NK[np.arange(len(label_N)), label_N] += signal
    return score_NK


def test_two_classes_have_the_exact_auroc_and_interval_of_class_1(images, stream):
    test = images(100, 0)
    score_NK = scores_of(test.label_N, 2)
    judged = judge(lambda images_NCHW: score_NK, test, stream=stream())
    assert judged.auroc == auroc_exact(score_NK[:, 1], test.label_N)
    assert (judged.positives, judged.negatives) == (50, 50)


def test_several_classes_have_the_mean_of_one_against_the_rest(images, stream):
    test = images(120, 0, classes=3)
    score_NK = np.round(scores_of(test.label_N, 3), 1)  # with ties
    judged = judge(lambda images_NCHW: score_NK, test, stream=stream())
    single = [auroc_exact(score_NK[:, k], test.label_N == k) for k in range(3)]
    assert judged.auroc.value == pytest.approx(np.mean([estimate.value for estimate in single]))
    assert judged.auroc.low < judged.auroc.value < judged.auroc.high
    assert (judged.positives, judged.negatives) == (80, 40)


def test_the_bootstraps_interval_agrees_with_delongs_where_both_apply(stream):
    label_N = np.arange(300) % 2
    score_N = scores_of(label_N, 2)[:, 1]
    macro = macro_auroc(np.stack([-score_N, score_N], axis=1), label_N, stream=stream())
    exact = auroc_exact(score_N, label_N)
    assert macro.value == pytest.approx(exact.value)
    assert (macro.low, macro.high) == pytest.approx((exact.low, exact.high), abs=0.01)


def test_the_bootstraps_interval_is_about_as_wide_as_the_estimates_scatter(stream):
    label_N = np.arange(150) % 3
    estimates = [macro_auroc(scores_of(label_N, 3, seed), label_N, stream=stream(seed)) for seed in range(60)]
    scatter = np.std([estimate.value for estimate in estimates])
    width = np.mean([estimate.high - estimate.low for estimate in estimates])
    assert width == pytest.approx(2 * 1.96 * scatter, rel=0.3)


def test_a_resample_of_everybody_once_has_the_exact_auroc_ties_counting_one_half():
    label_N = np.arange(40) % 2
    score_N = np.round(scores_of(label_N, 2)[:, 1])
    drawn_N = np.random.default_rng(1).integers(0, 40, 40)
    weight_RN = np.stack([np.ones(40), np.bincount(drawn_N, minlength=40)])
    once, resampled = judging._aurocs(score_N, label_N == 1, weight_RN)
    assert once == pytest.approx(auroc_exact(score_N, label_N).value)
    assert resampled == pytest.approx(auroc_exact(score_N[drawn_N], label_N[drawn_N]).value)


def test_the_same_stream_gives_the_same_interval(stream):
    label_N = np.arange(60) % 3
    score_NK = scores_of(label_N, 3)
    one, same = (macro_auroc(score_NK, label_N, stream=stream("a")) for _ in range(2))
    assert one == same
    assert one != macro_auroc(score_NK, label_N, stream=stream("b"))


def test_perfect_separation_keeps_an_interval(stream):
    label_N = np.arange(30) % 3
    estimate = macro_auroc(np.eye(3)[label_N], label_N, stream=stream())
    assert estimate.value == estimate.high == 1
    assert 0.5 < estimate.low < 1


def test_classes_without_patients_are_left_out_and_one_class_says_nothing(stream):
    label_N = np.array([0, 1] * 20)
    score_NK = scores_of(label_N, 3)
    single = [auroc_exact(score_NK[:, k], label_N == k).value for k in range(2)]
    assert macro_auroc(score_NK, label_N, stream=stream()).value == pytest.approx(np.mean(single))
    assert macro_auroc(score_NK, label_N * 0, stream=stream()) == unknown()


def test_agreement_falls_by_as_much_as_labels_are_wrong(images, secret):
    classifier = train_classifier(
        images(240, 0, contrast=0.4), classes=2, secret=secret, recipe=Recipe(steps=60)
    )
    samples = images(200, 1, contrast=0.4)
    right = agreement(samples, classifier, labels=("clear", "bar", "absent"))
    assert set(right) == {"clear", "bar"}
    assert all(estimate.value > 0.95 for estimate in right.values())
    wrong_N = np.where((samples.label_N == 1) & (np.arange(200) < 50), 0, samples.label_N)
    wrong = agreement(
        Labelled(images_NCHW=samples.images_NCHW, label_N=wrong_N), classifier, labels=("clear", "bar")
    )
    assert wrong["clear"].value == pytest.approx(0.8, abs=0.05)
    assert wrong["bar"].value > 0.95


def test_agreement_has_wilsons_interval(images, secret):
    samples = images(20, 1)
    classifier = train_classifier(images(20, 0), classes=2, secret=secret, recipe=Recipe(steps=1))
    agrees = int((classifier.decide(samples.images_NCHW) == samples.label_N)[::2].sum())
    assert agreement(samples, classifier, labels=("a", "b"))["a"] == proportion(agrees, 10 - agrees)
