"""``wardround-sim demo-deployed``: a whole deployment as processes on this machine's loopback.

Authority, coordinator, job and three sites are the installed programs, each in a process of its own, with
keys and secrets from the operating system. The patients are phantoms; nothing else is played.

Not here: a simulation (``run``), which plays everybody in one program and knows exact figures.

Rules:

* Only command lines of the programs are used, as people would type them.
* Every process that was started is ended.

Privacy: the folders of the hospitals lie beside each other, which a deployment's do not.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from wardround_common.errors import ConfigError, TransportError
from wardround_simulations.folders import open_run
from wardround_simulations.live import Screen
from wardround_simulations.phantoms import write_phantoms

PATIENCE_S = 60.0
HOSPITALS = ("alder", "birch", "cedar")
STUDY = "demo-deployed"


@dataclass(kw_only=True, slots=True)
class Deployment:
    """A deployment in a folder.

    Attributes:
        out: The folder.
        plan: The plan as TOML.
        names: The hospitals.
        launcher: What starts a program, its name and words following; empty: the program itself.
        service: The coordinator's service, once it runs.
        sites: The daemons, once they run.
    """

    out: Path
    plan: Path
    names: tuple[str, ...] = HOSPITALS
    launcher: tuple[str, ...] = ()
    service: subprocess.Popen[bytes] | None = None
    sites: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def coordinator(self) -> Path:
        """The coordinator's folder."""
        return self.out / "coordinator"

    def home(self, site: str) -> Path:
        """A site's folder."""
        return self.out / "sites" / site

    def found(self) -> None:
        """Authority, lead and coordinator make their keys."""
        ports = free_ports(3)
        options = [f"--port={ports[0]}", f"--enrol-port={ports[1]}", f"--runtime-port={ports[2]}"]
        self.call("wardround-authority", "init", self.out / "authority", "--no-passphrase")
        self.call("wardround-coordinator", "init", self.coordinator, "--host=127.0.0.1", *options)
        self.call("wardround-coordinator", "study", "lead", self.out / "lead")

    def start_service(self) -> None:
        """Start the coordinator's service."""
        self.service = self.start("wardround-coordinator", "run", self.coordinator)
        self.wait_for("the service", self.service, (self.coordinator / "service.pid").is_file)

    def enrol(self, site: str) -> None:
        """A site joins."""
        code = self.call("wardround-coordinator", "enrol", self.coordinator, site).strip()
        self.call("wardround-site", "join", self.home(site), code)

    def sign(self, study: str = STUDY) -> str:
        """Authority and lead sign, and the study of the plan is opened; returns the plan's digest."""
        roster, signed = self.out / "roster", self.out / "plan.signed"
        public = self.out / "authority" / "authority.pub"
        cards = [self.home(site) / "card" for site in self.names]
        self.call(
            *("wardround-authority", "sign-roster", self.out / "authority", *cards, "--out", roster),
            *("--coordinator", self.coordinator / "card", "--lead", self.out / "lead" / "card", "--yes"),
        )
        self.call("wardround-coordinator", "roster", self.coordinator, roster, "--authority", public)
        self.call(
            *("wardround-coordinator", "study", "sign", self.plan, "--lead", self.out / "lead"),
            *("--authority", public, "--out", signed),
        )
        self.call("wardround-coordinator", "study", "new", self.coordinator, signed)
        self.call("wardround-coordinator", "study", "open", self.coordinator, study)
        digests = {
            self.call("wardround-site", "plan", "add", self.home(site), signed).strip() for site in self.names
        }
        return digests.pop()

    def read(self, site: str, digest: str, scans: Path, *, workers: int) -> None:
        """A site reads its images, and a person there approves the plan."""
        home = self.home(site)
        options = ("--plan", digest, f"--workers={workers}")
        self.call("wardround-site", "data", "add", home, scans, *options)
        self.call("wardround-site", "plan", "approve", home, digest)

    def start_site(self, site: str) -> None:
        """Start a site's daemon."""
        self.sites[site] = self.start("wardround-site", "run", self.home(site))

    def wait_for_sites(self) -> None:
        """Until every daemon's line stands."""
        for site, process in self.sites.items():
            self.wait_for(site, process, partial(_online, self.home(site) / "status.json"))

    def run_study(self, study: str = STUDY, *, shown: bool = False) -> Path:
        """Run a study in a process of its own; returns the path of the report."""
        command = ("wardround-coordinator", "study", "run", self.coordinator, study)
        return Path(self.call(*command, shown=shown).strip())

    def stop(self) -> None:
        """End every process that was started."""
        for process in (*self.sites.values(), self.service):
            if process is not None and process.poll() is None:
                process.terminate()
        for process in (*self.sites.values(), self.service):
            if process is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(PATIENCE_S)
                process.kill()
                process.wait()

    def call(self, program: object, *words: object, shown: bool = False) -> str:
        """Run a program to its end.

        Raises:
            ConfigError: ``deployed.failed``, with what it said.
        """
        done = subprocess.run(
            self._command(program, words),
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if shown else subprocess.PIPE,
            check=False,
        )
        if done.returncode != 0:
            said = (done.stderr or b"").decode(errors="replace").strip()
            raise ConfigError(
                f"{program} {' '.join(map(str, words[:2]))} failed: {said or done.returncode}",
                remedy=f"Look into the folders in {self.out}.",
                code="deployed.failed",
            )
        return done.stdout.decode()

    def start(self, program: str, *words: object) -> subprocess.Popen[bytes]:
        """Start a program that runs until it is ended; what it says goes to a file."""
        log = self.out / f"{program}-{Path(str(words[-1])).name}.out"
        with log.open("wb") as out:
            return subprocess.Popen(
                self._command(program, words),
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def wait_for(self, who: str, process: subprocess.Popen[bytes], there: Callable[[], bool]) -> None:
        """Until ``there`` is true.

        Raises:
            TransportError: ``deployed.silent``.
        """
        deadline = time.monotonic() + PATIENCE_S
        while not there():
            if process.poll() is not None or time.monotonic() > deadline:
                raise TransportError(
                    f"{who} did not come up",
                    remedy=f"Look into {self.out}/*.out.",
                    code="deployed.silent",
                )
            time.sleep(0.05)

    def _command(self, program: object, words: Sequence[object]) -> list[str]:
        alone = [str(Path(sys.executable).with_name(str(program)))]
        return [*([*self.launcher, str(program)] if self.launcher else alone), *map(str, words)]

    def _environment(self) -> dict[str, str]:
        return os.environ | {
            "OMP_NUM_THREADS": "1",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "FLWR_HOME": str(self.out / "flower"),
        }


@contextlib.contextmanager
def deployment(
    out: Path, plan: Path, *, names: tuple[str, ...] = HOSPITALS, launcher: tuple[str, ...] = ()
) -> Iterator[Deployment]:
    """A deployment whose processes end with the block (``Deployment`` has the arguments)."""
    made = Deployment(out=out, plan=plan, names=names, launcher=launcher)
    try:
        yield made
    finally:
        made.stop()


def run_demo(plan: Path, *, out: Path, scale: float, workers: int) -> Path:
    """Deploy on loopback, run the study, and report.

    Args:
        plan: The plan as TOML.
        out: Folder for everything; replaced.
        scale: Factor on the number of phantom patients.
        workers: Processes that write and read images, and sites that do so at a time.

    Returns:
        The path of the report.
    """
    open_run(out, replace=True)
    with Screen() as screen, deployment(out, plan) as made:
        with screen.stage("phantom hospitals") as progress:
            write_phantoms(out / "phantoms", seed=7, scale=scale, progress=progress, workers=workers)
        with screen.stage("authority, lead, coordinator", total=1):
            made.found()
            made.start_service()
        with screen.stage("sites join", total=1):
            _each(made.enrol, workers)
            digest = made.sign()
        with screen.stage("sites read and approve", total=1):
            _each(lambda site: made.read(site, digest, out / "phantoms" / site, workers=1), workers)
        with screen.stage("daemons", total=1):
            for site in HOSPITALS:
                made.start_site(site)
            made.wait_for_sites()
        with screen.stage("study", total=1):
            return made.run_study()


def _each(act: Callable[[str], None], workers: int) -> None:
    """Every hospital does something, ``workers`` of them at a time."""
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(act, HOSPITALS))


def _online(status: Path) -> bool:
    return status.is_file() and b'"online"' in status.read_bytes()


def free_ports(count: int) -> list[int]:
    """Ports on loopback that are free now."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in found]
