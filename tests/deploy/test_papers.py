"""What the papers say: files that exist, commands that exist, figures that are computed."""

import re
import tomllib

import pytest
from deployments import DEPLOY

from wardround_common.aggregate import VERIFY_LIMIT_BYTES
from wardround_common.models import layout_of
from wardround_common.state import initial_state
from wardround_server.home import CoordinatorConfig
from wardround_simulations.run import scenario_path
from wardround_simulations.scenario import load_scenario

TICKET = (DEPLOY / "firewall-ticket.md").read_text()
README = (DEPLOY / "README.md").read_text()
BACKUP = (DEPLOY / "backup.md").read_text()
SCENARIOS = {"scatter": "chest-xray", "patches": "demo-gan", "wavelet": "chest-xray-gan"}
HOSPITALS = 4


def number(text):
    return int(text.replace(",", ""))


def rows():
    table = re.findall(r"^\| (?:\w+ `(\w+)`|a network.*?) \| ([\d,]+) \| (.*) \|$", TICKET, re.M)
    return [(model, number(size), [number(one) for one in rest.split("|")]) for model, size, rest in table]


def test_the_tickets_volumes_are_those_of_the_models():
    assert {model for model, _, _ in rows() if model} == set(SCENARIOS)
    for model, size, (up, checked, unchecked) in rows():
        assert (up, checked, unchecked) == (4 * size, 4 * size * HOSPITALS, 4 * size)
        if model:
            plan = load_scenario(scenario_path(SCENARIOS[model])).plan
            assert plan.model.name == model
            assert layout_of(plan).size == size
        if model == "scatter":
            assert initial_state(plan).pack().nbytes / size == pytest.approx(12, rel=0.05)
    assert f"{VERIFY_LIMIT_BYTES // 1_000_000} MB" in TICKET


def test_the_tickets_ports_are_those_of_the_program():
    config = CoordinatorConfig(host="hub.example")
    for text in (TICKET, README):
        assert str(config.port) in text
        assert str(config.enrol_port) in text
    assert str(config.runtime_port) not in TICKET


def test_the_page_names_everything_that_is_here():
    named = set(re.findall(r"`([\w./*-]+)`", README))
    for path in DEPLOY.iterdir():
        below = path.iterdir() if path.is_dir() else ()
        if path.name not in ("README.md", "wheels.py", "system-packages.txt", "__pycache__"):
            names = {path.name, f"{path.name}/", f"*{path.suffix}"}
            names |= {f"{path.name}/{one.name}" for one in below}
            assert names & named, path.name
    assert "not built" in README
    assert "not applied" in README


def test_the_backup_page_names_codes_that_the_tests_show():
    shown = (DEPLOY.parent / "tests" / "client" / "test_backup.py").read_text()
    codes = set(re.findall(r"`((?:ledger|audit|storage|privacy)\.[a-z_]+)`", BACKUP))
    assert {code for code in codes if code not in ("audit.sqlite", "audit.head")} <= set(
        re.findall(r'"([a-z]+\.[a-z_]+)"', shown)
    )


def test_the_versions_that_images_and_manifests_name_are_this_one():
    version = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]["version"]
    files = [*DEPLOY.glob("*.yaml"), *DEPLOY.glob("kubernetes/*.yaml"), *DEPLOY.glob("docker/Dockerfile.*")]
    pattern = r"wardround-(?:site|coordinator):([0-9.]+)"
    tags = {tag for path in files for tag in re.findall(pattern, path.read_text())}
    assert tags == {version}
