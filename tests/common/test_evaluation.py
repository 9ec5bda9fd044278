"""Metrics from scores and from released counts, against naive oracles and repeated experiments."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardround_common.errors import ProtocolError, WardroundError
from wardround_common.evaluation import (
    CELL_LEVELS,
    Estimate,
    auroc_difference,
    auroc_exact,
    auroc_released,
    histogram,
    operating_point,
    operating_point_exact,
    pack,
    proportion,
    roc_exact,
    roc_released,
    unpack,
)
from wardround_common.evaluation.auroc import delong
from wardround_common.evaluation.estimate import Z_95

EDGES = (0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95)
KINDS = {"weak": (0.5, 0.7), "middling": (1.5, 1.2), "piled": (3.3, 4.0)}
"""Distance of the class means in standard deviations, and steepness of the score."""


def drawn(rng, kind, positives, negatives):
    """Scores and labels of a binormal classifier; ``piled`` has AUROC .99 and scores near 0 and 1."""
    distance, steepness = KINDS[kind]
    latent = np.concatenate([rng.normal(-distance / 2, 1, negatives), rng.normal(distance / 2, 1, positives)])
    return 1 / (1 + np.exp(-steepness * latent)), np.repeat([0, 1], [negatives, positives])


def naive_auroc(scores, labels):
    pairs = [(p > n) + (p == n) / 2 for p in scores[labels == 1] for n in scores[labels == 0]]
    return sum(pairs) / len(pairs)


def within_bins(counts_KB):
    share_KB = counts_KB / counts_KB.sum(axis=1, keepdims=True)
    return (share_KB[0] * share_KB[1]).sum() / 2


scores_and_labels = st.lists(
    st.tuples(st.integers(0, 20), st.integers(0, 1)), min_size=2, max_size=40
).filter(lambda rows: len({label for _, label in rows}) == 2)


@given(scores_and_labels)
def test_auroc_equals_the_count_over_all_pairs(rows):
    scores, labels = np.array([s / 20 for s, _ in rows]), np.array([c for _, c in rows])
    estimate = auroc_exact(scores, labels)
    assert estimate.value == pytest.approx(naive_auroc(scores, labels))
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


@given(scores_and_labels)
def test_area_under_the_drawn_curve_is_the_auroc(rows):
    scores, labels = np.array([s / 20 for s, _ in rows]), np.array([c for _, c in rows])
    curve = roc_exact(scores, labels)
    area = np.trapezoid(curve.true_positive_rate, curve.false_positive_rate)
    assert area == pytest.approx(naive_auroc(scores, labels), abs=1e-4)


def test_long_curve_is_thinned_without_losing_area():
    scores, labels = drawn(np.random.default_rng(0), "middling", 3000, 3000)
    curve = roc_exact(scores, labels)
    assert len(curve.true_positive_rate) <= 170
    area = np.trapezoid(curve.true_positive_rate, curve.false_positive_rate)
    assert area == pytest.approx(auroc_exact(scores, labels).value, abs=2e-3)


def test_auroc_of_counts_without_noise_is_that_of_the_binned_scores():
    scores, labels = drawn(np.random.default_rng(1), "middling", 60, 90)
    binned = np.searchsorted(EDGES, scores, side="right")
    estimate = auroc_released(histogram(scores, labels, EDGES).astype(float), 0.0)
    assert estimate.value == pytest.approx(naive_auroc(binned, labels))
    assert estimate.noise_sd == 0.0


def test_delong_sd_agrees_with_the_bootstrap():
    rng = np.random.default_rng(2)
    scores, labels = drawn(rng, "middling", 150, 250)
    _, variance = delong(scores, labels)
    positive, negative = scores[labels == 1], scores[labels == 0]
    replicates = [
        delong(np.concatenate([rng.choice(negative, 250), rng.choice(positive, 150)]), labels)[0]
        for _ in range(1500)
    ]
    assert math.sqrt(variance) == pytest.approx(np.std(replicates), rel=0.1)


def test_paired_difference_agrees_with_the_bootstrap():
    rng = np.random.default_rng(3)
    scores, labels = drawn(rng, "middling", 120, 180)
    other = np.clip(scores + rng.normal(0, 0.15, scores.size), 0, 1)
    difference = auroc_difference(scores, other, labels)
    rows = [np.concatenate([rng.integers(0, 180, 180), 180 + rng.integers(0, 120, 120)]) for _ in range(1500)]
    replicates = [delong(scores[r], labels[r])[0] - delong(other[r], labels[r])[0] for r in rows]
    assert difference.value == pytest.approx(
        auroc_exact(scores, labels).value - auroc_exact(other, labels).value
    )
    assert (difference.high - difference.low) / 2 / Z_95 == pytest.approx(np.std(replicates), rel=0.15)


def test_difference_of_a_model_with_itself_is_nothing():
    scores, labels = drawn(np.random.default_rng(4), "weak", 20, 30)
    assert auroc_difference(scores, scores, labels) == Estimate(0.0, 0.0, 0.0)


def test_wilson_interval_is_the_textbook_one():
    estimate = proportion(45, 5)
    assert (estimate.low, estimate.high) == pytest.approx((0.7864, 0.9565), abs=1e-4)
    assert proportion(20, 0).low == pytest.approx(20 / (20 + Z_95**2))


def test_histogram_puts_a_score_on_an_edge_into_the_bin_above():
    counts = histogram([0.0, 0.5, 0.49, 1.0], [0, 0, 1, 1], (0.5,))
    assert counts.tolist() == [[1, 1], [1, 1]]


def test_counts_survive_the_way_through_the_ring(plan):
    rng = np.random.default_rng(5)
    validation, test = rng.integers(0, 50, (2, 2, 8))
    back = unpack(pack(validation, test), plan.task.bin_edges)
    assert np.array_equal(back[0], validation)
    assert np.array_equal(back[1], test)
    assert CELL_LEVELS == 64


def test_sum_of_another_length_is_refused(plan):
    with pytest.raises(ProtocolError, match="expected 32 cells"):
        unpack(np.zeros(31, dtype=np.int64), plan.task.bin_edges)


@pytest.mark.parametrize(
    ("scores", "labels"), [([0.1, math.nan], [0, 1]), ([0.1], [0, 1]), ([0.1, 0.2], [0, 2])]
)
def test_scores_that_do_not_fit_are_refused_without_showing_them(scores, labels):
    with pytest.raises(WardroundError) as caught:
        auroc_exact(scores, labels)
    assert caught.value.code == "evaluation.bad_scores"
    assert "0.1" not in caught.value.message


@pytest.mark.parametrize("labels", [[], [1, 1, 1], [0, 0]])
def test_empty_class_gives_the_widest_interval(labels):
    scores = np.linspace(0.2, 0.8, len(labels))
    assert auroc_exact(scores, labels) == Estimate(0.5, 0.0, 1.0)
    assert not auroc_released(histogram(scores, labels, EDGES).astype(float), 1.0).known


@pytest.mark.parametrize("counts", [np.full((2, 8), -3.0), np.zeros((2, 8)), np.eye(2, 8) * 1e-9])
def test_counts_that_drown_give_the_widest_interval_and_never_nan(counts):
    assert auroc_released(counts, 2.0) == Estimate(0.5, 0.0, 1.0, 0.5)
    point = operating_point(counts, counts, edges=EDGES, specificity=0.9, noise_sd_cell=2.0)
    for metric in (point.sensitivity, point.specificity, point.accuracy, point.precision, point.f1):
        assert (metric.low, metric.high) == (0.0, 1.0)
    curve = roc_released(counts)
    assert np.isfinite(curve.true_positive_rate + curve.false_positive_rate).all()


def test_perfect_separation_keeps_an_interval():
    estimate = auroc_exact([0.1] * 20 + [0.9] * 20, [0] * 20 + [1] * 20)
    assert estimate.value == estimate.high == 1.0
    assert 0.8 < estimate.low < 0.97


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.7, 4.0, 40.0]))
def test_released_estimates_are_always_ordered_and_finite(seed, noise_sd):
    rng = np.random.default_rng(seed)
    validation, test = rng.poisson(rng.exponential(20, (2, 2, 8))) + rng.normal(0, noise_sd, (2, 2, 8))
    point = operating_point(validation, test, edges=EDGES, specificity=0.9, noise_sd_cell=noise_sd)
    estimates = [auroc_released(test, noise_sd), point.sensitivity, point.specificity, point.precision]
    for estimate in [*estimates, point.accuracy, point.f1]:
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
        assert 0 <= estimate.noise_sd <= 0.5
    curve = roc_released(test)
    assert np.all(np.diff(curve.true_positive_rate) >= 0)
    assert curve.true_positive_rate[-1] == pytest.approx(1)


def test_threshold_is_the_lowest_edge_that_reaches_the_specificity():
    validation = np.array([[80, 10, 5, 5, 0, 0, 0, 0], [0, 0, 0, 5, 5, 10, 10, 10]], dtype=float)
    test = np.array([[85, 9, 3, 3, 0, 0, 0, 0], [1, 1, 0, 3, 5, 10, 10, 10]], dtype=float)
    point = operating_point(validation, test, edges=EDGES, specificity=0.9, noise_sd_cell=0.0)
    assert (point.threshold, point.reached) == (0.15, True)
    assert point.sensitivity.value == point.recall.value == pytest.approx(38 / 40)
    assert point.specificity.value == pytest.approx(94 / 100)
    assert point.accuracy.value == pytest.approx(132 / 140)
    assert point.precision.value == pytest.approx(38 / 44)
    assert point.f1.value == pytest.approx(76 / (76 + 6 + 2))


def test_unreachable_specificity_is_said():
    counts = np.array([[0, 0, 0, 0, 0, 0, 0, 50], [0, 0, 0, 0, 0, 0, 0, 50]], dtype=float)
    point = operating_point(counts, counts, edges=EDGES, specificity=0.9, noise_sd_cell=0.0)
    assert (point.threshold, point.reached) == (0.95, False)


def test_exact_threshold_is_chosen_on_validation_and_judged_on_test():
    validation_scores = np.concatenate([np.arange(10) / 20, [0.7, 0.9]])
    validation_labels = np.array([0] * 10 + [1] * 2)
    point = operating_point_exact(
        validation_scores, validation_labels, [0.2, 0.44, 0.43, 0.8], [0, 0, 1, 1], specificity=0.9
    )
    assert point.threshold == pytest.approx(0.425)
    assert point.sensitivity.value == 1.0
    assert point.specificity.value == 0.5
    assert (point.positives, point.negatives) == (2, 2)


def test_exact_operating_point_bears_empty_classes():
    point = operating_point_exact([0.3], [1], [], [], specificity=0.9)
    assert (point.threshold, point.reached) == (1.0, False)
    assert not point.sensitivity.known


def test_a_specificity_of_one_lets_no_validation_negative_through():
    point = operating_point_exact([1.0, 0.2], [0, 1], [1.0, 1.0], [0, 1], specificity=1.0)
    assert point.specificity.value == 1.0


@pytest.mark.statistical
@pytest.mark.parametrize("noise_sd", [1.0, 3.0, 7.0])
@pytest.mark.parametrize(("positives", "negatives"), [(40, 40), (40, 200), (400, 400)])
@pytest.mark.parametrize("kind", KINDS)
def test_released_auroc_lies_within_two_sd_in_19_of_20_seeds(kind, positives, negatives, noise_sd):
    rng = np.random.default_rng([positives, negatives, int(noise_sd), len(kind)])
    inside = []
    for _ in range(20):
        scores, labels = drawn(rng, kind, positives, negatives)
        exact, counts = auroc_exact(scores, labels).value, histogram(scores, labels, EDGES)
        for _ in range(50):
            released = auroc_released(counts + rng.normal(0, noise_sd, counts.shape), noise_sd)
            sd = math.hypot(released.noise_sd, within_bins(counts))
            inside.append(abs(released.value - exact) <= 2 * sd)
    assert np.mean(inside) >= 0.95


@pytest.mark.statistical
@pytest.mark.parametrize(("noise_sd", "size"), [(1.0, 400), (3.0, 1000), (7.0, 2000)])
def test_noise_sd_is_the_spread_that_the_noise_causes(noise_sd, size):
    rng = np.random.default_rng(7)
    counts = histogram(*drawn(rng, "middling", size, size), EDGES)
    released = [auroc_released(counts + rng.normal(0, noise_sd, counts.shape), noise_sd) for _ in range(500)]
    spread = np.std([r.value for r in released])
    stated = np.mean([r.noise_sd for r in released])
    assert spread * 0.93 < stated < spread * 1.2


@pytest.mark.statistical
@pytest.mark.parametrize("noise_sd", [0.0, 2.0, 5.0])
@pytest.mark.parametrize("kind", KINDS)
def test_released_interval_holds_the_true_auroc(kind, noise_sd):
    rng = np.random.default_rng(8)
    truth = auroc_exact(*drawn(rng, kind, 20_000, 20_000)).value
    held = []
    for _ in range(600):
        counts = histogram(*drawn(rng, kind, 80, 120), EDGES)
        released = auroc_released(counts + rng.normal(0, noise_sd, counts.shape), noise_sd)
        held.append(released.low <= truth <= released.high)
    assert np.mean(held) >= 0.94


@pytest.mark.statistical
@pytest.mark.parametrize("kind", KINDS)
def test_exact_interval_holds_the_true_auroc(kind):
    rng = np.random.default_rng(9)
    truth = auroc_exact(*drawn(rng, kind, 20_000, 20_000)).value
    estimates = [auroc_exact(*drawn(rng, kind, 60, 90)) for _ in range(800)]
    assert np.mean([e.low <= truth <= e.high for e in estimates]) >= 0.925


@pytest.mark.statistical
@pytest.mark.parametrize("metric", ["sensitivity", "specificity", "accuracy", "precision", "f1"])
def test_released_metrics_hold_their_true_values(metric):
    rng = np.random.default_rng(10)
    index, held = EDGES.index(0.7), []
    share_KB = np.array([histogram(*drawn(rng, "middling", 1, 200_000), EDGES)[0], [0] * 8], dtype=float)
    share_KB[1] = histogram(*drawn(rng, "middling", 200_000, 1), EDGES)[1]
    share_KB /= share_KB.sum(axis=1, keepdims=True)
    true = operating_point(share_KB * 1e6, share_KB * 1e6, edges=EDGES, specificity=0.9, noise_sd_cell=0.0)
    assert true.threshold == EDGES[index]
    for _ in range(500):
        exact = np.stack([rng.multinomial(100, share) for share in share_KB])
        noised = exact + rng.normal(0, 2.0, exact.shape)
        validation = share_KB * 1e6
        got = operating_point(validation, noised, edges=EDGES, specificity=0.9, noise_sd_cell=2.0)
        estimate = getattr(got, metric)
        held.append(estimate.low <= getattr(true, metric).value <= estimate.high)
    assert np.mean(held) >= 0.925
