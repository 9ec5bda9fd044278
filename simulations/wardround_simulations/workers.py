"""Where the simulated sites live: spawned processes with one thread each, or this process.

A worker hosts one or more sites for the whole run, so their one-attempt keys stay in its memory. Requests
and replies are bytes over a pipe.

Not here: Flower (``grid``), what a site does (``wardround_client``).

Privacy: a pipe carries only what a network would carry.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Protocol

from msgspec import Struct

from wardround_common.canonical import decode, encode
from wardround_common.errors import WardroundError
from wardround_common.logs import event
from wardround_common.problems import Problem

Answer = Callable[[bytes], bytes]
Factory = Callable[[bytes], Answer]

_STOP_S = 5.0
_READY_LIMIT_BYTES = 1 << 16


class Workers(Protocol):
    """Hosts of the nodes 0 to ``nodes`` - 1."""

    nodes: int

    def submit(self, node: int, data: bytes) -> None:
        """Hand a request to a node; a node has one request at a time."""
        ...

    def poll(self, seconds: float) -> Iterator[tuple[int, bytes | None]]:
        """Replies that arrive within ``seconds``; None for a node that crashed over its request."""
        ...

    def close(self) -> None:
        """End all workers."""
        ...


class InlineWorkers:
    """All nodes in this process, one after the other: for small runs and for the debugger."""

    def __init__(self, factory: Factory, specs: Sequence[bytes]) -> None:
        self.nodes = len(specs)
        self._answers = [factory(spec) for spec in specs]
        self._requests: list[tuple[int, bytes]] = []

    def submit(self, node: int, data: bytes) -> None:
        """Queue a request."""
        self._requests.append((node, data))

    def poll(self, seconds: float) -> Iterator[tuple[int, bytes | None]]:
        """Answer everything that is queued."""
        requests, self._requests = self._requests, []
        for node, data in requests:
            yield node, self._answers[node](data) or None

    def close(self) -> None:
        """Forget the nodes."""
        self._answers = []


class ProcessWorkers:
    """Nodes in spawned processes.

    Args:
        factory: ``module:function``, called in the worker once per node with the node's spec.
        specs: One per node.
        loads: Expected work of each node; the nodes are dealt so that processes are evenly loaded.
        processes: How many processes.
    """

    def __init__(
        self, factory: str, specs: Sequence[bytes], *, loads: Sequence[float], processes: int
    ) -> None:
        self.nodes = len(specs)
        self._home: dict[int, int] = {}
        self._pipes: list[Connection] = []
        self._processes: list[BaseProcess] = []
        context = multiprocessing.get_context("spawn")
        for number, nodes in enumerate(_deal(loads, min(processes, len(specs)))):
            ours, theirs = context.Pipe()
            target = context.Process(
                target=_host, args=(theirs, factory, {node: specs[node] for node in nodes}), daemon=True
            )
            target.start()
            theirs.close()
            self._home |= dict.fromkeys(nodes, number)
            self._pipes.append(ours)
            self._processes.append(target)
        self._open: dict[int, set[int]] = {number: set() for number in range(len(self._pipes))}
        self._wait_until_ready()

    def submit(self, node: int, data: bytes) -> None:
        """Send a request to the node's process."""
        number = self._home[node]
        self._open[number].add(node)
        with contextlib.suppress(BrokenPipeError):
            self._pipes[number].send_bytes(node.to_bytes(4, "big") + data)

    def poll(self, seconds: float) -> Iterator[tuple[int, bytes | None]]:
        """Replies of processes that have one; None for each open node of a process that died."""
        busy = {self._pipes[number]: number for number, nodes in self._open.items() if nodes}
        for pipe in wait(list(busy), timeout=seconds):
            number = busy[pipe]  # type: ignore[index]
            try:
                data = self._pipes[number].recv_bytes()
            except (EOFError, OSError):
                lost, self._open[number] = self._open[number], set()
                yield from ((node, None) for node in sorted(lost))
                continue
            node = int.from_bytes(data[:4], "big")
            self._open[number].discard(node)
            yield node, data[4:] or None

    def close(self) -> None:
        """Close the pipes, wait for the processes, and kill what does not end."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(_STOP_S)
            if process.is_alive():
                process.kill()
                process.join()

    def _wait_until_ready(self) -> None:
        for pipe in self._pipes:
            try:
                ready = decode(pipe.recv_bytes(), _Ready, limit_bytes=_READY_LIMIT_BYTES)
            except (EOFError, OSError):
                ready = _Ready(problem=_no_start("worker.died"))
            if ready.problem is not None:
                self.close()
                raise ready.problem.error()

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers."""
        return [process.pid for process in self._processes if process.pid]


class _Ready(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a worker says first: that it is ready, or why it cannot be."""

    problem: Problem | None = None


def _make(factory: str, specs: dict[int, bytes]) -> tuple[dict[int, Answer], _Ready]:
    module, function = factory.split(":")
    try:
        make: Factory = getattr(importlib.import_module(module), function)
        return {node: make(spec) for node, spec in specs.items()}, _Ready()
    except WardroundError as error:
        return {}, _Ready(problem=Problem.of(error))
    except Exception as error:  # noqa: BLE001 - the edge of a process: no traceback for a user
        return {}, _Ready(problem=_no_start(f"worker.{type(error).__name__}"))


def _no_start(code: str) -> Problem:
    return Problem(
        kind="ConfigError",
        message=f"a worker could not start ({code})",
        remedy="Run again with --workers 0 to see why.",
        code=code,
    )


def _deal(loads: Sequence[float], processes: int) -> list[list[int]]:
    """Nodes per process, heaviest first onto the least loaded."""
    piles: list[list[int]] = [[] for _ in range(processes)]
    for node in sorted(range(len(loads)), key=lambda i: (-loads[i], i)):
        min(piles, key=lambda pile: sum(loads[i] for i in pile)).append(node)
    return piles


def _host(pipe: Connection, factory: str, specs: dict[int, bytes]) -> None:
    """A worker's life: make the nodes, answer until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"
    answers, ready = _make(factory, specs)
    with contextlib.suppress(BrokenPipeError):
        pipe.send_bytes(encode(ready))
    while ready.problem is None:
        try:
            data = pipe.recv_bytes()
        except (EOFError, OSError):
            return
        node = int.from_bytes(data[:4], "big")
        try:
            reply = answers[node](data[4:])
        except Exception as error:  # noqa: BLE001 - the edge of a process: one site must not end the others
            event("worker.crashed", level=logging.ERROR, code=type(error).__name__)
            reply = b""
        with contextlib.suppress(BrokenPipeError):
            pipe.send_bytes(data[:4] + reply)
