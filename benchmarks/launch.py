"""Start a program of ours with the models of ``benchmarks.models``, and a trainer that does nothing.

``python -m benchmarks.launch PROGRAM WORDS...``. The coordinator's service counts requests, and writes how
many there were into ``requests.json`` of its folder when it gets SIGUSR1.
"""

from __future__ import annotations

import datetime
import json
import signal
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
from starlette.types import ASGIApp, Receive, Scope, Send

import benchmarks.models
from wardround_common.plan import StudyPlan
from wardround_common.trust import open_plan

COUNTS = "requests.json"
assert benchmarks.models.SIZES


class NoTraining:
    """An update of zeros, and counts of nobody."""

    def __init__(self, plan: StudyPlan) -> None:
        self._steps, self._cells = plan.recipe.local_steps, plan.task.cells

    def train(self, *, start, local_L, key):  # noqa: ANN001, ANN201
        """Nothing."""
        from wardround_client.tasks.interface import TrainOutput

        return TrainOutput(update_P=np.zeros_like(start), noisy_steps=self._steps)

    def count(self, *, vector):  # noqa: ANN001, ANN201
        """Nobody."""
        return np.zeros(self._cells, np.int64)


class NoTrainers:
    """Reads the images and trains nothing."""

    def study(self, plan, *, signed, site, catalogue, sealer, flags):  # noqa: ANN001, ANN201
        """Read the images."""
        from wardround_client.catalogue import Catalogue

        opened = open_plan(signed, today=datetime.date.today())
        return Catalogue.load(catalogue, sealer).census, NoTraining(opened)

    def forget(self, plan) -> None:  # noqa: ANN001
        """Nothing: the images are gone already."""

    def stop(self) -> None:
        """Nothing."""

    start = close = stop


class Counting:
    """Counts requests by the API that they are for."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def around(self, app: ASGIApp) -> ASGIApp:
        """``app``, counted."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                self.counts[scope["path"]] += 1
            await app(scope, receive, send)

        return counted

    def write(self, path: Path) -> None:
        """Write them."""
        path.write_text(json.dumps(self.counts))


def main() -> None:
    """Run the program."""
    program, sys.argv = sys.argv[1], sys.argv[1:]
    if program == "wardround-site":
        from wardround_client import daemon
        from wardround_client import main as site

        daemon.run_site = partial(daemon.run_site, trainers=NoTrainers)
        site.main()
    elif program == "wardround-authority":
        from wardround_common.authority import main as authority

        authority.main()
    else:
        from wardround_server import main as coordinator
        from wardround_server import service

        counting, held = Counting(), service._held
        service._held = lambda app, *args, **options: counting.around(held(app, *args, **options))
        folder = Path(sys.argv[-1])
        if sys.argv[1] == "run":
            signal.signal(signal.SIGUSR1, lambda *_: counting.write(folder / COUNTS))
        coordinator.main()


if __name__ == "__main__":
    main()
