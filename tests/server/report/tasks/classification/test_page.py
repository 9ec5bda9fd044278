"""The page, the card and the data of a classification: complete, marked, and refused where they must be."""

import re

import msgspec
import pytest
from msgspec.structs import replace
from pages import contents

from wardround_common.errors import PrivacyError
from wardround_common.evaluation import Estimate
from wardround_server.report import SitePrivacy, write_model_card, write_report
from wardround_server.report.tasks.classification.results import (
    ClassificationResults,
    Evaluation,
    ModelResult,
)


def test_page_has_its_sections_in_order(report, deployed, tmp_path):
    common = ["budget", "protection", "bytes", "rounds", "time"]
    assert contents(write_report(report, tmp_path).read_text()) == [
        *("summary", "joining", "roc", "learning", "released", "external"),
        *common,
        *("images", "plan", "reproduce"),
    ]
    assert contents(write_report(deployed, tmp_path).read_text()) == [
        *("summary", "roc", "released"),
        *common,
        *("plan", "reproduce"),
    ]


def test_page_says_what_left_a_site_and_what_it_looks_for(report, tmp_path):
    page = write_report(report, tmp_path).read_text()
    assert "<span>finding</span> pneumonia" in page
    assert "masked counts of held-out patients by score" in page
    assert "How well it finds pneumonia" in page


def test_json_has_the_names_that_others_read(report, tmp_path):
    write_report(report, tmp_path)
    data = msgspec.json.decode((tmp_path / "report.json").read_bytes())
    for section in (data["evaluation"], data["external"]):
        for model in ("federated", "federated_without_privacy", "pooled"):
            assert section[model]["auroc"].keys() >= {"value", "low", "high"}
        for models in ("local", "local_private"):
            assert set(section[models]) == set(report.sites)
            assert section[models]["alder"]["auroc"].keys() >= {"value", "low", "high"}
    released = data["evaluation"]["federated_released"]["auroc"]
    assert released.keys() == {"value", "low", "high", "noise_sd"}
    assert data["privacy"]["sites"]["alder"]["epsilon_spent"] == 2.987
    assert data["privacy"]["sites"]["alder"]["delta"] == 1e-5


def test_simulation_marks_what_a_deployment_has_not(report, tmp_path):
    page = write_report(report, tmp_path).read_text()
    for section in ("joining", "roc", "external"):
        assert re.search(rf'<h2 id="{section}">.*simulation only, not private', page)


def test_deployment_with_a_further_test_set_is_refused(report, deployed, tmp_path):
    leaky = replace(deployed, results=replace(deployed.results, external=report.results.external))
    with pytest.raises(PrivacyError, match="external"):
        write_report(leaky, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "part", sorted(set(Evaluation.__struct_fields__) - {"tested_on", "federated_released", "released_counts"})
)
def test_deployment_with_exact_metrics_is_refused(report, deployed, part, tmp_path):
    exact = getattr(report.results.evaluation, part)
    leaky = replace(deployed.results, evaluation=replace(deployed.results.evaluation, **{part: exact}))
    with pytest.raises(PrivacyError, match=f"evaluation.{part}"):
        write_model_card(replace(deployed, results=leaky), tmp_path)


def test_failed_study_still_gets_its_page(bare, report, tmp_path):
    void = tuple(replace(entry, void=True, survivors=()) for entry in report.rounds[:2])
    unknown = ModelResult(auroc=Estimate(0.5, 0.0, 1.0, 0.5), positives=-2.0, negatives=3.0)
    failed = replace(
        bare,
        rounds=void,
        results=ClassificationResults(evaluation=Evaluation(federated_released=unknown)),
        privacy=replace(
            report.privacy, sites={"alder": SitePrivacy(epsilon_spent=0.0, delta=1e-5, budget=3.0)}
        ),
    )
    page = write_report(failed, tmp_path).read_text()
    assert "2 rounds void (1 and 2)" in page
    assert "not known" in page
    assert "nan" not in page.lower().replace("finan", "")


def test_card_head_is_what_model_hubs_read(report, tmp_path):
    head = write_model_card(report, tmp_path).read_text().split("---\n", 2)[1]
    for line in (
        'license: "other"',
        '  - "federated-learning"',
        '  - "roc_auc"',
        '          - type: "roc_auc"',
    ):
        assert line in head.splitlines()
    value = f"            value: {report.results.evaluation.federated.auroc.value:.3f}"
    assert value in head.splitlines()
