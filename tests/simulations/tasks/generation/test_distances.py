import numpy as np
import pytest

from wardround_simulations.tasks.generation import distances
from wardround_simulations.tasks.generation.distances import diversity, nearest
from wardround_simulations.tasks.generation.labelled import Labelled, some

LABELS = ("clear", "bar")


def naive_distance(a, b):
    return float(np.sqrt(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)))


def joined(*parts):
    return Labelled(
        images_NCHW=np.concatenate([part.images_NCHW for part in parts]),
        label_N=np.concatenate([part.label_N for part in parts]),
    )


@pytest.mark.parametrize("block_values", [1, 16 * 16 * 3, 1 << 23])
def test_distances_are_those_of_a_plain_loop_whatever_the_blocks(images, stream, monkeypatch, block_values):
    samples, train, held_out = images(8, 0), images(14, 1), images(14, 2)
    at_once = nearest(samples, train=train, held_out=held_out, stream=stream())
    monkeypatch.setattr(distances, "_BLOCK_VALUES", block_values)
    result = nearest(samples, train=train, held_out=held_out, stream=stream())
    assert result.nearer_to_train == at_once.nearer_to_train
    to_train = [min(naive_distance(s, t) for t in train.images_NCHW) for s in samples.images_NCHW]
    to_held_out = [min(naive_distance(s, h) for h in held_out.images_NCHW) for s in samples.images_NCHW]
    assert result.to_train == pytest.approx(np.quantile(to_train, (0.25, 0.5, 0.75)))
    assert result.to_held_out == pytest.approx(np.quantile(to_held_out, (0.25, 0.5, 0.75)))
    assert result.nearer_to_train.value == np.mean(np.less(to_train, to_held_out))
    both = diversity(samples, train.at(np.arange(8)), labels=LABELS, stream=stream())
    pairs = [(i, j) for i in (0, 2, 4, 6) for j in (0, 2, 4, 6) if i < j]
    expected = np.mean([naive_distance(samples.images_NCHW[i], samples.images_NCHW[j]) for i, j in pairs])
    assert both["clear"].samples == pytest.approx(expected)


def test_new_images_are_as_near_to_held_out_as_to_training_images(images, stream):
    result = nearest(images(300, 0), train=images(400, 1), held_out=images(200, 2), stream=stream())
    assert result.nearer_to_train.low < 0.5 < result.nearer_to_train.high
    assert result.to_train == pytest.approx(result.to_held_out, rel=0.03)


def test_copies_of_training_images_are_found(images, stream):
    train, held_out = images(100, 1), images(100, 2)
    result = nearest(train, train=train, held_out=held_out, stream=stream())
    assert result.to_train[2] < 1e-6
    assert result.to_held_out[0] > 0.05
    assert result.nearer_to_train.low > 0.9


def test_copies_under_other_labels_and_with_a_little_noise_are_found_too(images, stream):
    train, held_out = images(100, 1), images(100, 2)
    noise = 0.02 * np.random.default_rng(3).standard_normal(train.images_NCHW.shape)
    copies = Labelled(images_NCHW=(train.images_NCHW + noise).astype(np.float32), label_N=1 - train.label_N)
    result = nearest(copies, train=train, held_out=held_out, stream=stream())
    assert result.nearer_to_train.low > 0.9


def test_copies_are_found_among_more_training_than_held_out_images(images, stream):
    train = images(300, 1)
    result = nearest(train, train=train, held_out=images(150, 2), stream=stream())
    assert result.nearer_to_train.low > 0.5


def test_more_training_images_alone_do_not_make_samples_nearer_to_them(images, stream):
    result = nearest(images(300, 0), train=images(900, 1), held_out=images(90, 2), stream=stream())
    assert result.nearer_to_train.low < 0.5 < result.nearer_to_train.high


def test_both_sides_get_the_same_number_of_every_class(images, stream):
    train, held_out = images(90, 1, classes=3), images(40, 2)
    one, other = distances._same_counts(train, held_out, stream())
    assert one.counts(3).tolist() == other.counts(3).tolist() == [20, 20, 0]
    assert len(np.unique(one.images_NCHW, axis=0)) == 40


def test_one_image_shown_many_times_counts_as_one_sample(images, stream):
    same = images(1, 0).at(np.zeros(200, np.int64))
    result = nearest(same, train=images(100, 1), held_out=images(100, 2), stream=stream())
    assert result.nearer_to_train.value in (0, 1)
    assert result.nearer_to_train.high - result.nearer_to_train.low > 0.7


def test_the_interval_holds_one_half_in_most_experiments_without_copying(images, stream):
    held = 0
    for seed in range(60):
        samples, train, held_out = (images(40, 3 * seed + part, noise=0.02) for part in range(3))
        share = nearest(samples, train=train, held_out=held_out, stream=stream(seed)).nearer_to_train
        held += share.low <= 0.5 <= share.high
    assert held >= 52


def test_nothing_to_compare_with_gives_nothing(images, stream):
    train = images(10, 0)
    none = train.at(np.empty(0, np.int64))
    assert nearest(train, train=train, held_out=none, stream=stream()) is None
    assert nearest(none, train=train, held_out=train, stream=stream()) is None


def test_a_collapsed_generator_has_no_diversity(images, stream):
    collapsed = images(2, 0).at(np.arange(60) % 2)
    table = diversity(collapsed, images(60, 1), labels=LABELS, stream=stream())
    for label in LABELS:
        assert table[label].samples < 1e-6
        assert table[label].real > 0.1


def test_real_images_are_as_diverse_as_others_of_their_kind(images, stream):
    table = diversity(images(200, 0), images(80, 1), labels=LABELS, stream=stream())
    for label in LABELS:
        assert table[label].samples == pytest.approx(table[label].real, rel=0.03)


def test_a_class_with_fewer_than_two_images_has_no_diversity(images, stream):
    few = joined(images(10, 0), images(2, 1)).at(np.array([0, 2, 4, 1]))
    assert set(diversity(few, images(20, 1), labels=LABELS, stream=stream())) == {"clear"}


def test_some_are_different_and_every_one_is_as_likely(stream):
    source, counts = stream(), np.zeros(10)
    for _ in range(1000):
        chosen = some(10, 3, source)
        assert len(set(chosen.tolist())) == 3
        counts[chosen] += 1
    assert counts == pytest.approx(300, abs=75)
