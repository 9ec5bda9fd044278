"""The simulator without training: 3 sites, 3 rounds and an evaluation, 420 k parameters.

A child process is measured from outside: wall time from its start to its end, CPU time and memory of it and
its workers. It runs the production ServerApp, ClientApps and secure aggregation.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.results import Result

REPEATS = 3


def measure() -> list[Result]:
    """Best of three runs of the child."""
    runs = [_measure_once() for _ in range(REPEATS)]
    wall, cpu, peak_pss, peak_rss = (min(values) for values in zip(*runs, strict=True))
    return [
        Result("simulator.wall_s", wall, "s", "process start to end"),
        Result("simulator.cpu_s", cpu, "s", "all processes"),
        Result("simulator.peak_mb", peak_rss, "MB", "sum of resident sizes, all processes"),
        Result("simulator.peak_pss_mb", peak_pss, "MB", "shared pages counted once"),
    ]


def _measure_once() -> tuple[float, float, float, float]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    child = subprocess.Popen([sys.executable, "-m", "benchmarks.simulator"])
    peak_pss = peak_rss = 0.0
    while child.poll() is None:
        pss, rss = _memory(child.pid)
        peak_pss, peak_rss = max(peak_pss, pss), max(peak_rss, rss)
        time.sleep(0.02)
    if child.returncode:
        raise SystemExit(child.returncode)
    wall = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, peak_pss, peak_rss


def _memory(pid: int) -> tuple[float, float]:
    pss = rss = 0.0
    try:
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return 0.0, 0.0
    for process in processes:
        try:
            info = process.memory_full_info()
        except psutil.Error:
            continue
        pss, rss = pss + info.pss / 1e6, rss + info.rss / 1e6
    return pss, rss


def run_once() -> None:
    """What the child does."""
    from benchmarks.numpy_site import make_numpy_site
    from benchmarks.plans import bench_federation, write_catalogues
    from wardround_common.programs import stay_offline
    from wardround_server.observer import Silent
    from wardround_simulations.federation import run_study

    stay_offline()
    with tempfile.TemporaryDirectory() as folder:
        federation = bench_federation(Path(folder))
        write_catalogues(federation)
        outcome = run_study(federation, Silent(), factory=make_numpy_site)
    if outcome.paused or outcome.counts is None:
        raise SystemExit(f"the study did not end: {outcome.records[-1].void}")


if __name__ == "__main__":
    run_once()
