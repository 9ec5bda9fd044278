import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardround_client.privacy.sampler import PatientImages, choose_images, sample_patients
from wardround_common.streams import Stream, derive

SECRET = bytes(range(32))


def stream(step: int, purpose: str = "sample") -> Stream:
    return Stream(derive(SECRET, purpose, step))


def draws(patients: int, rate: float, steps: int) -> np.ndarray:
    """Rows are steps, columns patients: 1 where drawn."""
    drawn = np.zeros((steps, patients))
    for step in range(steps):
        drawn[step, sample_patients(stream(step), patients=patients, sample_rate=rate)] = 1
    return drawn


def test_a_patient_is_drawn_where_its_own_uniform_is_below_the_rate():
    uniform = stream(1).uniform(500)
    drawn = sample_patients(stream(1), patients=500, sample_rate=0.3)
    assert drawn.tolist() == [i for i in range(500) if uniform[i] < 0.3]
    assert drawn.dtype == np.int64


def test_every_patient_is_drawn_at_the_rate_and_pairs_are_independent():
    steps, rate = 2000, 0.2
    drawn = draws(12, rate, steps)
    assert np.abs(drawn.mean(axis=0) - rate).max() < 4 * np.sqrt(rate * (1 - rate) / steps)
    together = (drawn.T @ drawn) / steps
    pairs = together[np.triu_indices(12, k=1)]
    assert np.abs(pairs - rate**2).max() < 4 * np.sqrt(rate**2 * (1 - rate**2) / steps)


def test_the_same_check_sees_a_batch_of_constant_size():
    steps, rate = 2000, 0.25
    shuffled = np.zeros((steps, 12))
    for step in range(steps):
        shuffled[step, np.argsort(stream(step).uniform(12))[:3]] = 1
    pairs = ((shuffled.T @ shuffled) / steps)[np.triu_indices(12, k=1)]
    assert abs(pairs.mean() - rate**2) > 4 * np.sqrt(rate**2 * (1 - rate**2) / steps / pairs.size)


def test_the_batch_has_a_binomial_size_and_is_often_empty_for_half_a_patient_expected():
    sizes = draws(50, 0.01, 2000).sum(axis=1)
    assert abs((sizes == 0).mean() - 0.99**50) < 4 * np.sqrt(0.24 / 2000)
    assert abs(sizes.mean() - 0.5) < 4 * np.sqrt(0.5 / 2000)


def test_steps_are_independent_of_each_other():
    drawn = draws(2000, 0.5, 2)
    assert abs(np.corrcoef(drawn)[0, 1]) < 4 / np.sqrt(2000)


def test_rate_one_draws_everybody():
    assert sample_patients(stream(1), patients=7, sample_rate=1.0).tolist() == list(range(7))


def test_a_site_without_patients_draws_nobody():
    images = PatientImages.of(np.array([], dtype=np.int64), patients=0)
    drawn = sample_patients(stream(1), patients=0, sample_rate=0.5)
    assert choose_images(stream(1, "image"), drawn, images=images).size == 0


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.1, float("nan")])
def test_a_rate_that_is_no_probability_is_refused(rate):
    with pytest.raises(ValueError, match="sample rate"):
        sample_patients(stream(1), patients=3, sample_rate=rate)


@given(st.lists(st.integers(0, 5), max_size=30))
def test_rows_are_grouped_by_patient_whatever_their_order(rows):
    patient_N = np.array([*rows, *range(6)], dtype=np.int64)
    images = PatientImages.of(patient_N, patients=6)
    for patient in range(6):
        own = images.rows[images.starts[patient] : images.starts[patient + 1]]
        assert own.tolist() == np.flatnonzero(patient_N == patient).tolist()


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(0, 1000))
def test_each_drawn_patient_gives_exactly_one_image_of_its_own(rows, step):
    patient_N = np.array([*rows, *range(6)], dtype=np.int64)
    drawn = sample_patients(stream(step), patients=6, sample_rate=0.5)
    images = PatientImages.of(patient_N, patients=6)
    chosen = choose_images(stream(step, "image"), drawn, images=images)
    assert chosen.dtype == np.int64
    assert patient_N[chosen].tolist() == drawn.tolist()


def test_the_images_of_a_patient_are_equally_likely_whoever_has_more():
    patient_N = np.array([0] * 4 + [1] * 2, dtype=np.int64)
    images = PatientImages.of(patient_N, patients=2)
    chosen = [choose_images(stream(i, "image"), np.array([0, 1]), images=images) for i in range(2000)]
    shares = np.bincount(np.concatenate(chosen), minlength=6) / 2000
    expected = np.array([0.25] * 4 + [0.5] * 2)
    assert (np.abs(shares - expected) < 4 * np.sqrt(expected * (1 - expected) / 2000)).all()


@pytest.mark.parametrize("patient_N", [[0, 2], [0, 3, 1, 2], [-1, 0, 1, 2]])
def test_a_patient_without_image_or_an_image_without_patient_is_refused(patient_N):
    with pytest.raises(ValueError, match="image"):
        PatientImages.of(np.array(patient_N, dtype=np.int64), patients=3)
