"""A site whose clock is ten minutes off is refused, both ends say by how much; it joins when it is right."""

import json
import os
import time
from pathlib import Path

import pytest
from kills import NAMES, Planned, found

from wardround_common.audit import TurnedAway
from wardround_common.audit.check import read
from wardround_server.home import CoordinatorHome

pytestmark = pytest.mark.end_to_end
LIBRARY = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
STUDY = Planned("clock", 2, len(NAMES))


@pytest.fixture
def made(tmp_path):
    made = found(tmp_path, [STUDY])
    made.start_service()
    yield made
    made.stop()


def start_off(made, name, by):
    """Start a site's daemon with a clock that a file sets."""
    if not LIBRARY.is_file():
        pytest.skip("libfaketime is not installed: make system-packages")
    offset = made.out / "offset"
    offset.write_text(f"{by:+d}\n")
    faked = {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    os.environ |= faked
    try:
        made.start_site(name)
    finally:
        for variable in faked:
            del os.environ[variable]
    return offset


def eventually(there):
    deadline = time.monotonic() + 90
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def status(made, name):
    path = made.home(name) / "status.json"
    return json.loads(path.read_text()) if path.is_file() else {"state": "", "code": ""}


@pytest.mark.parametrize("by", [600, -600])
def test_a_clock_that_is_ten_minutes_off(made, by):
    offset = start_off(made, "birch", by)
    eventually(lambda: status(made, "birch")["code"] == "link.clock")
    said = status(made, "birch")
    assert said["state"] == "offline"
    assert abs(said["clock_s"] - by) <= 5
    assert str(abs(said["clock_s"])) in made.call("wardround-site", "status", made.home("birch"))
    key = CoordinatorHome(made.coordinator).signer.key.public

    def turned_away():
        rows = [row for _, row in read(made.coordinator / "audit.sqlite", key)]
        return [row for row in rows if isinstance(row, TurnedAway) and row.code == "guard.clock"]

    eventually(turned_away)
    assert {row.site for row in turned_away()} == {"birch"}
    assert abs(turned_away()[0].seconds - by) <= 5
    offset.write_text("+0\n")
    for name in ("alder", "cedar"):
        made.start_site(name)
    made.wait_for_sites()
    made.run_killed("clock")
    assert None not in made.ends("clock").values()
