"""Which figures of a generator only a simulation may fill."""

import pytest
from generated import judged
from msgspec.structs import replace

from wardround_common.errors import PrivacyError
from wardround_server.report import write_model_card, write_report
from wardround_server.report.tasks.generation.results import Generation, GenerationResults

ALLOWED = {"tested_on", "classes", "over_rounds", "interpolation"}


@pytest.mark.parametrize("part", sorted(set(Generation.__struct_fields__) - ALLOWED))
def test_deployment_with_exact_figures_is_refused(generated, generated_deployed, part, tmp_path):
    exact = getattr(generated.results.generation, part)
    made = replace(generated_deployed.results.generation, **{part: exact})
    leaky = replace(generated_deployed, results=GenerationResults(generation=made))
    for write in (write_report, write_model_card):
        with pytest.raises(PrivacyError, match=f"generation.{part}"):
            write(leaky, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("part", ["classes", "interpolation"])
def test_deployment_with_images_of_patients_is_refused(generated, generated_deployed, part, tmp_path):
    real = generated.results.generation.classes
    made = replace(generated_deployed.results.generation, **{part: real})
    with pytest.raises(PrivacyError, match=rf"generation\.{part}\.real"):
        write_report(replace(generated_deployed, results=GenerationResults(generation=made)), tmp_path)
    assert not list(tmp_path.iterdir())


def test_synthetic_images_may_be_shown_by_a_deployment(generated_deployed, tmp_path):
    assert generated_deployed.results.exact == ()
    page = write_report(generated_deployed, tmp_path).read_text()
    assert page.count("<img ") == 8


def test_a_simulation_may_show_everything(generated):
    assert generated.violations == ()
    assert len(generated.results.exact) == 9


def test_results_of_an_empty_study_are_not_exact():
    assert GenerationResults().exact == ()
    only = GenerationResults(generation=Generation(external={"class_mean_baseline": judged(0.7, 0.6, 0.8)}))
    assert only.exact == ("generation.external",)
