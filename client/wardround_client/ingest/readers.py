"""Read many files, in this process or in several: the outcomes are the same.

Worker processes are spawned, not forked: they import what they need and inherit no lock, no socket and no
secret but the rules they are given.

Not here: what is done with a file (``scan``).

Privacy: between the processes of one site pass de-identified scans.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

from wardround_client.ingest.isolation import Decoder
from wardround_client.ingest.scan import Outcome, Rules, read_scan
from wardround_common.errors import IngestError
from wardround_common.processes import process_pool

_CHUNK_FILES = 16
_work: list[tuple[Path, Rules, Decoder]] = []  # what this worker process was started for; ends with it


def read_all(folder: Path, paths: Sequence[str], *, rules: Rules, workers: int) -> Iterator[Outcome]:
    """The outcome of every file, in the order of ``paths``.

    Args:
        folder: The data folder.
        paths: Relative to it.
        rules: The same for all files.
        workers: Processes; 1 reads in this one.

    Raises:
        IngestError: A process died or did not start, or memory ran out.
    """
    if workers <= 1:
        with Decoder() as decoder:
            for path in paths:
                yield read_scan(folder, path, rules=rules, decoder=decoder)
        return
    pool = process_pool(workers, start=partial(_start, folder, rules))
    died = False
    try:
        yield from pool.map(_read, paths, chunksize=_CHUNK_FILES)
    except BrokenProcessPool:
        died = True
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    if died:
        raise IngestError(
            "a process that reads files died, most likely because memory ran out",
            remedy="Use fewer workers, or a machine with more memory.",
            code="ingest.worker_died",
        )


def _start(folder: Path, rules: Rules) -> None:
    _work.append((folder, rules, Decoder()))


def _read(path: str) -> Outcome:
    folder, rules, decoder = _work[-1]
    return read_scan(folder, path, rules=rules, decoder=decoder)
