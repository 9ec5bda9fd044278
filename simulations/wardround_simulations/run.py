"""What ``wardround-sim run``, ``demo`` and ``demo-gan`` do, from the first folder to the path of the report.

Privacy: see ``federation`` and ``folders``.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from wardround_client.ingest import ingest
from wardround_client.sealing import SiteKey
from wardround_common.accounting import training_epsilon
from wardround_common.errors import ConfigError
from wardround_common.logs import close_log, log_to
from wardround_server.report import write_model_card, write_release, write_report
from wardround_simulations.federation import Federation, consent, read_sites, run_study, settle
from wardround_simulations.folders import open_run, show_newest, study_folder
from wardround_simulations.grid import Wire, unchanged
from wardround_simulations.held_out import HeldOut, everybody
from wardround_simulations.live import Screen
from wardround_simulations.results import Run, build_report
from wardround_simulations.scenario import load_scenario
from wardround_simulations.tasks import judge_of
from wardround_simulations.tasks.interface import Trial


class _Clock:
    """Wall time by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time inside to ``name``."""
        began = time.monotonic()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began


def scenario_path(name: str) -> Path:
    """A scenario that comes with the package.

    Raises:
        ConfigError: There is none of that name.
    """
    here = Path(__file__).parent
    for folder in (here / "scenarios", here.parent / "scenarios"):
        if (path := folder / f"{name}.toml").is_file():
            return path
    raise ConfigError(
        f"no scenario named '{name}' is installed",
        remedy="Install the package again.",
        code="config.no_scenario",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One study on folders of scans.

    Attributes:
        federation: The scenario, and where results go.
        sites: Folder with one folder per site.
        test: A public test set, or None.
        command: The command line, for the report.
        wire: Carries the messages between the coordinator and the sites.
    """

    federation: Federation
    sites: Path
    test: Path | None
    command: str
    wire: Wire = unchanged


def run_demo(name: str, *, scale: float, out: Path, workers: int, command: str) -> Path:
    """Write the phantom hospitals, run a demo's study on them, and report.

    Args:
        name: Its scenario.
        scale: Factor on the number of phantom patients.
        out: Folder for the results; replaced.
        workers: Processes.
        command: The command line, for the report.

    Returns:
        The path of the report.
    """
    from wardround_simulations.phantoms import write_phantoms

    scenario = load_scenario(scenario_path(name))
    open_run(out, replace=True)
    clock, sites = _Clock(), out / "phantoms"
    federation = Federation(scenario=scenario, out=out, workers=workers)
    with Screen() as screen:
        with clock.stage("phantoms"), screen.stage("phantom hospitals") as progress:
            write_phantoms(
                sites,
                seed=scenario.simulation.seed,
                scale=scale,
                progress=progress,
                workers=max(1, workers),
            )
        return _run(Job(federation=federation, sites=sites, test=None, command=command), screen, clock)


def run_scenario(job: Job) -> Path:
    """Run a scenario on folders of scans.

    Returns:
        The path of the report.
    """
    open_run(job.federation.out, replace=False)
    with Screen() as screen:
        return _run(job, screen, _Clock())


def _run(job: Job, screen: Screen, clock: _Clock) -> Path:
    federation = job.federation
    plan, out = federation.plan, federation.out
    folder = study_folder(out, plan.study)
    handler = log_to(out / "log.jsonl")
    try:
        consent(federation)
        with clock.stage("ingest"):
            data = read_sites(federation, job.sites, screen)
            external = _external(job, screen)
        folder.mkdir(parents=True)
        catalogues = {site: read.catalogue for site, read in data.items()}
        view = screen.study(plan, epsilon=partial(training_epsilon, plan))
        judge = judge_of(Trial(federation=federation, catalogues=catalogues, external=external))
        with clock.stage("federation"):
            outcome = run_study(federation, judge.watch(view), wire=job.wire)
        with clock.stage("comparison"):
            results = judge.results(outcome, screen)
        with clock.stage("report"), screen.stage("report", total=1):
            result = Run(
                federation=federation,
                outcome=outcome,
                data=data,
                costs=settle(federation),
                results=results,
                learning=judge.learning(),
                seconds=clock.seconds,
                command=job.command,
            )
            _write(result, folder)
        return show_newest(out, folder)
    finally:
        close_log(handler)


def _write(run: Run, folder: Path) -> None:
    """The report; the model and its card only where enough sites accepted it."""
    report = build_report(run)
    write_report(report, folder)
    if run.outcome.releasable:
        write_model_card(report, folder)
        write_release(run.federation.plan, run.outcome.state.average, folder)


def _external(job: Job, screen: Screen) -> HeldOut | None:
    """The public test set; what is derived from it is not kept."""
    if job.test is None:
        return None
    plan = job.federation.plan
    with tempfile.TemporaryDirectory() as store, screen.stage("reading the test set") as progress:
        read = ingest(
            job.test,
            store=Path(store) / "data",
            sealer=SiteKey.new().data(b""),
            input_plan=plan.input,
            labels=plan.labels,
            site_secret=job.federation.scenario.secrets.site_secret("test set"),
            progress=progress,
            workers=max(1, job.federation.workers),
        )
    return everybody(read.catalogue, "test set")
