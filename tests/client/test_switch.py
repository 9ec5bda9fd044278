"""The kill switch and what trains: a pause ends the child at once, and costs nothing but time."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from functools import partial

import numpy as np
import psutil
import pytest
from homes import Daemon, DeployedHospitals, TrainersHere, until, wardround_site
from hospitals import SECRETS

from wardround_client.daemon import _Approvals, _Switch
from wardround_client.home import SiteHome
from wardround_client.site import Site
from wardround_client.tasks import load_task
from wardround_client.training import TrainerProcess
from wardround_common.errors import TrainerError, WardroundError
from wardround_common.plan import PrivacyPlan, RecipePlan

SITE = "birch"
LONG = {
    "recipe": RecipePlan(learning_rate=1.0, local_steps=400, sample_rate=0.9),
    "privacy": PrivacyPlan(target_epsilon=8.0, target_delta=1e-4, noise_multiplier=100.0),
    "rounds": 1,
}


class Alike(DeployedHospitals):
    """Two of these do the same: their randomness is the tests'; one site trains for real."""

    def _site(self, home):
        secret = partial(SECRETS.round_secret, home.config.name)
        return Site(home.path, signer=home.signer, key=home.site_key, policy=self.policy, round_secret=secret)

    def _trainers(self, name):
        return TrainersHere(lambda: load_task("classification") if name == SITE else self.tasks[name])


class WithChild(Alike):
    """That site trains in a child process."""

    def _trainers(self, name):
        return TrainerProcess() if name == SITE else super()._trainers(name)


@pytest.fixture
def hospitals(tmp_path):
    made = []

    def make(kind, **changes):
        made.append(kind(tmp_path / f"{len(made)}", 3, **changes))
        return made[-1]

    yield make
    for one in made:
        one.close()


def refused(call):
    with pytest.raises(WardroundError) as caught:
        call()
    return caught.value.code


def pause_when_it_trains(home, child):
    """A person pauses the site once the child has been busy for a while."""

    def watch():
        begun = child.cpu_times().user
        until(lambda: child.cpu_times().user > begun + 0.3)
        wardround_site("pause", home)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_a_pause_ends_training_at_once_and_the_next_attempt_has_the_same_bits(hospitals):
    h = hospitals(WithChild, **LONG)
    daemon, home = h.sites[SITE], h.home / SITE
    request = h.session(1).ask("start")[SITE]
    child = psutil.Process(daemon.training.pid)
    with daemon.approvals._switch.watched():
        person = pause_when_it_trains(home, child)
        assert refused(lambda: daemon.handle(request)) == "consent.paused"
        person.join()
        until(lambda: not child.is_running())
        assert refused(lambda: daemon.handle(request)) == "consent.paused"
        assert daemon.training.pid is None
        wardround_site("resume", home)
        total = h.session(1, attempt=2).until("accept").total
    undisturbed = hospitals(Alike, **LONG)
    assert np.array_equal(undisturbed.session(1).until("accept").total, total)


def test_a_daemon_that_starts_paused_has_no_child_and_takes_up_plans_when_it_may(hospitals):
    h = hospitals(WithChild)
    wardround_site("pause", h.home / SITE)
    h.restart(SITE)
    daemon, request = h.sites[SITE], h.session(1).ask("start")[SITE]
    daemon.approvals.take_up()
    assert daemon.training.pid is None
    assert refused(lambda: daemon.handle(request)) == "consent.paused"
    wardround_site("resume", h.home / SITE)
    daemon.approvals.take_up()
    assert daemon.training.pid is not None
    assert daemon.handle(request).envelope


class Failing(TrainersHere):
    """Fails as often as a test says."""

    def __init__(self, task, error) -> None:
        super().__init__(task)
        self.error, self.asked, self.fails = error, 0, True

    def study(self, plan, **rest):
        self.asked += 1
        if self.fails:
            raise self.error
        return super().study(plan, **rest)


@pytest.mark.parametrize("retryable", [True, False])
def test_what_may_be_acceptable_later_is_tried_again_before_the_next_message(hospitals, retryable):
    h = hospitals(Alike)
    daemon, request = h.sites[SITE], h.session(1).ask("start")[SITE]
    error = TrainerError("no", remedy="None.", code="trainer.out_of_memory", retryable=retryable)
    training = Failing(lambda: h.tasks[SITE], error)
    daemon.close()
    home = SiteHome(h.home / SITE)
    site = h._site(home)
    approvals = _Approvals(home, site, training, _Switch(home.path, training))
    h.sites[SITE] = Daemon(approvals, site, training)
    approvals.take_up()
    assert training.asked == 1
    assert refused(lambda: approvals.handle(request)) == "consent.not_approved"
    training.fails = False
    if retryable:
        assert approvals.handle(request).envelope
        assert training.asked == 3
    else:
        assert refused(lambda: approvals.handle(request)) == "consent.not_approved"
        assert training.asked == 1


@contextlib.contextmanager
def daemon(home):
    """The program itself; no coordinator is there."""
    (home / "log.jsonl").unlink(missing_ok=True)
    program = "from wardround_client.main import main; main()"
    running = psutil.Popen([sys.executable, "-c", program, "run", home], stderr=subprocess.DEVNULL)
    try:
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0


def happened(home, what):
    path = home / "log.jsonl"
    return path.exists() and f'"{what}"' in path.read_text()


def test_a_real_daemon_has_no_child_while_it_is_paused(hospitals):
    h = hospitals(Alike)
    home = h.home / SITE
    h.sites[SITE].close()
    with daemon(home) as running:
        until(lambda: happened(home, "plan.approved"))
        (child,) = running.children()
        wardround_site("pause", home)
        until(lambda: not child.is_running())
        assert running.is_running()
    with daemon(home) as running:
        until(lambda: happened(home, "offline"))
        assert happened(home, "training.stopped")
        assert running.children() == []
        wardround_site("resume", home)
        until(lambda: happened(home, "training.allowed"))
