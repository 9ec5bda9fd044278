"""Bad input at the command line: one clear error with a remedy, never a traceback, and nothing lost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wardround_simulations.main import main

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = (ROOT / "simulations/scenarios/chest-xray.toml").read_text()


@pytest.fixture
def wardround_sim(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["wardround-sim", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        output = capsys.readouterr()
        return ended.value.code, output.out, output.err

    return run


def scenario(tmp_path, *changes):
    text = SCENARIO
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    return path


def assert_one_clear_error(code, err, *wanted):
    assert code == 1
    lines = err.strip().splitlines()
    assert lines[-2].startswith("error: ")
    assert lines[-1].startswith("  ")
    assert "Traceback" not in err
    for text in wanted:
        assert text in err


def test_a_missing_sites_folder_is_one_clear_error(wardround_sim, tmp_path):
    code, _, err = wardround_sim(
        "run", scenario(tmp_path), "--sites", tmp_path / "none", "--out", tmp_path / "out"
    )
    assert_one_clear_error(code, err, "st_alder", "labels.csv")


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ('study = "chest-xray"', 'study = "chest-xray"\ncolour = "red"', "colour"),
        ("sample_rate = 0.2", "sample_rate = 0.2\nwarmup = 3", "warmup"),
        ("target_epsilon = 8.0", "target_epsilon = 80.0", "plan.privacy.target_epsilon"),
        ("target_epsilon = 8.0", "target_epsilon = 0.000001", "epsilon"),
        ('name = "scatter"', 'name = "resnet"', "scatter, small"),
        ("[simulation]", "[simulation]\nsede = 1", "sede"),
        ("[plan.model]", "[plan.modl]", "modl"),
        ("rounds = 16", 'rounds = 16\nexpires = "2030-01-01"', "expires"),
        ("rounds = 16", "rounds = 16\nrounds = 17", "scenario.toml"),
    ],
)
def test_a_wrong_scenario_is_one_clear_error(wardround_sim, tmp_path, old, new, wanted):
    path = scenario(tmp_path, (old, new))
    code, _, err = wardround_sim("run", path, "--sites", tmp_path, "--out", tmp_path / "out")
    assert_one_clear_error(code, err, wanted)
    assert not (tmp_path / "out" / "sites").exists()


def test_a_plan_above_the_sites_limit_is_refused_before_any_file_is_opened(wardround_sim, tmp_path):
    path = scenario(tmp_path, ("target_epsilon = 8.0", "target_epsilon = 12.0"))
    code, _, err = wardround_sim("run", path, "--sites", tmp_path / "none", "--out", tmp_path / "out")
    assert_one_clear_error(code, err, "st_alder", "permits 10")


def test_an_out_folder_of_somebody_else_is_not_touched(wardround_sim, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    for command in (("demo",), ("demo-gan",), ("run", scenario(tmp_path), "--sites", tmp_path)):
        code, _, err = wardround_sim(*command, "--out", out)
        assert_one_clear_error(code, err, "--out")
    assert (out / "thesis.txt").read_text() == "mine"


def test_an_out_folder_of_a_run_is_not_replaced_by_the_demo(wardround_sim, tmp_path):
    out = tmp_path / "out"
    wardround_sim("run", scenario(tmp_path), "--sites", tmp_path / "none", "--out", out)
    assert (out / ".wardround").exists()
    code, _, err = wardround_sim("demo", "--out", out)
    assert_one_clear_error(code, err, "not written by this command")


def test_wrong_usage_is_explained(wardround_sim):
    code, _, err = wardround_sim("run")
    assert code == 2
    assert "Missing" in err


def test_a_scenario_explains_itself(wardround_sim):
    code, out, _ = wardround_sim("explain", ROOT / "simulations/scenarios/chest-xray.toml")
    assert code in (0, None)
    assert "What never leaves" in out


@pytest.mark.parametrize("locked", ["folder", "labels"])
def test_what_may_not_be_read_is_one_clear_error(tmp_path, locked):
    """Root may read everything, so it first drops that privilege."""
    for site in ("st_alder", "northfield", "bay_general", "hill_clinic"):
        (tmp_path / site).mkdir()
        (tmp_path / site / "labels.csv").write_text("patient_id,label\nx,normal\n")
        (tmp_path / site / "labels.csv" if locked == "labels" else tmp_path / site).chmod(0o000)
    caps = "-dac_override,-dac_read_search"
    drop = ["setpriv", "--bounding-set", caps, "--inh-caps", caps] if os.getuid() == 0 else []
    scenario = ROOT / "simulations/scenarios/chest-xray.toml"
    program = str(Path(sys.executable).with_name("wardround-sim"))
    result = subprocess.run(
        [*drop, program, "run", str(scenario), "--sites", str(tmp_path), "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert_one_clear_error(result.returncode, result.stderr, "st_alder", "read")
