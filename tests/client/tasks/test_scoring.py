"""Scores and counts of held-out patients."""

import numpy as np
import pytest

from wardround_client.catalogue import evaluation_rows
from wardround_client.tasks import load_task
from wardround_common.evaluation import histogram
from wardround_common.models import initial_vector_of


@pytest.fixture
def task():
    return load_task("classification")


def test_scores_are_probabilities_and_the_same_in_whatever_batch(plan, catalogue, task):
    vector, images = initial_vector_of(plan), catalogue.images_NCHW
    scores = task.scores(plan, vector, images)
    assert scores.dtype == np.float64
    assert np.all((scores > 0) & (scores < 1))
    np.testing.assert_allclose(task.scores(plan, vector, images[5:8]), scores[5:8], atol=1e-6)


def test_no_images_have_no_scores(plan, catalogue, task):
    assert task.scores(plan, initial_vector_of(plan), catalogue.images_NCHW[:0]).shape == (0,)


def test_every_held_out_patient_is_counted_once_by_side_class_and_bin(plan, catalogue, task):
    vector = initial_vector_of(plan)
    validation, test = catalogue.of_side("validation"), catalogue.of_side("test")
    counts = task.evaluate(plan, vector=vector, validation=validation, test=test)
    assert counts.dtype == np.int64
    assert counts.shape == (plan.task.cells,)
    for part, side in zip(np.split(counts, 2), (validation, test), strict=True):
        rows = evaluation_rows(side)
        assert part.sum() == len(side.patient_keys)
        scores = task.scores(plan, vector, side.images_NCHW[rows])
        expected = histogram(scores, side.label_N[rows], plan.task.bin_edges)
        assert np.array_equal(part.reshape(expected.shape), expected)


def test_a_side_without_patients_counts_nobody(plan, catalogue, task):
    train = catalogue.of_side("train")
    nobody = train.of_side("test")
    counts = task.evaluate(plan, vector=initial_vector_of(plan), validation=nobody, test=nobody)
    assert not counts.any()
