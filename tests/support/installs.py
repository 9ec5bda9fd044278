"""A virtual environment that holds one wheel and what the wheel says it needs, and nothing else."""

import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


class Install:
    """An environment made without a network: dependencies are links to what the tests run with."""

    def __init__(self, home: Path, *wheels: Path, needs: list[str] | None = None) -> None:
        """Install ``wheels``; ``needs`` in place of what they say they need."""
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
        self.bin = home / "bin"
        pip = [sys.executable, "-m", "pip", "-q", "--python", str(self.bin / "python"), "install"]
        subprocess.run(
            [*pip, "--no-deps", "--no-index", "--no-compile", *map(str, wheels)],
            check=True,
            env=_environment(),
        )
        (site_packages,) = home.glob("lib/python*/site-packages")
        self.ours = sorted(path.name for path in site_packages.iterdir())
        needs = needs or [
            text
            for path in site_packages.glob("wardround*.dist-info/METADATA")
            for text in _requirements(path.read_text())
        ]
        _link(_closure(needs), home / "needs")
        (site_packages / "needs.pth").write_text(f"{home / 'needs'}\n")

    @property
    def programs(self) -> set[str]:
        """Our console scripts."""
        return {path.name for path in self.bin.glob("wardround*")}

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment outside the checkout."""
        return subprocess.run(
            [str(self.bin / program), *arguments],
            cwd=self.bin.parent,
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    def can_import(self, module: str) -> bool:
        """Whether the environment's Python finds ``module``."""
        result = self.run("python", "-c", f"import {module}")
        assert result.returncode == 0 or "ModuleNotFoundError" in result.stderr, result.stderr
        return result.returncode == 0


def _environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "COLUMNS": "100", "OMP_NUM_THREADS": "1", "HOME": "/nonexistent"}


def _requirements(metadata: str) -> list[str]:
    prefix = "Requires-Dist: "
    return [line.removeprefix(prefix) for line in metadata.splitlines() if line.startswith(prefix)]


def _closure(texts: list[str]) -> set[str]:
    """Names of the distributions that ``texts`` need, themselves included."""
    seen: set[tuple[str, str]] = set()
    todo = [(Requirement(text), "") for text in texts]
    while todo:
        requirement, extra = todo.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        for wanted in (*requirement.extras, ""):
            node = canonicalize_name(requirement.name), wanted
            if node not in seen:
                seen.add(node)
                todo += [(Requirement(t), wanted) for t in distribution(requirement.name).requires or ()]
    return {name for name, _ in seen}


def _link(names: set[str], folder: Path) -> None:
    folder.mkdir()
    for name in names:
        found = distribution(name)
        tops = {path.parts[0] for path in found.files or ()} - {"..", "__pycache__"}
        assert tops, f"{name} lists no files"
        for top in tops:
            if not (folder / top).exists():
                (folder / top).symlink_to(str(found.locate_file(top)))
