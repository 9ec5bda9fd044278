"""Secure rounds of real processes with TLS on loopback, without training: ``make bench-round``.

A coordinator's service, its job and the sites' daemons run as they are deployed; only the trainer does
nothing. Beside them, stock Flower in one exchange (``stock``).
"""

from __future__ import annotations

import datetime
import itertools
import json
import re
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

import benchmarks.models
from benchmarks import stock
from benchmarks.launch import COUNTS
from benchmarks.results import Result, publish
from wardround_client.catalogue import Catalogue, Row
from wardround_client.home import SiteHome
from wardround_client.join import join
from wardround_client.shelf import Shelf
from wardround_common.canonical import digest
from wardround_common.enrolment import read_code
from wardround_server.enrolment import invite
from wardround_server.home import CoordinatorHome
from wardround_simulations.deployed import Deployment, deployment

STUDY = "bench"
PLAN = """
study = "bench"
title = "Benchmark"
purpose = "Times everything but training."
labels = ["normal", "nodule"]
rounds = {rounds}
expires = "2099-12-31"
sites = [
{sites}
]

[task]
name = "classification"

[input]
modality = "CT"
size_px = 16
spacing_mm = 1.0
window = "fixed"
window_center = 0.0
window_width = 1.0

[model]
name = "{model}"

[recipe]
learning_rate = 1.0
local_steps = 1
sample_rate = 0.5

[privacy]
target_epsilon = 8.0
target_delta = 1e-4
"""
NAMES = tuple(f"hospital-{letter}" for letter in "abcdefghijklmnopqrst")
EXCHANGES = 6
IDLE_S = 10.0
assert benchmarks.models.SIZES


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one deployment gave."""

    round_s: float
    requests: float
    """Per exchange, all sites together."""
    service_cpu_s: float
    """Per round."""
    job_cpu_s: float
    site_cpu_s: float
    """Per round and site."""
    memory_mb: dict[str, float]
    idle_site_percent: float
    idle_service_percent: float


def deployed(sites: int, *, model: str = "bench", rounds: int = 8) -> Measured:
    """Run a study of ``rounds`` rounds at ``sites`` sites."""
    with tempfile.TemporaryDirectory() as folder:
        names, out = NAMES[:sites], Path(folder)
        text = "\n".join(f'    {{ name = "{name}", patients = 100 }},' for name in names)
        (out / "plan.toml").write_text(PLAN.format(rounds=rounds, model=model, sites=text))
        launcher = (sys.executable, "-m", "benchmarks.launch")
        with deployment(out, out / "plan.toml", names=names, launcher=launcher) as made:
            _set_up(made)
            return _measure(made, rounds)


def _set_up(made: Deployment) -> None:
    made.found()
    made.start_service()
    for name in made.names:
        code = invite(CoordinatorHome(made.coordinator), name)
        join(made.home(name), read_code(code))
    plan = made.sign(STUDY)
    for name in made.names:
        found = Shelf(made.home(name)).find(plan)
        _images(name).save(found.catalogue, SiteHome(made.home(name)).site_key.data(bytes.fromhex(plan)))
        found.approve()
        made.start_site(name)
    made.wait_for_sites()


def _measure(made: Deployment, rounds: int) -> Measured:
    service = psutil.Process(made.service.pid)
    sites = [psutil.Process(site.pid) for site in made.sites.values()]
    time.sleep(1.0)
    before, at_service, at_sites = _requests(made), _cpu(service), sum(map(_cpu, sites))
    job = made.start("wardround-coordinator", "study", "run", made.coordinator, STUDY)
    watched, peak_mb = psutil.Process(job.pid), 0.0
    job_cpu = 0.0
    while job.poll() is None:
        try:
            job_cpu, peak_mb = _cpu(watched), max(peak_mb, watched.memory_full_info().uss / 1e6)
        except psutil.Error:
            break
        time.sleep(0.1)
    if job.wait():
        raise SystemExit((made.out / f"wardround-coordinator-{STUDY}.out").read_text())
    requests = _requests(made) - before
    used = [_cpu(service) - at_service, sum(map(_cpu, sites)) - at_sites]
    memory = {"service": service.memory_full_info().uss / 1e6, "job": peak_mb}
    memory["site"] = max(site.memory_full_info().uss for site in sites) / 1e6
    idle = _idle([service, *sites])
    return Measured(
        round_s=_round_s(made),
        requests=requests / rounds / EXCHANGES,
        service_cpu_s=used[0] / rounds,
        job_cpu_s=job_cpu / rounds,
        site_cpu_s=used[1] / rounds / len(sites),
        memory_mb=memory,
        idle_site_percent=statistics.mean(idle[1:]),
        idle_service_percent=idle[0] / len(sites),
    )


def _idle(processes: list[psutil.Process]) -> list[float]:
    """Per cent of a core that each uses while nothing happens."""
    time.sleep(2.0)
    before = [_cpu(one) for one in processes]
    time.sleep(IDLE_S)
    return [100 * (_cpu(one) - then) / IDLE_S for one, then in zip(processes, before, strict=True)]


def _round_s(made: Deployment) -> float:
    """Median time from the end of one TRAIN round to the end of the next, or of the one there is."""
    lines = (CoordinatorHome(made.coordinator).study(STUDY) / "log.jsonl").read_text().splitlines()
    events = [line for line in map(json.loads, lines) if line["event"] == "round.ended"]
    if any(line["status"] != "accepted" for line in events):
        raise SystemExit(f"a round failed: {events}")
    rounds = [line for line in events if line["kind"] == "train"]
    ends = [datetime.datetime.fromisoformat(line["time"]) for line in rounds]
    gaps = [(b - a).total_seconds() for a, b in itertools.pairwise(ends)]
    return statistics.median(gaps or [float(rounds[0]["seconds"])])


def _requests(made: Deployment) -> int:
    path = made.coordinator / COUNTS
    path.unlink(missing_ok=True)
    made.service.send_signal(signal.SIGUSR1)
    while not path.is_file() or not re.search(r"}\s*$", path.read_text()):
        time.sleep(0.02)
    counts = json.loads(path.read_text())
    return sum(counts.values())


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _images(site: str) -> Catalogue:
    rng = np.random.default_rng(list(site.encode()))
    return Catalogue.of(
        Row(
            patient_key=digest("bench patient", site.encode(), bytes([i])),
            scan_key=digest("bench scan", site.encode(), bytes([i])),
            label=i % 2,
            image_CHW=rng.random((1, 16, 16), dtype=np.float32),
        )
        for i in range(50)
    )


def measure() -> list[Result]:
    """Three and ten sites, and a large model; stock Flower."""
    results = []
    for n in (3, 10):
        got = deployed(n)
        results += _table(f"n{n}", got)
        if n == 3:
            results.append(Result("round.idle_site_cpu_percent", got.idle_site_percent, "%"))
            results.append(
                Result("round.idle_service_cpu_percent", got.idle_service_percent, "%", "per site")
            )
    large = deployed(3, model="bench-44mb", rounds=3)
    results.append(Result("round.44mb_s", large.round_s, "s", "3 sites, 11 M parameters"))
    results += stock.measure()
    seconds = {result.name: result.value for result in results}
    ratio = seconds["stock.n3_exchange_s"] / (seconds["round.n3_s"] / EXCHANGES)
    note = "per exchange, 3 sites; each of Flower's uploads the vector, one of our six does"
    return [*results, Result("round.flower_over_ours", ratio, "x", note)]


def _table(n: str, got: Measured) -> list[Result]:
    return [
        Result(f"round.{n}_s", got.round_s, "s", "420 k parameters, TLS, no training"),
        Result(f"round.{n}_requests_per_exchange", got.requests, "", "all parties"),
        Result(f"round.{n}_service_cpu_ms_per_exchange", 1e3 * got.service_cpu_s / EXCHANGES, "ms"),
        Result(f"round.{n}_job_cpu_ms_per_exchange", 1e3 * got.job_cpu_s / EXCHANGES, "ms"),
        Result(f"round.{n}_site_cpu_ms_per_exchange", 1e3 * got.site_cpu_s / EXCHANGES, "ms", "each"),
        *(Result(f"round.{n}_{who}_mb", mb, "MB", "own memory") for who, mb in got.memory_mb.items()),
    ]


if __name__ == "__main__":
    publish("round", measure() if not sys.argv[1:] else _table("n" + sys.argv[1], deployed(int(sys.argv[1]))))
