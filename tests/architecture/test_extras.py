"""Each program works in an install of its extra alone, and the wheel of a checkout holds all our packages.

The three wheels that are handed out: ``test_wheels``.
"""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOT_AT_THE_COORDINATOR = (
    "torch",
    "opacus",
    "pydicom",
    "pandas",
    "PIL",
    "wardround_client",
    "wardround_simulations",
)
NOT_AT_A_SITE = ("wardround_server", "wardround_simulations")

BLOCKED = """
import importlib.abc, pkgutil, sys, importlib
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocker())
package = importlib.import_module({package!r})
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(module.name)
sys.argv = [{program!r}, "--help"]
importlib.import_module({package!r} + ".main").main()
"""


@pytest.mark.parametrize(
    ("program", "package", "blocked"),
    [
        ("wardround-coordinator", "wardround_server", NOT_AT_THE_COORDINATOR),
        ("wardround-site", "wardround_client", NOT_AT_A_SITE),
    ],
)
def test_every_module_and_the_help_of_a_program_need_its_own_extra_only(program, package, blocked):
    code = BLOCKED.format(blocked=blocked, package=package, program=program)
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "100"},
    )
    assert result.returncode == 0, result.stderr
    assert program in result.stdout


@pytest.mark.end_to_end
def test_the_wheel_holds_our_packages_and_nothing_else(tmp_path):
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"),
            *("-w", str(tmp_path), str(ROOT)),
        ],
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    packages = {"wardround_common", "wardround_client", "wardround_server", "wardround_simulations"}
    assert {top for top in tops if not top.endswith(".dist-info")} == packages
    assert "wardround_simulations/scenarios/demo.toml" in names
    assert "wardround_server/report/templates/report.html.j2" in names
    assert "wardround_server/report/tasks/generation/templates/worth.html.j2" in names
