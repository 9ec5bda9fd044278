"""The site's daemon: the guard with what a person approved, on the line to the coordinator.

Rules:

* One daemon per folder (a lock).
* What is approved or refused while it runs is taken up before the next message.
* Images and torch are in a child process (``training``); what breaks there does not break the line.
* A pause ends that process at once, whatever it does; while it lasts there is none, and plans wait.
* It listens nowhere.

Not here: the line (``link``), the guard (``site``).

Privacy: as ``site``; ``status.json`` says whether the line stands, and nothing about patients.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from wardround_client.app import make_client_app
from wardround_client.home import STATUS, SiteHome
from wardround_client.link import Link
from wardround_client.pausing import Pause
from wardround_client.renewal import Renewer
from wardround_client.shelf import Shelf
from wardround_client.site import Site
from wardround_client.training import STOPPED, TrainerProcess, Trainers
from wardround_common.errors import WardroundError
from wardround_common.files import OWNER_ONLY, write
from wardround_common.locks import alone
from wardround_common.logs import event, log_to
from wardround_common.messages import Packet
from wardround_common.trust import plan_digest

LOOK_S = 0.2
"""Between two looks at whether a person has paused the site."""


def make_site(home: SiteHome) -> Site:
    """The site of a folder, with the operating system's randomness."""
    config = home.config
    return Site(home.path, signer=home.signer, key=home.site_key, policy=config.policy, flags=config.machine)


def run_site(
    home: SiteHome,
    *,
    make: Callable[[SiteHome], Site] = make_site,
    trainers: Callable[[], Trainers] = TrainerProcess,
) -> None:
    """Run until SIGTERM or SIGINT.

    Args:
        home: The site's folder.
        make: Makes the guard; another one is for tests and benchmarks.
        trainers: Makes what trains; likewise.

    Raises:
        StorageError: ``site.busy``: the daemon runs already.
        WardroundError: A key, a certificate or a database cannot be used.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with alone(home.path, "the daemon", code="site.busy"):
        log_to(home.path / "log.jsonl")
        if home.config.proxy:
            os.environ["HTTPS_PROXY"] = os.environ["https_proxy"] = home.config.proxy
        site, training = make(home), trainers()
        try:
            switch = _Switch(home.path, training)
            with switch.watched():
                approvals = _Approvals(home, site, training, switch)
                app = make_client_app(approvals.handle)
                keys = home.line
                link = Link(
                    keys,
                    app,
                    told=_Status(home.path).tell,
                    look=approvals.take_up,
                    renew=Renewer(keys).look,
                )
                link.run(stop)
        finally:
            training.close()
            site.close()


class _Switch:
    """Has training follow the kill switch, also while a message is worked on."""

    def __init__(self, home: Path, training: Trainers) -> None:
        self._pause = Pause(home)
        self._training = training
        self._paused = False
        self._lock = threading.Lock()
        self.follow()

    def follow(self) -> None:
        """Stop training if the site is paused by now, and let it begin again if it is not."""
        with self._lock:
            paused = self._pause.since is not None
            if paused == self._paused:
                return
            self._paused = paused
            if paused:
                self._training.stop()
            else:
                self._training.start()
        event("training.stopped" if paused else "training.allowed")

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Follow it by itself during the block."""
        ended = threading.Event()
        thread = threading.Thread(target=self._watch, args=(ended,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _watch(self, ended: threading.Event) -> None:
        while not ended.wait(LOOK_S):
            self.follow()


class _Approvals:
    """The guard with what a person decided by now."""

    def __init__(self, home: SiteHome, site: Site, training: Trainers, switch: _Switch) -> None:
        self._shelf = Shelf(home.path)
        self._config = home.config
        self._key = home.site_key
        self._site = site
        self._training = training
        self._switch = switch
        self._seen: dict[str, bytes] = {}
        self._again: set[str] = set()
        self.take_up()

    def handle(self, request: Packet | None) -> Packet:
        """Answer a request (``Site.handle``) by what is decided when it is looked at."""
        self._again.clear()
        self.take_up()
        return self._site.handle(request)

    def take_up(self) -> None:
        """Follow switch and shelf.

        What is not acceptable is logged and left. What may be acceptable later, a trainer without memory, is
        tried again before the next message; what a pause kept from being read, once it has ended.
        """
        self._switch.follow()
        approved = self._shelf.approved()
        for folder in sorted(self._seen.keys() - approved):
            plan = self._seen.pop(folder)
            self._site.withdraw(plan)
            self._training.forget(plan)
        for folder in sorted(approved - self._seen.keys() - self._again):
            try:
                self._seen[folder] = self._approve(folder)
            except WardroundError as error:
                self._failed(folder, error)

    def _approve(self, folder: str) -> bytes:
        """Read the images of an approved plan, and approve it at the guard; returns its digest."""
        found = self._shelf.find(folder)
        plan = plan_digest(found.plan)
        census, trainer = self._training.study(
            plan,
            signed=found.signed,
            site=self._config.name,
            catalogue=found.catalogue,
            sealer=self._key.data(plan),
            flags=self._config.machine,
        )
        try:
            self._site.take_up(found.signed, census, trainer)
        except WardroundError:
            self._training.forget(plan)
            raise
        return plan

    def _failed(self, folder: str, error: WardroundError) -> None:
        if error.code == STOPPED:
            return
        if error.retryable:
            self._again.add(folder)
        else:
            self._seen[folder] = b""
        event("plan.refused", level=logging.WARNING, plan=folder, code=error.code)


class _Status:
    """Says in a file whether the line stands."""

    def __init__(self, home: Path) -> None:
        self._path = home / STATUS

    def tell(self, state: str, why: str, clock_s: int) -> None:
        """Write it; ``clock_s``: by how much this machine's clock is ahead, where that is what is wrong."""
        said = {"state": state, "code": why, "clock_s": clock_s}
        said |= {"pid": os.getpid(), "since": round(time.time())}
        write(self._path, json.dumps(said).encode(), mode=OWNER_ONLY)
