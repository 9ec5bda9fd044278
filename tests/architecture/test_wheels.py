"""The three wheels: what is in each, and what an environment that holds one of them can do."""

import configparser
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from installs import Install

from wardround_common.programs import DISTRIBUTIONS

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SOURCES = {
    "wardround-site": ("common", "client"),
    "wardround-coordinator": ("common", "server"),
    "wardround-simulation": ("common", "client", "server", "simulations"),
}
PROGRAMS = {
    "wardround-site": {"wardround-authority", "wardround-site"},
    "wardround-coordinator": {"wardround-coordinator"},
    "wardround-simulation": set(PROJECT["project"]["scripts"]),
}
ABSENT = {
    "wardround-site": ("wardround_server", "wardround_simulations", "hatchling", "pytest"),
    "wardround-coordinator": (
        *("wardround_client", "wardround_simulations", "torch", "opacus", "pydicom"),
        *("pandas", "PIL", "gdcm", "hatchling", "pytest"),
    ),
    "wardround-simulation": ("hatchling", "pytest"),
}
EVERY_MODULE = """
import importlib, pkgutil
for name in {packages!r}:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        importlib.import_module(module.name)
"""

pytestmark = pytest.mark.end_to_end


def package_of(source):
    return {"common": "wardround_common", "client": "wardround_client", "server": "wardround_server"}.get(
        source, "wardround_simulations"
    )


def build(folder):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "custom", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    found = {"-".join(path.name.split("-")[0].split("_")): path for path in folder.iterdir()}
    assert set(found) == set(SOURCES)
    return found


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def installs(wheels, tmp_path_factory):
    return {name: Install(tmp_path_factory.mktemp(name) / "env", path) for name, path in wheels.items()}


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_wheel_holds_every_file_of_its_packages_and_nothing_else(wheels, name):
    expected = set()
    for source in SOURCES[name]:
        folder = ROOT / source / package_of(source)
        expected |= {
            str(path.relative_to(ROOT / source))
            for path in folder.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
    if "simulations" in SOURCES[name]:
        scenarios = (ROOT / "simulations/scenarios").iterdir()
        expected |= {f"wardround_simulations/scenarios/{path.name}" for path in scenarios}
    with zipfile.ZipFile(wheels[name]) as archive:
        names = set(archive.namelist())
    info = f"{name.replace('-', '_')}-{PROJECT['project']['version']}.dist-info"
    parts = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
    assert names == expected | {f"{info}/{part}" for part in parts}


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_wheel_brings_its_own_programs_and_they_start(installs, name):
    install = installs[name]
    assert install.programs == PROGRAMS[name]
    for program in install.programs:
        result = install.run(program, "--help")
        assert result.returncode == 0, result.stderr
        assert program in result.stdout


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_every_module_of_a_wheel_needs_only_what_the_wheel_says_it_needs(installs, name):
    packages = [package_of(source) for source in SOURCES[name]]
    result = installs[name].run("python", "-c", EVERY_MODULE.format(packages=packages))
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(("name", "module"), [(name, module) for name in ABSENT for module in ABSENT[name]])
def test_what_does_not_belong_on_a_machine_cannot_be_imported_there(installs, name, module):
    assert not installs[name].can_import(module)


def test_the_machine_with_the_consortiums_key_needs_four_libraries(wheels, tmp_path):
    """A stick with the site's wheel and these: no torch, no Flower."""
    needs = ["cryptography", "msgspec", "numpy", "typer"]
    install = Install(tmp_path / "env", wheels["wardround-site"], needs=needs)
    assert not install.can_import("torch")
    assert not install.can_import("flwr")
    home = str(tmp_path / "authority")
    assert install.run("wardround-authority", "init", home, "--no-passphrase").returncode == 0
    assert "none signed yet" in install.run("wardround-authority", "show", home).stdout


def test_two_wheels_in_one_environment_are_refused_by_their_programs(wheels, tmp_path):
    """They share the files of common: an older wheel would overwrite them, an uninstall remove them."""
    both = Install(tmp_path / "env", wheels["wardround-site"], wheels["wardround-coordinator"])
    for program in both.programs:
        result = both.run(program, "--help")
        assert result.returncode == 1
        assert "wardround-coordinator, wardround-site" in result.stderr
        assert "wardround-simulation" in result.stderr


def test_the_same_sources_give_the_same_wheels(wheels, tmp_path):
    again = build(tmp_path)
    assert {name: path.read_bytes() for name, path in again.items()} == {
        name: path.read_bytes() for name, path in wheels.items()
    }


def test_every_program_of_the_project_is_in_a_wheel_and_the_names_are_known():
    tables = PROJECT["tool"]["hatch"]["build"]["targets"]["custom"]["wheels"]
    assert {f"wardround-{name}" for name in tables} | {"wardround"} == set(DISTRIBUTIONS)
    assert {f"wardround-{name}": set(table["scripts"]) for name, table in tables.items()} == PROGRAMS


def test_entry_points_name_modules_of_their_own_wheel(wheels):
    for name, path in wheels.items():
        with zipfile.ZipFile(path) as archive:
            (entry,) = (n for n in archive.namelist() if n.endswith("entry_points.txt"))
            parser = configparser.ConfigParser()
            parser.read_string(archive.read(entry).decode())
        for target in parser["console_scripts"].values():
            assert target.split(".")[0] in {package_of(source) for source in SOURCES[name]}
