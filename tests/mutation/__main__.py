"""``make mutate``: takes each check of ``checks.toml`` out in turn, and runs the one test named for it.

The sources and tests are copied to a temporary folder, one copy per process. In a copy one check is taken
out, the test named for it runs there and must fail; then the check is put back. Before that, every named test
must pass in an untouched copy. Words on the command line select checks by code, place or test.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.mutation.mutants import ROOT, SOURCES, Check, load, without

PROCESSES = 2
TIMEOUT_S = 120
PRELOADED = (
    "pytest", "numpy", "msgspec", "hypothesis.strategies", "flwr.app", "httpx", "typer", "rich.live",
    "cryptography.x509", "cryptography.hazmat.primitives.ciphers.aead",
)  # fmt: skip
"""What tests import and no check is in: loaded once, before the processes are forked."""
PASSED, FAILED, BROKEN, ELSEWHERE = 0, 1, 2, 3


class Witness:
    """A pytest plugin: whether tests failed while they ran, and whether the copy was what they imported."""

    def __init__(self, copy: Path) -> None:
        self._copy = copy
        self._failed = self._broken = False

    def pytest_runtest_logreport(self, report) -> None:
        if report.failed:
            self._failed |= report.when == "call"
            self._broken |= report.when != "call"

    def verdict(self, status: int) -> int:
        ours = [module for name, module in sys.modules.items() if name.startswith("wardround_")]
        files = [Path(module.__file__) for module in ours if getattr(module, "__file__", None)]
        if not files or not all(file.is_relative_to(self._copy) for file in files):
            return ELSEWHERE
        if self._broken or status not in (0, 1):
            return BROKEN
        return FAILED if self._failed else PASSED


def main(words: Sequence[str]) -> int:
    checks = [
        check
        for check in load()
        if not words or any(w in f"{check.code} {check.where} {check.test}" for w in words)
    ]
    began = time.monotonic()
    for name in PRELOADED:
        importlib.import_module(name)
    assert not any(name.startswith("wardround_") for name in sys.modules)
    with tempfile.TemporaryDirectory(prefix="wardround-mutants-") as folder:
        copies = [_copy(Path(folder).resolve() / str(i)) for i in range(PROCESSES)]
        named = sorted({check.test for check in checks})
        if (verdict := _run(copies[0], named, timeout_s=TIMEOUT_S + 10 * len(named))) != PASSED:
            print((copies[0] / "output").read_text()[-4000:])
            print("A named test does not pass with every check in place." if verdict == FAILED else verdict)
            return 1
        print(f"{len(named)} named tests pass with every check in place: {time.monotonic() - began:.0f} s")
        noticed = _all(checks, copies)
    seconds = time.monotonic() - began
    print(f"{noticed} of {len(checks)} checks are noticed when they are taken out; {seconds:.0f} s in all")
    return 0 if noticed == len(checks) else 1


def _all(checks: Sequence[Check], copies: Sequence[Path]) -> int:
    context = multiprocessing.get_context("fork")
    tasks, results = context.SimpleQueue(), context.SimpleQueue()
    for number in (*range(len(checks)), *(None for _ in copies)):
        tasks.put(number)
    workers = [context.Process(target=_work, args=(checks, copy, tasks, results)) for copy in copies]
    for worker in workers:
        worker.start()
    noticed = 0
    for _ in checks:
        number, verdict, seconds, output = results.get()
        check = checks[number]
        noticed += verdict == FAILED
        word = {FAILED: "noticed", PASSED: "NOT NOTICED", ELSEWHERE: "IMPORTED ELSEWHERE"}.get(
            verdict, "BROKEN"
        )
        print(f"{word:<12} {seconds:5.1f} s  {check.code:<28} {check.where}", flush=True)
        if verdict != FAILED:
            print(f"    {check.test}\n{output}")
    for worker in workers:
        worker.join()
    return noticed


def _work(checks: Sequence[Check], copy: Path, tasks, results) -> None:
    while (number := tasks.get()) is not None:
        check, began = checks[number], time.monotonic()
        file = copy / check.path
        whole = file.read_text()
        try:
            _write(file, without(check, whole))
            verdict = _run(copy, [check.test], timeout_s=TIMEOUT_S)
            output = (copy / "output").read_text()[-2000:]
        except LookupError as error:
            verdict, output = BROKEN, str(error)
        _write(file, whole)
        results.put((number, verdict, time.monotonic() - began, output))


def _run(copy: Path, tests: Sequence[str], *, timeout_s: float) -> int:
    """Run tests in a child process, where nothing of ours has been imported yet."""
    child = os.fork()
    if not child:
        os._exit(_child(copy, tests))
    ends = time.monotonic() + timeout_s
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return BROKEN


def _child(copy: Path, tests: Sequence[str]) -> int:
    import pytest

    with (copy / "output").open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.chdir(copy)
    sys.path[:0] = [str(copy / side) for side in SOURCES]
    sys.modules.pop("tests", None)
    witness = Witness(copy)
    status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--tb=short", *tests], plugins=[witness])
    sys.stdout.flush()
    return witness.verdict(int(status))


def _copy(target: Path) -> Path:
    left = shutil.ignore_patterns("__pycache__", ".*", "build")
    for folder in (*SOURCES, "tests"):
        shutil.copytree(ROOT / folder, target / folder, ignore=left)
    shutil.copy(ROOT / "pyproject.toml", target)
    return target


def _write(file: Path, text: str) -> None:
    """Write a source, and forget what was compiled of it: its size and second may be the same."""
    file.write_text(text)
    for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*"):
        compiled.unlink()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
