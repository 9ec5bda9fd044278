"""A deployment whose processes are killed and started again, and the schedule of the kills."""

from __future__ import annotations

import datetime
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
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
    {{ name = "alder", patients = 60 }},
    {{ name = "birch", patients = 60 }},
    {{ name = "cedar", patients = 60 }},
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
local_steps = 12
sample_rate = 0.3

[privacy]
target_epsilon = 5.0
target_delta = 1e-4

[evaluation]
epsilon = 5.0

[aggregation]
verify = "{verify}"
exchange_timeout_s = 120.0
"""


@dataclass(frozen=True)
class Kill:
    """One kill of the schedule."""

    study: str
    program: str
    point: str
    round: int
    who: str = ""

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
    trainer = ["train:begun", "train:middle", "train:late", "open:begun", "count:begun"]
    kills = []
    for program, points, per_round in (("job", job, 3), ("service", service, 3), ("site", site, 2)):
        draw.shuffle(points)
        for index, point in enumerate(points):
            who = draw.choice(NAMES) if program == "site" else ""
            kills.append(Kill(f"kill-{program}", program, point, 1 + index // per_round, who))
    for number, point in enumerate(trainer[:3], 1):
        kills.append(Kill("kill-trainer", "site", point, number, draw.choice(NAMES)))
    kills.append(Kill("kill-trainer", "site", "open:begun", 3, kills[-1].who))  # the child that comes after
    kills.append(Kill("kill-trainer", "site", "count:begun", 4, draw.choice(NAMES)))
    return kills


KILLS = schedule()
STUDIES = {
    study: max(k.round for k in KILLS if k.study == study) for study in dict.fromkeys(k.study for k in KILLS)
}
"""Rounds of each study, its evaluation included."""


@dataclass(kw_only=True, slots=True)
class Killed(Deployment):
    """A deployment that a supervisor keeps alive."""

    restarts: Counter = field(default_factory=Counter)
    ended: threading.Event = field(default_factory=threading.Event)
    keeper: threading.Thread | None = None

    def supervise(self) -> None:
        """Start service and sites again whenever they were killed."""
        self.keeper = threading.Thread(target=self._keep, daemon=True)
        self.keeper.start()

    def _keep(self) -> None:
        while not self.ended.wait(0.05):
            if self.service is not None and self.service.poll() == -signal.SIGKILL:
                self.restarts["service"] += 1
                self.service = self.start("wardround-coordinator", "run", self.coordinator)
            for name, process in list(self.sites.items()):
                if process.poll() == -signal.SIGKILL:
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


def found(out: Path) -> Killed:
    """A coordinator and three sites that joined and approved every study; nothing runs."""
    made = Killed(out=out, plan=out / "plan.toml", names=NAMES)
    made.found()
    made.start_service()
    try:
        for name in NAMES:
            join(made.home(name), read_code(invite(CoordinatorHome(made.coordinator), name)))
        for study, rounds in STUDIES.items():
            verify = "sum" if study in ("kill-job", "kill-site") else "full"
            made.plan.write_text(PLAN.format(study=study, rounds=rounds - 1, verify=verify))
            plan = bytes.fromhex(made.sign())
            for name in NAMES:
                shelved = Shelf(made.home(name)).find(plan.hex())
                images(name).save(shelved.catalogue, SiteHome(made.home(name)).site_key.data(plan))
                shelved.approve()
    finally:
        made.stop()
    for name in NAMES:
        made.ledger(name).shut()
    return made


def copy_of(template: Killed, out: Path, kills: list[Kill]) -> Killed:
    """A copy of a deployment, with a schedule; run it as its programs are started through the launcher."""
    shutil.copytree(template.out, out)
    (out / "faults" / "fired").mkdir(parents=True)
    plans = {study: _plan(template, study).hex() for study in STUDIES}
    entries = [vars(kill) | {"id": kill.id, "plan": plans[kill.study]} for kill in kills]
    (out / "faults" / "schedule.json").write_text(json.dumps(entries))
    (out / "coordinator" / "service.pid").unlink(missing_ok=True)
    return Killed(out=out, plan=out / "plan.toml", names=NAMES, launcher=LAUNCHER)


def run_all(made: Killed) -> Killed:
    """Run every study of a deployment, one after the other."""
    os.environ |= {"FAULTS": str(made.out / "faults"), "WARDROUND_DEBUG": "1"}
    try:
        made.start_service()
        for name in NAMES:
            made.start_site(name)
        made.wait_for_sites()
        made.supervise()
        for study in STUDIES:
            made.run_killed(study)
    finally:
        made.stop()
        del os.environ["FAULTS"], os.environ["WARDROUND_DEBUG"]
    return made


def fired(made: Killed) -> dict[str, float]:
    """When each kill happened that did."""
    return {
        path.name: json.loads(path.read_text())["time"] for path in (made.out / "faults" / "fired").iterdir()
    }


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
