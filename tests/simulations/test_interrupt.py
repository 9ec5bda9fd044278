import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.end_to_end


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
    time.sleep(1)
    with pytest.raises(ProcessLookupError):
        os.killpg(run.pid, 0)
