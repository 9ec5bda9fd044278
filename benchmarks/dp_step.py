"""A private training step over an ordinary one: same network, same rows, same thread.

Side by side in one process, CPU time, best of several alternating repeats; read the ratio.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch
from msgspec.structs import replace

from benchmarks.plans import bench_plan
from benchmarks.results import Result
from wardround_client.privacy.clipping import PrivateStep
from wardround_client.tasks.classification.networks import build
from wardround_client.tasks.classification.training import weighted_loss_sum
from wardround_common.models import initial_vector_of
from wardround_common.plan import ModelPlan, StudyPlan
from wardround_common.streams import Stream, derive

ROWS = 64
REPEATS = 7


def measure() -> list[Result]:
    """CPU time per step of both models, 64 rows of 64 x 64 pixels."""
    torch.set_num_threads(1)
    results = []
    for model in ("scatter", "small"):
        plan = replace(
            bench_plan(), model=ModelPlan(name=model), input=replace(bench_plan().input, size_px=64)
        )
        private, ordinary = _steps(plan)
        times = [(_cpu(ordinary), _cpu(private)) for _ in range(REPEATS)]
        base, cost = (min(column) for column in zip(*times, strict=True))
        results += [
            Result(f"dp_step.{model}.ordinary_ms", 1e3 * base, "ms", f"{ROWS} rows, head only"),
            Result(f"dp_step.{model}.private_ms", 1e3 * cost, "ms", "clip per patient, grid, noise"),
            Result(f"dp_step.{model}.private_over_ordinary", cost / base, "x"),
        ]
    return results


def _steps(plan: StudyPlan) -> tuple[Callable[[], object], Callable[[], object]]:
    images = torch.rand(ROWS, 1, 64, 64)
    labels = torch.arange(ROWS) % 2
    loss_sum = partial(weighted_loss_sum, weights_K=torch.ones(2))

    network = build(plan)
    network.load(initial_vector_of(plan))
    rows = images if network.front_end is None else network.front_end(images)
    private = PrivateStep(
        network.head,
        torch.optim.SGD(network.head.parameters(), lr=1e-3),
        loss_sum=loss_sum,
        privacy=plan.privacy,
        divisor=float(ROWS),
        physical_batch=ROWS,
    )
    stream = Stream(derive(bytes(32), "benchmark"))

    plain = build(plan)
    plain.load(initial_vector_of(plan))
    optimizer = torch.optim.SGD(plain.head.parameters(), lr=1e-3)

    def ordinary() -> None:
        optimizer.zero_grad()
        (loss_sum(plain.head(rows), labels) / ROWS).backward()
        optimizer.step()

    return partial(private, rows, labels, noise=stream), ordinary


def _cpu(step: Callable[[], object], *, times: int = 10) -> float:
    step()
    began = time.process_time()
    for _ in range(times):
        step()
    return (time.process_time() - began) / times
