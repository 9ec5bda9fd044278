"""A third task is a package in each program and one line in the registry: added to a copy, run, and counted.

The task is small and real: a linear model of coarse pixels that is trained with the patients' privacy, has
a part of the report and a judge, and goes through rounds, masks and ledger that know nothing of it.
"""

import difflib
import filecmp
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("common", "client", "server", "simulations")
REGISTRY = "common/wardround_common/tasks/__init__.py"
LINE = '    "brightness": "BrightnessPlan",\n'

PLAN = '''"""Brightness: a linear model that tells the labels apart by coarse pixels.

Privacy: functions of the plan alone.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from wardround_common.layout import Layout, TensorSpec
from wardround_common.tasks.interface import Planned, TaskPlan


class BrightnessPlan(TaskPlan, frozen=True, kw_only=True, tag="brightness", tag_field="name"):
    """What a brightness adds to the plan."""

    grid: Annotated[int, Meta(ge=1, le=16)] = 4
    """Height and width of the coarse image."""

    def layout(self, plan: Planned) -> Layout:
        """See ``TaskPlan.layout``."""
        inputs = plan.input.channels * self.grid**2
        return Layout(
            (
                TensorSpec(name="weight", shape=(1, inputs), init="uniform", fan_in=inputs),
                TensorSpec(name="bias", shape=(1,), init="zeros"),
            )
        )

    def average_decay(self, plan: Planned) -> float:
        """See ``TaskPlan.average_decay``."""
        return 0.5

    def trains(self, plan: Planned) -> str:
        """See ``TaskPlan.trains``."""
        return "A linear model that tells the labels apart by coarse pixels"

    def leaves(self, plan: Planned) -> tuple[str, ...]:
        """See ``TaskPlan.leaves``."""
        return ("the masked change of a linear model, once per round",)
'''

TASK = '''"""The brightness task behind ``tasks.interface.Task``.

Privacy: every step is clipped and noised.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from wardround_client.catalogue import Catalogue
from wardround_client.privacy.clipping import PrivateStep
from wardround_client.tasks.batches import FeatureCache, PatientBatches
from wardround_client.tasks.determinism import deterministic
from wardround_client.tasks.interface import RuntimeFlags, Streams, TrainOutput
from wardround_client.tasks.parameters import Parameters, without_values
from wardround_common.models import layout_of
from wardround_common.plan import StudyPlan


class BrightnessTask:
    """Keeps nothing between rounds."""

    def train_round(
        self,
        plan: StudyPlan,
        *,
        site: str,
        start: NDArray[np.float32],
        local_L: NDArray[np.float32],
        data: Catalogue,
        streams: Streams,
        flags: RuntimeFlags,
    ) -> TrainOutput:
        """Train for the plan's local steps; see ``interface.Task``."""
        grid, layout = plan.task.grid, layout_of(plan)
        network = without_values(lambda: nn.Linear(layout.tensors[0].shape[1], 1))
        parameters = Parameters(network, layout)
        parameters.load(start)
        batches = PatientBatches(
            plan.recipe,
            data=data,
            streams=streams,
            front_end=lambda x_BCHW: functional.adaptive_avg_pool2d(x_BCHW, grid).flatten(1),
            cache=FeatureCache(),
        )
        step = PrivateStep(
            network,
            torch.optim.SGD(network.parameters(), lr=plan.recipe.learning_rate),
            loss_sum=_loss_sum,
            privacy=plan.privacy,
            divisor=plan.expected_batch(site),
            physical_batch=flags.physical_batch,
        )
        with deterministic(flags.device):
            for number in range(plan.recipe.local_steps):
                x_B, label_B = batches.draw(number)
                step(x_B, label_B, noise=streams("noise", number))
        return TrainOutput(update_P=parameters.vector() - start, noisy_steps=step.optimizer.noisy_steps)


def _loss_sum(logits_B1: Tensor, label_B: Tensor) -> Tensor:
    wanted = label_B.to(logits_B1)
    return functional.binary_cross_entropy_with_logits(logits_B1[:, 0], wanted, reduction="sum")


TASK = BrightnessTask()
'''

SECTION = '''"""The part of the report that a brightness has.

Privacy: repeats the plan.
"""

from __future__ import annotations

from wardround_server.report.model import Report
from wardround_server.report.tasks.generic import Generic


class Brightness(Generic):
    """A `Section`."""

    def facts(self, report: Report) -> tuple[tuple[str, str], ...]:
        """The grid."""
        return (("coarse pixels", str(report.plan.task.grid)),)


SECTION = Brightness()
'''

JUDGE = '''"""Judges a brightness: it remembers how far the weights have moved.

Privacy: a function of the released states.
"""

from __future__ import annotations

import numpy as np

from wardround_common.state import initial_state
from wardround_server.report import LearningCurve
from wardround_server.study import StudyOutcome
from wardround_simulations.live import Screen
from wardround_simulations.tasks.interface import NoJudge, Trial


class BrightnessJudge(NoJudge):
    """A ``Judge``."""

    def __init__(self, trial: Trial) -> None:
        self._plan = trial.federation.plan
        self._moved = 0.0

    def results(self, outcome: StudyOutcome, screen: Screen) -> None:
        """See ``Judge.results``."""
        self._moved = float(np.abs(outcome.state.vector - initial_state(self._plan).vector).max())

    def learning(self) -> tuple[LearningCurve, ...]:
        """See ``Judge.learning``."""
        last = self._plan.rounds
        return (LearningCurve(metric="moved", series="weights", rounds=(last,), values=(self._moved,)),)


JUDGE = BrightnessJudge
'''

MARKER = '"""A brightness\'s part here.\n\nPrivacy: see the modules.\n"""\n'
FILES = {
    "common/wardround_common/tasks/brightness/__init__.py": PLAN,
    "client/wardround_client/tasks/brightness/__init__.py": MARKER,
    "client/wardround_client/tasks/brightness/task.py": TASK,
    "server/wardround_server/report/tasks/brightness/__init__.py": SECTION,
    "simulations/wardround_simulations/tasks/brightness/__init__.py": MARKER,
    "simulations/wardround_simulations/tasks/brightness/judge.py": JUDGE,
}

SCENARIO = """
[plan]
study = "third"
title = "A third task"
purpose = "Shows that a task can be added."
labels = ["normal", "nodule"]
rounds = 2
sites = [
    { name = "alder", patients = 21 },
    { name = "birch", patients = 14 },
    { name = "cedar", patients = 7 },
]
[plan.task]
name = "brightness"
grid = 5
[plan.input]
modality = "CT"
size_px = 32
spacing_mm = 9.0
window = "fixed"
window_center = -600.0
window_width = 1500.0
[plan.model]
name = "linear"
[plan.recipe]
learning_rate = 0.5
local_steps = 3
sample_rate = 0.5
[plan.privacy]
target_epsilon = 8.0
target_delta = 1e-3
[simulation]
seed = 3
"""

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("third")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in FILES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    registry = root / REGISTRY
    before = '    "classification": "ClassificationPlan",\n'
    text = registry.read_text()
    assert text.count(before) == 1
    registry.write_text(text.replace(before, LINE + before))
    return root


def run_in(root: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(str(root / package) for package in PACKAGES)
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=root,
        env=os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def changes(old: Path, new: Path) -> tuple[list[str], list[str]]:
    """Files that are only in ``new``, and lines of files in both that differ."""
    added, lines = [], []
    for path in sorted(p for p in new.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        name = path.relative_to(new)
        if not (old / name).exists():
            added.append(str(name))
        elif not filecmp.cmp(old / name, path, shallow=False):
            pair = (old / name).read_text().splitlines(True), path.read_text().splitlines(True)
            lines += [line for line in difflib.ndiff(*pair) if line[0] in "+-"]
    return added, lines


def test_one_line_of_what_was_there_changes(copy):
    added, lines = [], []
    for package in PACKAGES:
        more, changed = changes(ROOT / package, copy / package)
        added += [f"{package}/{name}" for name in more]
        lines += changed
    assert sorted(added) == sorted(FILES)
    assert lines == [f"+ {LINE}"]


def test_the_import_contracts_hold_with_it(copy):
    config = str(ROOT / "pyproject.toml")
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    result = run_in(copy, program, "--no-cache", "--config", config)
    assert result.returncode == 0, result.stdout
    assert "0 broken" in result.stdout


def test_its_study_runs_through_rounds_masks_and_ledger(copy, tmp_path):
    from wardround_simulations.phantoms import write_phantoms

    write_phantoms(tmp_path / "sites", seed=3, scale=0.05)
    (tmp_path / "third.toml").write_text(SCENARIO)
    out = tmp_path / "out"
    program = "from wardround_simulations.main import main; main()"
    arguments = (str(tmp_path / "third.toml"), "--sites", str(tmp_path / "sites"), "--out", str(out))
    result = run_in(copy, program, "run", *arguments)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == str(out / "report.html")
    report = json.loads((out / "report.json").read_text())
    assert [(entry["kind"], entry["void"]) for entry in report["rounds"]] == [("train", False)] * 2
    assert report["parameters"] == 26
    assert report["learning"][0]["values"][0] > 0.01
    for site in ("alder", "birch", "cedar"):
        (study,) = report["privacy"]["sites"][site]["studies"]
        assert (study["study"], study["task"]) == ("third", "brightness")
        assert 0 < study["epsilon"] <= 8.0
    page = (out / "report.html").read_text()
    assert "<span>coarse pixels</span> 5" in page
    assert "the masked change of a linear model, once per round" in page


def test_without_the_line_the_plan_is_refused(tmp_path):
    (tmp_path / "third.toml").write_text(SCENARIO)
    program = "from wardround_simulations.main import main; main()"
    result = run_in(ROOT, program, "explain", str(tmp_path / "third.toml"))
    assert result.returncode == 1
    assert "brightness" in result.stderr
