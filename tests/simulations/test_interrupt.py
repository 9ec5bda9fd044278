import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.end_to_end


def default_interrupt():
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def processes_of(session):
    """Command lines of what still runs in a session."""
    left = []
    for process in psutil.process_iter(["status", "cmdline"]):
        try:
            if os.getsid(process.pid) == session and process.info["status"] != psutil.STATUS_ZOMBIE:
                left.append(process.info["cmdline"])
        except (ProcessLookupError, psutil.Error):
            continue
    return left


@pytest.mark.parametrize("until", ["phantom", "train round 2", "evaluate round"])
def test_ctrl_c_stops_a_run_without_a_traceback_and_leaves_no_process(tmp_path, until):
    program = str(Path(sys.executable).with_name("wardround-sim"))
    log = tmp_path / "log"
    with log.open("wb") as output:
        run = subprocess.Popen(
            [program, "demo", "--out", str(tmp_path / "out")],
            stderr=output,
            stdout=output,
            start_new_session=True,
            preexec_fn=default_interrupt,  # which a test run in the background would ignore
        )
        deadline = time.monotonic() + 300
        while until not in log.read_text() and time.monotonic() < deadline and run.poll() is None:
            if until == "phantom" and (tmp_path / "out" / "phantoms").exists():
                break
            time.sleep(0.1)
        time.sleep(1)
        os.killpg(run.pid, signal.SIGINT)
        code = run.wait(timeout=30)
    text = log.read_text()
    assert code == 130, text
    assert "Traceback" not in text
    assert "stopped" in text
    deadline = time.monotonic() + 15
    while (left := processes_of(run.pid)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == []
