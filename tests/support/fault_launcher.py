"""Start a program of ours that kills itself, or its trainer, where a schedule says so: ``kill -9``.

``python fault_launcher.py PROGRAM WORDS...`` with FAULTS naming a folder: ``schedule.json`` lists the kills,
each is marked in ``fired/`` on disk before it happens, and happens once. Sites get their round secrets
through the constructor, from a seed, so that two runs can be compared bit for bit; all else is the program.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

SEED = 20
POINT_OF_CHILD = {"sent": 0.0, "begun": 0.02, "late": 0.06}
"""Seconds of processor time that the trainer has spent on a job when it is killed; 0: it has not begun."""
EXCHANGES = ("start", "cohort", "envelopes", "survivors", "confirms", "result")


class Where:
    """The study and the round that this process is at."""

    def __init__(self) -> None:
        self.plan, self.number, self.type = "", 0, ""

    def look(self, envelope: bytes) -> None:
        """Take it from a request."""
        from wardround_common.messages import peek_request

        claim = peek_request(envelope, sites=50)
        self.plan, self.number, self.type = claim.plan_digest.hex(), claim.context.round, claim.type


class Schedule:
    """What of the schedule concerns this process."""

    def __init__(self, folder: Path, program: str, who: str) -> None:
        self._fired = folder / "fired"
        entries = json.loads((folder / "schedule.json").read_text())
        self._mine = [e for e in entries if e["program"] == program and e["who"] in ("", who)]

    def due(self, point: str, where: Where) -> dict | None:
        """The kill that belongs here, unless it has happened."""
        for entry in self._mine:
            here = (entry["point"], entry["plan"], entry["round"]) == (point, where.plan, where.number)
            if here and not (self._fired / entry["id"]).exists():
                return entry
        return None

    def fire(self, entry: dict, pid: int) -> None:
        """Mark it on disk, and kill."""
        handle = os.open(self._fired / entry["id"], os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.write(handle, json.dumps({"pid": pid, "time": time.time()}).encode())
        os.fsync(handle)
        os.close(handle)
        os.kill(pid, entry["signal"])
        if pid == os.getpid() and entry["signal"] == signal.SIGKILL:
            time.sleep(60)  # until it has come

    def here(self, point: str, where: Where) -> None:
        """Die here if it is time."""
        if (entry := self.due(point, where)) is not None:
            self.fire(entry, os.getpid())


def site(schedule: Schedule) -> None:
    """``wardround-site`` with faults."""
    from wardround_client import daemon, main
    from wardround_client.ledger import Ledger
    from wardround_client.scratch import Scratch
    from wardround_client.site import Site
    from wardround_client.training import TrainerProcess
    from wardround_simulations.secrets import Secrets

    now = Where()

    class FaultySite(Site):
        def handle(self, request):
            now.look(request.envelope)
            schedule.here(f"{now.type}:asked", now)
            reply = super().handle(request)
            schedule.here(f"{now.type}:answered", now)
            return reply

    def after(kind, method, point):
        original = getattr(kind, method)

        @functools.wraps(original)
        def wrapped(*args, **kwargs):
            done = original(*args, **kwargs)
            schedule.here(point, now)
            return done

        setattr(kind, method, wrapped)

    after(Ledger, "spend", "spent")
    after(Scratch, "keep_output", "computed")
    after(Ledger, "output", "noted")

    class FaultyTrainers(TrainerProcess):
        def ask(self, job, kind):
            word = type(job).__name__.lower()
            for point, seconds in POINT_OF_CHILD.items():
                entry = schedule.due(f"{word}:{point}", now)
                if entry is not None:
                    self._running()
                    kill_busy(schedule, entry, self.pid, seconds)
                    break
            return super().ask(job, kind)

    def make(home):
        config, signer = home.config, home.signer
        secret = functools.partial(Secrets(SEED).round_secret, signer.name)
        return FaultySite(
            home.path,
            signer=signer,
            key=home.site_key,
            policy=config.policy,
            flags=config.machine,
            round_secret=secret,
        )

    daemon.run_site = functools.partial(daemon.run_site, make=make, trainers=FaultyTrainers)
    main.main()


def kill_busy(schedule: Schedule, entry: dict, pid: int, seconds: float) -> None:
    """Kill the trainer, once it has worked on the job that it is about to be given for so long."""
    import psutil

    child = psutil.Process(pid)
    if not seconds:
        child.suspend()
    begun = child.cpu_times().user

    def wait_and_kill():
        time.sleep(0.0 if seconds else 0.3)  # until it has been sent
        while child.is_running() and child.cpu_times().user - begun < seconds:
            time.sleep(0.002)
        schedule.fire(entry, pid)

    threading.Thread(target=wait_and_kill, daemon=True).start()


def coordinator(schedule: Schedule) -> None:
    """``wardround-coordinator`` with faults."""
    if sys.argv[1:3] == ["study", "run"]:
        job(schedule)
    elif sys.argv[1] == "run":
        service(schedule)
    from wardround_server import main

    main.main()


def job(schedule: Schedule) -> None:
    """Faults of a job."""
    from wardround_server.app import FlowerTransport
    from wardround_server.journal import Journal

    now = Where()
    push, exchange, end = FlowerTransport._push, FlowerTransport.exchange, Journal.end

    def faulty_push(self, name, packets):
        sent = push(self, name, packets)
        schedule.here(f"{name}:sent", now)
        return sent

    def faulty_exchange(self, name, packets, *, timeout_s):
        for packet in packets.values():
            now.look(packet.envelope)
        for count, reply in enumerate(exchange(self, name, packets, timeout_s=timeout_s)):
            if count == 1:
                schedule.here(f"{name}:one_taken", now)
            yield reply
        schedule.here(f"{name}:all_taken", now)

    def faulty_end(self, ended):
        schedule.here("end:asked", now)
        end(self, ended)
        schedule.here("end:written", now)

    FlowerTransport._push, FlowerTransport.exchange, Journal.end = faulty_push, faulty_exchange, faulty_end


def service(schedule: Schedule) -> None:
    """Faults of the service: where the job asks and where a site answers, before and after Flower has it."""
    from flwr.app import ConfigRecord

    from wardround_common.parcels import unpack
    from wardround_server import parcels

    now = Where()
    push = parcels.ParcelPort._push

    async def faulty_push(self, scope, receive, send):
        body = await parcels.read_body(receive)
        asked = scope["path"].startswith("/v1/runtime/")
        if asked:
            objects = unpack(body).objects.values()
            record = next(one for one in objects if one.startswith(b"ConfigRecord"))
            now.look(ConfigRecord.inflate(record)["envelope"])
        word = f"{now.type}:{'asked' if asked else 'answered'}"
        schedule.here(word, now)

        async def again():
            return {"type": "http.request", "body": body, "more_body": False}

        async def checked(message):
            schedule.here(f"{word}_kept", now)
            await send(message)

        await push(self, scope, again, checked)

    parcels.ParcelPort._push = faulty_push


def main() -> None:
    """Run the program."""
    program, sys.argv = sys.argv[1], sys.argv[1:]
    folder = Path(os.environ["FAULTS"])
    if program == "wardround-site":
        site(Schedule(folder, "site", Path(sys.argv[-1]).name))
    else:
        running = "job" if sys.argv[1:3] == ["study", "run"] else "service"
        coordinator(Schedule(folder, running, ""))


if __name__ == "__main__":
    main()
