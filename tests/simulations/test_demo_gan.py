"""The generator's demo, as a user starts it: what its images are worth, and what its report holds."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from wardround_client.policy import SitePolicy
from wardround_client.site import open_ledger
from wardround_common.accounting import train_event
from wardround_simulations.run import scenario_path
from wardround_simulations.sampling import sample
from wardround_simulations.scenario import load_scenario

pytestmark = pytest.mark.end_to_end

SITES = ("alder", "birch", "cedar")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo-gan") / "out"
    program = str(Path(sys.executable).with_name("wardround-sim"))
    result = subprocess.run(
        [program, "demo-gan", "--out", str(out)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == str(out / "report.html")
    return out


@pytest.fixture(scope="module")
def generation(demo):
    return json.loads((demo / "report.json").read_text())["generation"]


def aurocs(generation):
    names = ("train_synthetic_test_real", "train_real_test_real", "class_mean_baseline")
    return [generation[name]["auroc"] for name in names]


def test_its_images_teach_more_than_class_means(generation):
    synthetic, real, means = aurocs(generation)
    for auroc in (synthetic, real, means):
        assert 0 <= auroc["low"] <= auroc["value"] <= auroc["high"] <= 1
    assert synthetic["low"] > means["value"]


def test_its_images_teach_four_fifths_of_what_real_ones_teach(generation):
    synthetic, real, _ = aurocs(generation)
    assert synthetic["value"] >= 0.80 * real["value"]


def test_its_images_show_the_label_that_they_carry(generation):
    assert set(generation["agreement"]) == {"normal", "nodule"}
    for share in generation["agreement"].values():
        assert share["value"] >= 0.80


def test_its_images_vary_and_are_no_copies(generation):
    for kept in generation["diversity"].values():
        assert kept["samples"] > 0.5 * kept["real"]
    assert generation["nearest"]["nearer_to_train"]["low"] <= 0.5


def test_the_report_shows_the_images(demo, generation):
    assert [entry["label"] for entry in generation["classes"]] == ["normal", "nodule"]
    assert all(entry["samples"]["png"] and entry["real"]["png"] for entry in generation["classes"])
    rounds = [entry["round"] for entry in generation["over_rounds"]]
    assert rounds == sorted(rounds)
    assert (rounds[0], rounds[-1]) == (1, load_scenario(scenario_path("demo-gan")).plan.rounds)
    assert len(generation["interpolation"]) == 2
    page = (demo / "report.html").read_text()
    for wanted in (
        "What was trained",
        "The synthetic images",
        "Over the rounds",
        "Between two latents",
        "What they are worth as training data",
        "Variety and copies",
        "Discriminator: the one network that sees patients",
        "Generator: never sees a patient&#39;s image",
    ):
        assert wanted in page, wanted


def test_the_ledgers_hold_every_noisy_step_and_nothing_more(demo):
    scenario = load_scenario(scenario_path("demo-gan"))
    privacy = json.loads((demo / "report.json").read_text())["privacy"]["sites"]
    for site in SITES:
        identifier = scenario.secrets.ledger_id(site)
        home = demo / "sites" / site
        ledger = open_ledger(home, policy=SitePolicy(), simulation_id=identifier)
        spends = ledger.spends(scenario.plan.study)
        ledger.shut()
        assert [spend.kind for spend in spends] == ["train"] * scenario.plan.rounds
        steps = sum(spend.event.steps for spend in spends)
        assert steps == train_event(scenario.plan, scenario.plan.steps).steps
        assert 9.5 < privacy[site]["epsilon_spent"] <= 10.0


def test_images_are_drawn_from_it(demo, tmp_path):
    sample(demo, out=tmp_path / "a", label="nodule", count=4, seed=5)
    sample(demo, out=tmp_path / "b", label="nodule", count=4, seed=5)
    with np.load(tmp_path / "a" / "samples.npz") as one, np.load(tmp_path / "b" / "samples.npz") as two:
        assert one["images"].tobytes() == two["images"].tobytes()
        assert one["images"].shape == (4, 1, 64, 64)
