"""The trainer: a process that holds torch and the images, and nothing else.

Started by ``process`` as ``python -m wardround_client.training.child FD``, with one end of a pair of sockets.

Rules:

* It ends when the other end is gone, also in the middle of training: no trainer outlives its daemon.
* It never sees a message, an identity key, a ledger or the network.
* What breaks over a job is a reply, and the next job is done.

Privacy: as ``work``; writes nothing.
"""

from __future__ import annotations

import errno
import os
import queue
import signal
import sys
import threading
from datetime import date
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from wardround_client.catalogue import Catalogue
from wardround_client.tasks import load_task
from wardround_client.training import jobs
from wardround_client.training.work import LocalTrainer
from wardround_common.errors import TrainerError, WardroundError
from wardround_common.problems import Problem
from wardround_common.programs import stay_offline
from wardround_common.trust import open_plan


def main() -> None:
    """Do jobs until the other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the daemon, and that ends this process
    stay_offline()
    line = Connection(int(sys.argv[1]))
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_hear, args=(line, waiting), daemon=True).start()
    studies: dict[bytes, LocalTrainer] = {}
    while True:
        job = jobs.read_job(waiting.get())
        try:
            line.send_bytes(jobs.write(_done(studies, job)))
        except OSError:
            return
        if isinstance(job, jobs.Open) and job.plan in studies:
            studies[job.plan].warm()  # after the reply: whoever waits for it need not wait for torch


def _hear(line: Connection, waiting: queue.SimpleQueue[bytes]) -> None:
    """Take jobs from the line; end the process with it."""
    status = errno.EPIPE
    try:
        while True:
            waiting.put(line.recv_bytes(jobs.LIMIT_BYTES))
    except MemoryError:
        status = errno.ENOMEM
    except (EOFError, OSError):
        pass
    finally:
        os._exit(status)


def _done(studies: dict[bytes, LocalTrainer], job: jobs.Job) -> jobs.Reply:
    try:
        return _do(studies, job)
    except WardroundError as error:
        return jobs.Failed(problem=Problem.of(error))
    except Exception as error:  # noqa: BLE001 - the edge of the process
        return jobs.Failed(problem=Problem.of(_broken(error)))


def _do(studies: dict[bytes, LocalTrainer], job: jobs.Job) -> jobs.Reply:
    if isinstance(job, jobs.Open):
        catalogue = Catalogue.load(Path(job.catalogue), job.sealer)
        plan = open_plan(job.signed, today=date.min)
        studies[job.plan] = LocalTrainer(
            plan, site=job.site, catalogue=catalogue, flags=job.flags, task=load_task
        )
        return jobs.Opened(snapshot=catalogue.snapshot, patient_keys=catalogue.patient_keys)
    if isinstance(job, jobs.Close):
        studies.pop(job.plan, None)
        return jobs.Closed()
    study = studies[job.plan]
    if isinstance(job, jobs.Count):
        counts = study.count(vector=_floats(job.vector))
        return jobs.Counted(counts=counts.astype("<i8", copy=False).tobytes())
    output = study.train(start=_floats(job.start), local_L=_floats(job.local), key=job.key)
    return jobs.Trained(
        update=output.update_P.astype("<f4", copy=False).tobytes(),
        noisy_steps=output.noisy_steps,
        local=output.local_L.astype("<f4", copy=False).tobytes(),
    )


def _floats(data: bytes) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.frombuffer(data, "<f4").astype(np.float32)  # writable, as tasks expect


def _broken(error: Exception) -> TrainerError:
    """What is told of an unforeseen error: its type, since its message may quote a scan."""
    name = type(error).__name__
    if isinstance(error, MemoryError) or name == "OutOfMemoryError" or "allocate" in str(error):  # torch's
        return jobs.no_memory(name)
    return TrainerError(
        f"training ended with {name}",
        remedy="Look at what the daemon wrote to its standard error, and report it.",
        code=jobs.CRASHED,
        retryable=True,
    )


if __name__ == "__main__":
    main()
