"""Outages that last: a frozen site, a full disk, a coordinator that is away, a site that is missing.

Four sites; where the plan wants all of them, the model is the undisturbed one, bit for bit. Where it wants
three of four, it is that of another run in which the same site was missing from the same round.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest
from kills import Kill, Planned, copy_of, fire_of, found

from wardround_server.home import CoordinatorHome

pytestmark = pytest.mark.end_to_end
FOUR = ("alder", "birch", "cedar", "doum")
ALL, MOST = 4, 3
FROZEN_S, AWAY_S, FULL_S = 90.0, 120.0, 20.0
STUDIES = [
    Planned("frozen", 3, ALL),
    Planned("away", 3, ALL, verify="sum"),
    Planned("full-disk", 3, ALL, timeout_s=10.0),
    Planned("quorum", 3, MOST),
]
FREEZE = Kill("frozen", "site", "envelopes:asked", 1, "birch", signal.SIGSTOP)
FALL = Kill("away", "service", "cohort:answered", 2)
FILL = Kill("full-disk", "site", "start:asked", 2, "alder", signal.SIGSTOP)
MISS = Kill("quorum", "site", "envelopes:asked", 1, "doum")
REST = Kill("quorum", "job", "end:written", 1, signal=signal.SIGSTOP)
MORE = [Kill("quorum", "job", "confirms:sent", 1), Kill("quorum", "site", "survivors:answered", 1, "cedar")]


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return found(tmp_path_factory.mktemp("template"), STUDIES, FOUR)


@pytest.fixture(scope="module")
def undisturbed(template, tmp_path_factory):
    made = copy_of(template, tmp_path_factory.mktemp("undisturbed") / "out", [MISS, REST])
    with made.running():
        for planned in STUDIES[:-1]:
            made.run_killed(planned.study)
        beside(made, "quorum", missing)
    return made


@pytest.fixture(scope="module")
def disturbed(template, tmp_path_factory):
    kills = [FREEZE, FALL, FILL, MISS, REST, *MORE]
    made = copy_of(template, tmp_path_factory.mktemp("disturbed") / "out", kills)
    with SmallDisk(made, "alder"), made.running():
        beside(made, "frozen", frozen)
        beside(made, "away", away)
        beside(made, "full-disk", full)
        beside(made, "quorum", missing)
    return made


def beside(made, study, act):
    """Run a study while something happens to it."""
    went_wrong = []

    def run():
        try:
            act(made)
        except BaseException as error:
            went_wrong.append(error)
            raise

    thread = threading.Thread(target=run)
    thread.start()
    made.run_killed(study)
    thread.join()
    assert not went_wrong


def frozen(made):
    pid = fire_of(made, FREEZE)
    time.sleep(FROZEN_S)
    os.kill(pid, signal.SIGCONT)


def away(made):
    made.held.add("service")
    fire_of(made, FALL)
    time.sleep(AWAY_S)
    made.held.remove("service")


def full(made):
    pid = fire_of(made, FILL)
    filler = made.home("alder") / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert shutil.disk_usage(made.home("alder")).free == 0
    os.kill(pid, signal.SIGCONT)
    time.sleep(FULL_S)
    filler.unlink()


def missing(made):
    """A site is away for a round, and back before the next one begins."""
    made.held.add("doum")
    fire_of(made, MISS)
    job = fire_of(made, REST)
    (made.home("doum") / "status.json").unlink()
    before = made.sites["doum"]
    made.held.remove("doum")
    while made.sites["doum"] is before:
        time.sleep(0.05)
    made.wait_for_sites()
    os.kill(job, signal.SIGCONT)


class SmallDisk:
    """A site's folder on a disk of its own, with a few megabytes to spare."""

    def __init__(self, made, site):
        self.home = made.home(site)

    def __enter__(self):
        kept = self.home.with_name("kept")
        self.home.rename(kept)
        self.home.mkdir(mode=0o700)
        command = ["mount", "-t", "tmpfs", "-o", "size=64m,mode=0700", "tmpfs", str(self.home)]
        if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
            pytest.skip("a small disk cannot be mounted here: it takes root and tmpfs")
        shutil.copytree(kept, self.home, dirs_exist_ok=True)

    def __exit__(self, *_):
        kept = self.home.with_name("kept")
        shutil.rmtree(kept)
        shutil.copytree(self.home, kept)
        subprocess.run(["umount", str(self.home)], check=True)
        self.home.rmdir()
        kept.rename(self.home)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def codes(path):
    return {line.get("code") for line in lines(path)}


@pytest.mark.parametrize("study", [planned.study for planned in STUDIES])
def test_the_model_is_that_of_the_run_without_the_outage(undisturbed, disturbed, study):
    assert None not in undisturbed.ends(study).values()
    assert disturbed.ends(study) == undisturbed.ends(study)
    assert disturbed.model(study) == undisturbed.model(study)


@pytest.mark.parametrize("name", FOUR)
def test_the_ledger_is_that_of_the_run_without_the_outage(undisturbed, disturbed, name):
    heads = []
    for made in (undisturbed, disturbed):
        ledger = made.ledger(name)
        ledger.verify()
        heads.append(ledger.head())
        ledger.shut()
    assert heads[0] == heads[1]


def test_the_outages_were_noticed(disturbed):
    studies = CoordinatorHome(disturbed.coordinator)
    assert "transport.unavailable" in codes(studies.study("frozen") / "log.jsonl")
    assert {"ConnectError", "RemoteProtocolError"} & codes(studies.study("away") / "log.jsonl")
    assert {"audit.unusable", "storage.scratch"} & codes(disturbed.home("alder") / "log.jsonl")


def test_a_round_without_the_site_that_was_missing_and_the_next_with_it(undisturbed, disturbed):
    for made in (undisturbed, disturbed):
        log = lines(CoordinatorHome(made.coordinator).study("quorum") / "log.jsonl")
        survivors = {line["round"]: line["survivors"] for line in log if line["event"] == "round.ended"}
        assert survivors[1] == ["alder", "birch", "cedar"]
        assert survivors[2] == list(FOUR)
