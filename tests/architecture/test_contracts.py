"""Each import contract holds, and each catches a planted violation."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("common", "client", "server", "simulations")
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]

VIOLATIONS = {
    "one-way": ("client/wardround_client/planted.py", "import wardround_server.transport\n"),
    "blind": ("server/wardround_server/planted.py", "import torch\n"),
    "flower-at-the-edge": ("server/wardround_server/planted.py", "import flwr.app\n"),
    "patients-stay-in-ingest": (
        "client/wardround_client/ledger/planted.py",
        "import wardround_client.ingest\n",
    ),
    "the-generator-meets-no-patient": (
        "client/wardround_client/tasks/generation/teacher.py",
        "import wardround_client.tasks.batches\n",
    ),
    "lean-common": ("common/wardround_common/planted.py", "import pandas\n"),
    "inside-common": (
        "common/wardround_common/errors.py",
        "import wardround_common.plan\n",
    ),
    "inside-client": (
        "client/wardround_client/policy.py",
        "import wardround_client.site\n",
    ),
    "inside-server": (
        "server/wardround_server/transport.py",
        "import wardround_server.rounds\n",
    ),
    "inside-simulations": (
        "simulations/wardround_simulations/workers.py",
        "import wardround_simulations.federation\n",
    ),
}


def lint(root: Path, contract: str) -> subprocess.CompletedProcess[str]:
    lint_imports = Path(sys.executable).with_name("lint-imports")
    path = ":".join(str(root / package) for package in PACKAGES)
    return subprocess.run(
        [str(lint_imports), "--no-cache", "--contract", contract, "--config", str(ROOT / "pyproject.toml")],
        cwd=root,
        env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("copy")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    return root


def test_every_contract_has_a_violation_to_catch():
    assert {contract["id"] for contract in CONTRACTS} == set(VIOLATIONS)


@pytest.mark.parametrize("contract", sorted(VIOLATIONS))
def test_a_contract_holds_and_catches_a_planted_violation(copy, contract):
    assert lint(copy, contract).returncode == 0
    path, line = VIOLATIONS[contract]
    planted = copy / path
    before = planted.read_text() if planted.exists() else None
    planted.write_text((before or "") + line)
    try:
        result = lint(copy, contract)
    finally:
        planted.write_text(before) if before is not None else planted.unlink()
    assert result.returncode == 1, result.stdout
    assert "BROKEN" in result.stdout
