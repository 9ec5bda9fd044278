"""The daemon's side of its trainer: one child process, kept warm, started again when it is gone.

Rules:

* A child that dies over a job, killed by whomever, is an error of that job and of nothing else. The line to
  the coordinator lives in this process and does not notice.
* A job that is done again after such a death gives the same output: its randomness comes with it.
* Once stopped (``stop``), the child is gone and no job is done until ``start``.

Not here: what the child does (``child``), the randomness (``outputs``).

Privacy: as ``jobs``.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import subprocess
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from wardround_client.catalogue import Census
from wardround_client.sealing import Sealer
from wardround_client.tasks.interface import RuntimeFlags, TrainOutput
from wardround_client.training import jobs
from wardround_common.errors import StorageError, TrainerError
from wardround_common.logs import event

Kind = TypeVar("Kind", jobs.Opened, jobs.Trained, jobs.Counted, jobs.Closed)


class TrainerProcess:
    """A site's trainer in a child process. Jobs come from one thread; ``stop`` from any."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._line: Connection | None = None
        self._open: set[bytes] = set()
        self._stopped = False
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is one."""
        child = self._child
        return None if child is None or child.poll() is not None else child.pid

    def study(
        self,
        plan: bytes,
        *,
        signed: bytes,
        site: str,
        catalogue: Path,
        sealer: Sealer,
        flags: RuntimeFlags,
    ) -> tuple[Census, ProcessTrainer]:
        """Have the child read a study's images (``Trainers.study``)."""
        job = jobs.Open(
            plan=plan, signed=signed, site=site, catalogue=str(catalogue), sealer=sealer, flags=flags
        )
        opened = self.ask(job, jobs.Opened)
        self._open.add(plan)
        return Census(opened.snapshot, opened.patient_keys), ProcessTrainer(self, job, opened.snapshot)

    def forget(self, plan: bytes) -> None:
        """Have the child drop a study's images (``Trainers.forget``)."""
        if self.pid is not None and plan in self._open:
            self._open.discard(plan)
            with contextlib.suppress(TrainerError):  # a child that is gone has none
                self.ask(jobs.Close(plan=plan), jobs.Closed)

    def ask(self, job: jobs.Job, kind: type[Kind]) -> Kind:
        """The child's reply to a job.

        Raises:
            TrainerError: It broke down or is stopped.
            WardroundError: What the job itself ran into.
        """
        line = self._running()
        try:
            line.send_bytes(jobs.write(job))
            reply = jobs.read_reply(line.recv_bytes(jobs.LIMIT_BYTES))
        except (EOFError, OSError, msgspec.DecodeError) as error:
            raise self._lost() from error
        if isinstance(reply, jobs.Failed):
            raise reply.problem.error()
        if not isinstance(reply, kind):
            raise self._lost()
        return reply

    def is_open(self, plan: bytes) -> bool:
        """Whether the child that runs now has a study's images."""
        self._running()
        return plan in self._open

    def reopened(self, plan: bytes) -> None:
        """The child that runs now has them again."""
        self._open.add(plan)

    def stop(self) -> None:
        """End the child at once, whatever it does, and start none."""
        with self._lock:
            self._stopped = True
            if self._child is not None:
                _end(self._child)

    def start(self) -> None:
        """Let jobs be done again."""
        with self._lock:
            self._stopped = False

    def close(self) -> None:
        """End the child."""
        self.stop()
        self._forget()

    def _running(self) -> Connection:
        """The line to a child that runs."""
        with self._lock:
            if self._stopped:
                raise _stopped()
            if self._line is not None and self._child is not None and self._child.poll() is None:
                return self._line
            self._forget()
            ours, theirs = socket.socketpair()
            with theirs:
                number = theirs.fileno()
                module = "wardround_client.training.child"
                command = [sys.executable, "-P", "-m", module, str(number)]  # -P: nothing of this folder
                self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[number])
            self._line = Connection(ours.detach())
        event("trainer.started", pid=self._child.pid)
        return self._line

    def _forget(self) -> int | None:
        """Let go of a child that is gone, or is to be; returns its exit status."""
        child, line = self._child, self._line
        self._child, self._line, self._open = None, None, set()
        if line is not None:
            line.close()
        return None if child is None else _end(child)

    def _lost(self) -> TrainerError:
        """The error for a child that is gone; another is started, to be warm when it is needed."""
        if self._stopped:
            return _stopped()
        status = self._forget()
        error = jobs.no_memory("a job did not fit") if status == errno.ENOMEM else _died()
        event("trainer.lost", level=logging.ERROR, code=error.code)
        self._running()
        return error


class ProcessTrainer:
    """``Trainer`` of one study in the child. Made by ``TrainerProcess.study``."""

    def __init__(self, process: TrainerProcess, study: jobs.Open, snapshot: bytes) -> None:
        self._process = process
        self._study = study
        self._snapshot = snapshot

    def train(self, *, start: NDArray[np.float32], local_L: NDArray[np.float32], key: bytes) -> TrainOutput:
        """Train for the plan's local steps (``Trainer.train``)."""
        self._reopen()
        job = jobs.Train(plan=self._study.plan, start=_bytes(start), local=_bytes(local_L), key=key)
        done = self._process.ask(job, jobs.Trained)
        return TrainOutput(
            update_P=np.frombuffer(done.update, "<f4"),
            noisy_steps=done.noisy_steps,
            local_L=np.frombuffer(done.local, "<f4"),
        )

    def count(self, *, vector: NDArray[np.float32]) -> NDArray[np.int64]:
        """Count held-out patients (``Trainer.count``)."""
        self._reopen()
        done = self._process.ask(jobs.Count(plan=self._study.plan, vector=_bytes(vector)), jobs.Counted)
        return np.frombuffer(done.counts, "<i8")

    def _reopen(self) -> None:
        """Have a new child read the images, which must be those that were approved."""
        if self._process.is_open(self._study.plan):
            return
        if self._process.ask(self._study, jobs.Opened).snapshot != self._snapshot:
            raise StorageError(
                "the images of a study are not those that it was approved for",
                remedy="Put the catalogue back that was approved, and find out who changed it.",
                code="catalogue.altered",
            )
        self._process.reopened(self._study.plan)


def _end(child: subprocess.Popen[bytes]) -> int:
    child.kill()  # it keeps nothing that is not kept here
    return child.wait()


def _died() -> TrainerError:
    return TrainerError(
        "the process that trains ended over its work",
        remedy="Look for an out-of-memory kill in the system's log; what it did is done again by itself.",
        code=jobs.CRASHED,
        retryable=True,
    )


def _bytes(vector: NDArray[np.float32]) -> bytes:
    return vector.astype("<f4", copy=False).tobytes()


def _stopped() -> TrainerError:
    return TrainerError(
        "training is stopped at this site",
        remedy="Let it go on with `wardround-site resume`.",
        code=jobs.STOPPED,
        retryable=True,
    )
