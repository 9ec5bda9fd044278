import os
import time

import pytest

from wardround_common.errors import PrivacyError, WardroundError
from wardround_simulations.workers import InlineWorkers, ProcessWorkers, _deal


def collect(workers, wanted):
    replies = {}
    deadline = time.monotonic() + 30
    while len(replies) < wanted and time.monotonic() < deadline:
        replies |= dict(workers.poll(0.05))
    return replies


def test_nodes_are_dealt_heaviest_first_onto_the_least_loaded_process():
    assert _deal([600, 400, 200], 2) == [[0], [1, 2]]
    assert _deal([1, 1, 1], 1) == [[0, 1, 2]]


def test_inline_workers_answer_every_request_once():
    workers = InlineWorkers(lambda spec: lambda data: spec + data, [b"a", b"b"])
    workers.submit(1, b"x")
    workers.submit(0, b"y")
    assert dict(workers.poll(0)) == {1: b"bx", 0: b"ay"}
    assert dict(workers.poll(0)) == {}


@pytest.fixture
def processes(monkeypatch, tmp_path):
    (tmp_path / "echo_sites.py").write_text(
        "import os\n"
        "def make(spec):\n"
        "    def answer(data):\n"
        "        if data == b'die': os._exit(3)\n"
        "        if data == b'raise': raise RuntimeError('patient CANARY')\n"
        "        return spec + data + b' ' + str(os.getpid()).encode()\n"
        "    return answer\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    workers = ProcessWorkers("echo_sites:make", [b"a", b"b", b"c"], loads=[3, 2, 1], processes=2)
    yield workers
    workers.close()


def test_sites_live_in_spawned_processes_that_survive_an_error_and_not_a_crash(processes, capfd):
    for node in range(3):
        processes.submit(node, b"x")
    replies = collect(processes, 3)
    pids = {reply.split()[1] for reply in replies.values()}
    assert [replies[node][:2] for node in range(3)] == [b"ax", b"bx", b"cx"]
    assert len(pids) == 2
    assert str(os.getpid()).encode() not in pids

    processes.submit(0, b"raise")
    assert collect(processes, 1) == {0: None}
    processes.submit(0, b"x")
    assert collect(processes, 1)[0].startswith(b"ax")
    assert "CANARY" not in capfd.readouterr().err

    processes.submit(1, b"die")
    assert collect(processes, 1) == {1: None}
    processes.submit(0, b"x")
    assert collect(processes, 1)[0].startswith(b"ax")


def test_a_site_that_refuses_to_start_is_one_clear_error_and_no_traceback(monkeypatch, tmp_path, capfd):
    (tmp_path / "refusing_sites.py").write_text(
        "from wardround_common.errors import PrivacyError\n"
        "def make(spec):\n"
        "    raise PrivacyError('it would overdraw', remedy='Ask for less.', code='privacy.overdrawn')\n"
        "def crash(spec):\n"
        "    raise RuntimeError('patient CANARY')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PrivacyError, match="it would overdraw") as caught:
        ProcessWorkers("refusing_sites:make", [b"a"], loads=[1], processes=1)
    assert (caught.value.code, caught.value.remedy) == ("privacy.overdrawn", "Ask for less.")
    with pytest.raises(WardroundError, match="RuntimeError"):
        ProcessWorkers("refusing_sites:crash", [b"a"], loads=[1], processes=1)
    assert capfd.readouterr().err == ""
