"""A coordinator whose service can be started as a process: made here, run by the real program."""

from __future__ import annotations

from pathlib import Path

from wardround_server.home import CoordinatorConfig, create
from wardround_simulations.deployed import Deployment, free_ports


def coordinator(
    out: Path, *, host: str = "127.0.0.1", kind: type[Deployment] = Deployment, **config
) -> Deployment:
    port, enrol_port, runtime_port = free_ports(3)
    ports = {"port": port, "enrol_port": enrol_port, "runtime_port": runtime_port}
    made = kind(out=out, plan=out / "no plan")
    create(made.coordinator, CoordinatorConfig(host=host, **ports, **config))
    return made
