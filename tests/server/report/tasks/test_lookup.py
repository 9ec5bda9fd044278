"""A task's part of the report is found by name; a task without one gets what every study has."""

import pytest
from msgspec.structs import replace
from pages import contents

from wardround_server.report import tasks, write_model_card, write_report
from wardround_server.report.tasks import load_section
from wardround_server.report.tasks.generic import Generic


def test_parts_are_found_by_the_name_of_the_task():
    assert type(load_section("classification")).__name__ == "Classification"
    assert type(load_section("generation")).__name__ == "Generating"


@pytest.mark.parametrize("name", ["segmentation", "interface", "generic", "classification.words", "", ".."])
def test_any_other_name_gets_the_part_of_any_task(name):
    assert type(load_section(name)) is Generic


def test_a_part_that_cannot_be_imported_is_not_taken_for_an_absent_one(monkeypatch, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "__init__.py").write_text("import no_such_module_anywhere\n")
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])
    with pytest.raises(ModuleNotFoundError, match="no_such_module_anywhere"):
        load_section("broken")


def test_a_task_without_a_part_gets_the_common_sections(strange, tmp_path):
    page = write_report(strange, tmp_path).read_text()
    common = ["summary", "budget", "protection", "bytes", "rounds", "time", "plan", "reproduce"]
    assert contents(page) == common
    assert "<span>task</span> segmentation" in page
    assert "It draws the outline of a finding." in page
    assert "<li>masked outlines of nothing</li>" in page
    assert "gradients are clipped and noised." in page
    assert "pneumonia" not in page.partition('id="plan"')[0].partition("</header>")[2]


def test_a_card_of_a_task_without_a_part_claims_nothing(strange, tmp_path):
    card = write_model_card(strange, tmp_path).read_text()
    assert "pipeline_tag" not in card
    assert "roc_auc" not in card
    assert "Not evaluated." in card
    assert "The outliner's gradients are clipped and noised." in card


def test_results_of_another_task_are_not_shown(report, generated, tmp_path):
    mixed = replace(report, results=generated.results)
    page = write_report(mixed, tmp_path).read_text()
    assert not {"joining", "synthetic"} & set(contents(page))
