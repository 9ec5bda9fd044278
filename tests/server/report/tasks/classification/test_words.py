"""Sentences about classifiers: true and careful."""

import pytest
from msgspec.structs import replace

from wardround_common.evaluation import Estimate
from wardround_server.report.tasks.classification import words
from wardround_server.report.tasks.classification.results import (
    ClassificationResults,
    Evaluation,
    ModelResult,
)


def result(value):
    return ModelResult(auroc=Estimate(value, value - 0.05, value + 0.05), positives=60, negatives=90)


def compared(gain):
    return Evaluation(
        federated=result(0.9), local_private={"alder": result(0.85)}, gain={"alder": gain} if gain else {}
    )


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.01, 0.09, "Joining helped"),
        (-0.02, 0.12, "No clear difference"),
        (-0.09, -0.01, "Alone was better"),
    ],
)
def test_helped_is_said_only_where_the_interval_excludes_zero(low, high, said):
    assert words.joining(compared(Estimate(0.05, low, high)), "alder").startswith(said)


def test_without_a_paired_difference_no_verdict_is_given():
    sentence = words.joining(compared(None), "alder")
    assert "helped" not in sentence
    assert "0.850 alone, 0.900 together" in sentence


def test_missing_figures_give_no_sentence():
    assert words.joining(Evaluation(), "alder") == ""
    assert words.tally(Evaluation(), ("alder",)) == ""


def test_tally_counts_sites():
    gains = {"a": Estimate(0.1, 0.05, 0.2), "b": Estimate(0.0, -0.1, 0.1), "c": Estimate(-0.1, -0.2, -0.05)}
    said = words.tally(Evaluation(gain=gains), ("a", "b", "c"))
    assert said == "Joining clearly helped 1 of 3 sites; no clear difference at 1; alone was better at 1."


def test_small_sites_and_drowned_counts_are_warned_of(deployed):
    assert any(said.startswith("cedar and dogwood: fewer than 500") for said in words.warnings(deployed))
    assert not any("drown" in said for said in words.warnings(deployed))
    drowned = ModelResult(auroc=Estimate(0.5, 0.0, 1.0, 0.5), positives=1.0, negatives=2.0)
    evaluation = Evaluation(federated_released=drowned)
    results = ClassificationResults(evaluation=evaluation)
    assert any("drown" in said for said in words.warnings(replace(deployed, results=results)))
