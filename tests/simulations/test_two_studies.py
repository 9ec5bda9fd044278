"""A classifier, and then a generator on the same patients: the second report shows what both have cost."""

import json

import msgspec
import pytest

from wardround_simulations.federation import Federation
from wardround_simulations.phantoms import write_phantoms
from wardround_simulations.run import Job, run_scenario, scenario_path
from wardround_simulations.sampling import sample
from wardround_simulations.scenario import load_scenario

pytestmark = pytest.mark.end_to_end


def run(name, phantoms, out, **recipe):
    scenario = load_scenario(scenario_path(name))
    plan = scenario.plan
    plan = msgspec.structs.replace(plan, rounds=2, recipe=msgspec.structs.replace(plan.recipe, **recipe))
    simulation = msgspec.structs.replace(scenario.simulation, baselines=False, seed=7)
    scenario = msgspec.structs.replace(scenario, plan=plan, simulation=simulation)
    federation = Federation(scenario=scenario, out=out)
    run_scenario(Job(federation=federation, sites=phantoms, test=None, command="wardround-sim"))
    return json.loads((out / "report.json").read_text())


def test_the_report_of_the_second_study_lists_both(tmp_path):
    phantoms, out = tmp_path / "phantoms", tmp_path / "out"
    write_phantoms(phantoms, seed=7, scale=0.2)
    first = run("demo", phantoms, out)
    second = run("demo-gan", phantoms, out, local_steps=4)
    for site in ("alder", "birch", "cedar"):
        before, after = first["privacy"]["sites"][site], second["privacy"]["sites"][site]
        assert [(s["study"], s["task"]) for s in before["studies"]] == [("demo", "classification")]
        assert [(s["study"], s["task"]) for s in after["studies"]] == [
            ("demo", "classification"),
            ("demo-gan", "generation"),
        ]
        assert all(study["epsilon"] > 0 for study in after["studies"])
        # never less; not more while the patients that were counted after the first study have spent the most
        assert after["lifetime"]["epsilon"] >= before["lifetime"]["epsilon"]
    page = (out / "report.html").read_text()
    assert "demo-gan" in page
    assert page.count("classification") > 0
    assert sample(out, out=tmp_path / "samples", label=None, count=1, seed=0).is_file()
    assert (out / "studies" / "demo" / "release.json").is_file()
