"""Programs of stock Flower on loopback, in a temporary folder, for ``stock``.

SuperLink and SuperNodes run as a deployment would start them: TLS, a key for each site, a database file, the
apps in ``subprocess``. Nothing is asked of the internet.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from benchmarks import stock_app
from wardround_common.certificates import Issuer, key_pem, new_key
from wardround_simulations.deployed import free_ports

SITES = 3
PATIENCE_S = 120.0
BIN = Path(sys.executable).parent
PROJECT = """
[project]
name = "stock"
version = "1.0.0"
license = "Apache-2.0"
dependencies = ["flwr>=1.41.0"]
[tool.flwr.app]
publisher = "bench"
[tool.flwr.app.components]
serverapp = "stockapp.apps:server"
clientapp = "stockapp.apps:client"
[tool.flwr.app.config]
times = ""
sites = 0
exchanges = 0
"""


class Stock:
    """A federation of stock Flower in a folder."""

    def __init__(self, out: Path, exchanges: int) -> None:
        self.exchanges = exchanges
        self.out, self.times = out, out / "times"
        self.port, *self.ports = free_ports(1 + SITES)
        self.roots: list[psutil.Popen] = []
        self.environment = os.environ | {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "OMP_NUM_THREADS": "1",
        }

    def begin(self) -> None:
        """Start everything, and the run."""
        self._write()
        tls = ("--ssl-ca-certfile=ca.crt", "--ssl-certfile=server.pem", "--ssl-keyfile=server.key")
        options = ("--host=127.0.0.1", f"--port={self.port}", "--database=state.db")
        self._start("superlink", "flower-superlink", *options, *tls, "--enable-supernode-auth")
        self.wait("the SuperLink", lambda: "startup complete" in self.said("superlink"))
        for site, port in enumerate(self.ports):
            self._call("flwr", "supernode", "register", f"site{site}.pub", "fed", f"--name=site{site}")
            options = (f"--superlink=127.0.0.1:{self.port}", "--host=127.0.0.1", f"--port={port}")
            tls = ("--root-certificates=ca.crt", f"--auth-supernode-private-key=site{site}")
            self._start(f"site{site}", "flower-supernode", *options, *tls)
        config = f'times="{self.times}" sites={SITES} exchanges={self.exchanges}'
        self._call("flwr", "run", "app", "fed", "--run-config", config)

    def seconds(self) -> list[float]:
        """How long each exchange took."""
        return [float(line) for line in self.times.read_text().split()] if self.times.is_file() else []

    def said(self, name: str) -> str:
        """What a program and its children printed."""
        return (self.out / f"{name}.out").read_text(errors="replace")

    def cpu_s(self, root: psutil.Process | None = None) -> float:
        """Of one tree of processes, or of all: what each used itself, and its ended children."""
        total = 0.0
        for one in [one for each in ([root] if root else self.roots) for one in tree(each)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                total += sum(one.cpu_times()[:4])
        return total

    def wait(self, what: str, there: Callable[[], bool]) -> None:
        """Until ``there`` is true; SystemExit with what the programs said last if it never is."""
        deadline = time.monotonic() + PATIENCE_S
        while not there():
            if any(root.poll() is not None for root in self.roots) or time.monotonic() > deadline:
                last = [f"{path.name}:\n{_tail(path.read_bytes())}" for path in self.out.glob("*.out")]
                raise SystemExit("\n".join([f"stock Flower: {what} did not come", *last]))
            time.sleep(0.25)

    def stop(self) -> None:
        """Kill every group of processes in the trees: SuperExec leads one of its own."""
        groups = {root.pid for root in self.roots}
        for one in [one for root in self.roots for one in tree(root)]:
            with contextlib.suppress(ProcessLookupError):
                groups.add(os.getpgid(one.pid))
        for group in groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        for root in self.roots:
            root.wait()

    def _write(self) -> None:
        issuer, key = Issuer.create("stock"), new_key()
        self.out.joinpath("ca.crt").write_bytes(issuer.certificate.public_bytes(Encoding.PEM))
        self.out.joinpath("server.pem").write_bytes(issuer.for_server(key.public_key(), ["127.0.0.1"]))
        self.out.joinpath("server.key").write_bytes(key_pem(key))
        for site in range(SITES):
            secret = ec.generate_private_key(ec.SECP384R1())
            private = secret.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
            public = secret.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
            self.out.joinpath(f"site{site}").write_bytes(private)
            self.out.joinpath(f"site{site}.pub").write_bytes(public)
        package = self.out / "app" / "stockapp"
        package.mkdir(parents=True)
        (package.parent / "pyproject.toml").write_text(PROJECT)
        (package / "__init__.py").touch()
        shutil.copy(stock_app.__file__, package / "apps.py")
        link = {"address": f"127.0.0.1:{self.port}", "root-certificates": str(self.out / "ca.crt")}
        lines = [f"{key} = {json.dumps(value)}" for key, value in link.items()]
        (self.out / "cli").mkdir()
        (self.out / "cli" / "config.toml").write_text("\n".join(["[superlink.fed]", *lines, ""]))

    def _start(self, name: str, *command: str) -> None:
        environment = self.environment | {"FLWR_HOME": str(self.out / f"{name}.home")}
        with (self.out / f"{name}.out").open("wb") as out:
            files = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": subprocess.STDOUT}
            kept = {"env": environment, "cwd": self.out, "start_new_session": True}
            self.roots.append(psutil.Popen([BIN / command[0], *command[1:]], **files, **kept))

    def _call(self, *command: str) -> None:
        environment = self.environment | {"FLWR_HOME": str(self.out / "cli")}
        kept = {"env": environment, "cwd": self.out, "stdin": subprocess.DEVNULL, "timeout": PATIENCE_S}
        try:
            subprocess.run([BIN / command[0], *command[1:]], check=True, capture_output=True, **kept)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as failed:
            said = _tail((failed.stdout or b"") + (failed.stderr or b""))
            raise SystemExit(f"stock Flower: {' '.join(command)}:\n{said}") from failed


@contextlib.contextmanager
def federation(exchanges: int) -> Iterator[Stock]:
    """A federation whose processes end with the block, in a run of so many exchanges."""
    asked_to_end = signal.signal(signal.SIGTERM, lambda *_: sys.exit("stock Flower: ended"))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        stock = Stock(Path(folder), exchanges)
        try:
            stock.begin()
            yield stock
        finally:
            stock.stop()
            signal.signal(signal.SIGTERM, asked_to_end)


def tree(root: psutil.Process) -> list[psutil.Process]:
    """A process and all below it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [root, *root.children(recursive=True)]
    return []


def _tail(said: bytes) -> str:
    return "\n".join(said.decode(errors="replace").splitlines()[-15:])
