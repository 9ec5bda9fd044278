"""A deployment whose processes are killed or stopped in the middle, and the schedules of that."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from fault_launcher import EXCHANGES

from wardround_client.catalogue import Catalogue, Row
from wardround_client.home import SiteHome
from wardround_client.join import join
from wardround_client.ledger import Ledger
from wardround_client.shelf import Shelf
from wardround_client.site import open_ledger
from wardround_common.canonical import digest
from wardround_common.enrolment import read_code
from wardround_common.trust import open_plan, plan_digest
from wardround_server.enrolment import invite
from wardround_server.home import CoordinatorHome
from wardround_server.journal import Journal
from wardround_simulations.deployed import Deployment

NAMES = ("alder", "birch", "cedar")
LAUNCHER = (sys.executable, str(Path(__file__).with_name("fault_launcher.py")))
SEED = 6
PATIENCE_S = 240.0
PLAN = """
study = "{study}"
title = "Kills"
purpose = "Tests what a kill -9 costs."
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
size_px = 32
spacing_mm = 1.0
window = "fixed"
window_center = 0.0
window_width = 1.0

[model]
name = "scatter"

[recipe]
learning_rate = 1.0
local_steps = 60
sample_rate = 0.3

[privacy]
target_epsilon = 5.0
target_delta = 1e-4

[evaluation]
epsilon = 5.0

[aggregation]
minimum_cohort = {minimum}
verify = "{verify}"
exchange_timeout_s = {timeout_s}
"""


@dataclass(frozen=True)
class Planned:
    """A study: how many rounds, its evaluation included."""

    study: str
    rounds: int
    minimum: int
    verify: str = "full"
    timeout_s: float = 120.0

    def toml(self, names) -> str:
        """The plan."""
        sites = "\n".join(f'    {{ name = "{name}", patients = 60 }},' for name in names)
        fields = vars(self) | {"rounds": self.rounds - 1, "sites": sites}
        return PLAN.format(**fields)


@dataclass(frozen=True)
class Kill:
    """One signal of a schedule; most kill."""

    study: str
    program: str
    point: str
    round: int
    who: str = ""
    signal: int = signal.SIGKILL

    @property
    def id(self) -> str:
        """Its name."""
        return f"{self.study}-{self.round}-{self.point.replace(':', '.')}"


def schedule() -> list[Kill]:
    """Every kill: which program, at which point of which round; the sites are drawn from a seed."""
    draw = random.Random(SEED)
    job = [f"{e}:{p}" for e in EXCHANGES for p in ("sent", "one_taken", "all_taken")]
    job += ["end:asked", "end:written"]
    service = [f"{e}:{p}" for e in EXCHANGES for p in ("asked", "asked_kept", "answered", "answered_kept")]
    site = [f"{e}:{p}" for e in EXCHANGES for p in ("asked", "answered")] + ["spent", "computed", "noted"]
    trainer = ["train:sent", "train:begun", "train:late"]
    kills = []
    for program, points, per_round in (("job", job, 3), ("service", service, 3), ("site", site, 2)):
        draw.shuffle(points)
        for index, point in enumerate(points):
            who = draw.choice(NAMES) if program == "site" else ""
            kills.append(Kill(f"kill-{program}", program, point, 1 + index // per_round, who))
    for number, point in enumerate(trainer, 1):
        kills.append(Kill("kill-trainer", "site", point, number, draw.choice(NAMES)))
    kills.append(Kill("kill-trainer", "site", "open:sent", 3, kills[-1].who))  # the child that comes after
    kills.append(Kill("kill-trainer", "site", "count:sent", 4, draw.choice(NAMES)))
    return kills


KILLS = schedule()
STUDIES = [
    Planned(
        study,
        rounds=max(kill.round for kill in KILLS if kill.study == study),
        minimum=len(NAMES),
        verify="sum" if study in ("kill-job", "kill-site") else "full",
    )
    for study in dict.fromkeys(kill.study for kill in KILLS)
]


@dataclass(kw_only=True, slots=True)
class Killed(Deployment):
    """A deployment that a supervisor keeps alive; what is ``held`` it does not start again."""

    studies: list[Planned] = field(default_factory=list)
    restarts: Counter = field(default_factory=Counter)
    held: set[str] = field(default_factory=set)
    ended: threading.Event = field(default_factory=threading.Event)
    keeper: threading.Thread | None = None

    def supervise(self) -> None:
        """Start service and sites again whenever they were killed."""
        self.keeper = threading.Thread(target=self._keep, daemon=True)
        self.keeper.start()

    def _keep(self) -> None:
        while not self.ended.wait(0.05):
            if _was_killed(self.service) and "service" not in self.held:
                self.restarts["service"] += 1
                self.service = self.start("wardround-coordinator", "run", self.coordinator)
            for name, process in list(self.sites.items()):
                if _was_killed(process) and name not in self.held:
                    self.restarts[name] += 1
                    self.start_site(name)

    def run_killed(self, study: str) -> None:
        """Run a study to its end, its job started again whenever it was killed."""
        while True:
            job = self.start("wardround-coordinator", "study", "run", self.coordinator, study)
            try:
                status = job.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                job.kill()
                raise AssertionError(f"{study} does not end: {self.said(study)}") from None
            if status != -signal.SIGKILL:
                break
            self.restarts["job"] += 1
        assert status == 0, self.said(study)

    def said(self, study: str) -> str:
        """What the job printed last."""
        return (self.out / f"wardround-coordinator-{study}.out").read_text()[-2000:]

    def stop(self) -> None:
        """End everything."""
        self.ended.set()
        if self.keeper is not None:
            self.keeper.join()
        Deployment.stop(self)

    @contextlib.contextmanager
    def running(self):
        """Service and sites run, and are kept alive."""
        os.environ |= {"FAULTS": str(self.out / "faults"), "WARDROUND_DEBUG": "1"}
        try:
            self.start_service()
            for name in self.names:
                self.start_site(name)
            self.wait_for_sites()
            self.supervise()
            yield self
        finally:
            self.stop()
            del os.environ["FAULTS"], os.environ["WARDROUND_DEBUG"]

    def ends(self, study: str) -> dict[int, bytes | None]:
        """What each round led to."""
        plan = _plan(self, study)
        journal = Journal(CoordinatorHome(self.coordinator).study(study) / "journal.sqlite", plan=plan)
        try:
            return {row.number: row.next for row in journal.rounds()}
        finally:
            journal.close()

    def model(self, study: str) -> bytes:
        """The released model."""
        return (CoordinatorHome(self.coordinator).study(study) / "report" / "model.safetensors").read_bytes()

    def ledger(self, name: str) -> Ledger:
        """A site's ledger, which is not in use."""
        return open_ledger(self.home(name), policy=SiteHome(self.home(name)).config.policy)


def found(out: Path, studies: list[Planned], names: tuple[str, ...] = NAMES) -> Killed:
    """A coordinator and sites that joined and approved every study; nothing runs."""
    made = Killed(out=out, plan=out / "plan.toml", names=names, studies=studies)
    made.found()
    made.start_service()
    try:
        for name in names:
            join(made.home(name), read_code(invite(CoordinatorHome(made.coordinator), name)))
            config = made.home(name) / "site.toml"
            config.write_text("heartbeat_s = 10\n" + config.read_text())
        for planned in studies:
            made.plan.write_text(planned.toml(names))
            plan = bytes.fromhex(made.sign(planned.study))
            for name in names:
                shelved = Shelf(made.home(name)).find(plan.hex())
                images(name).save(shelved.catalogue, SiteHome(made.home(name)).site_key.data(plan))
                shelved.approve()
    finally:
        made.stop()
    for name in names:
        made.ledger(name).shut()
    return made


def copy_of(template: Killed, out: Path, kills: list[Kill]) -> Killed:
    """A copy of a deployment with a schedule, whose programs start through the launcher."""
    shutil.copytree(template.out, out)
    (out / "faults" / "fired").mkdir(parents=True)
    plans = {planned.study: _plan(template, planned.study).hex() for planned in template.studies}
    entries = [vars(kill) | {"id": kill.id, "plan": plans[kill.study]} for kill in kills]
    (out / "faults" / "schedule.json").write_text(json.dumps(entries))
    (out / "coordinator" / "service.pid").unlink(missing_ok=True)
    return Killed(
        out=out, plan=out / "plan.toml", names=template.names, studies=template.studies, launcher=LAUNCHER
    )


def run_all(made: Killed) -> Killed:
    """Run every study of a deployment, one after the other."""
    with made.running():
        for planned in made.studies:
            made.run_killed(planned.study)
    return made


def fire_of(made: Killed, kill: Kill) -> int:
    """Wait until it happens; returns the process that it happened to."""
    path = made.out / "faults" / "fired" / kill.id
    deadline = time.monotonic() + PATIENCE_S
    while not path.is_file() or not path.read_bytes():
        assert time.monotonic() < deadline, f"{kill.id} does not happen"
        time.sleep(0.05)
    return json.loads(path.read_text())["pid"]


def fired(made: Killed) -> dict[str, float]:
    """When each kill happened that did."""
    return {
        path.name: json.loads(path.read_text())["time"] for path in (made.out / "faults" / "fired").iterdir()
    }


def _was_killed(process) -> bool:
    return process is not None and process.poll() == -signal.SIGKILL


def images(site: str) -> Catalogue:
    """Sixty patients with one image each."""
    rng = np.random.default_rng(list(site.encode()))
    rows = []
    for i in range(60):
        image = rng.random((1, 32, 32), dtype=np.float32) * 0.5
        image[0, 8:16, 8:16] += 0.4 * (i % 2)
        key = digest("killed patient", site.encode(), bytes([i]))
        rows.append(Row(patient_key=key, scan_key=digest("scan", key), label=i % 2, image_CHW=image))
    return Catalogue.of(rows)


def _plan(made: Killed, study: str) -> bytes:
    signed = (CoordinatorHome(made.coordinator).study(study) / "plan").read_bytes()
    return plan_digest(open_plan(signed, today=datetime.date.today()))
