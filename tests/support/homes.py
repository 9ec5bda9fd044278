"""Folders of a coordinator and of sites that joined it, as the programs make them, without a network."""

from __future__ import annotations

import dataclasses
import datetime
import os
import time
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from federations import catalogue_of
from hospitals import SECRETS, Hospitals
from typer.testing import CliRunner, Result

from wardround_client import main as site_program
from wardround_client.catalogue import Catalogue
from wardround_client.daemon import _Approvals, _Switch
from wardround_client.home import SiteHome
from wardround_client.join import _public
from wardround_client.shelf import Shelf
from wardround_client.site import Site
from wardround_client.summary import keep, summarise
from wardround_client.training import LocalTrainer, Trainers
from wardround_common.authority import keyfile, make_card
from wardround_common.certificates import key_pem, make_request, new_key
from wardround_common.enrolment import JoinRequest, read_code
from wardround_common.files import OWNER_ONLY, write
from wardround_common.identity import SigningKey
from wardround_common.messages import Packet
from wardround_common.trust import open_plan, plan_digest, sign_plan
from wardround_server import main as coordinator_program
from wardround_server.enrolment import admit, invite
from wardround_server.home import CoordinatorConfig, CoordinatorHome, create
from wardround_simulations.deployed import free_ports


def wardround_site(*words: object) -> Result:
    """What the site's program says; its errors are raised."""
    return _run(site_program.app, words)


def wardround_coordinator(*words: object) -> Result:
    """What the coordinator's program says; its errors are raised."""
    return _run(coordinator_program.app, words)


def _run(app, words) -> Result:
    result = CliRunner().invoke(app, list(map(str, words)))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def make_coordinator(path: Path) -> CoordinatorHome:
    """A coordinator on loopback, with the identity that tests know."""
    port, enrol, runtime = free_ports(3)
    config = {"host": "127.0.0.1", "port": port, "enrol_port": enrol, "runtime_port": runtime}
    home = create(path, msgspec.convert(config, CoordinatorConfig))
    _know(path, "coordinator")
    return home


def make_site(path: Path, coordinator: CoordinatorHome, name: str) -> SiteHome:
    """A site that has joined, with the identity that tests know; what ``join`` writes, by the same parts."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    tls, node = new_key(), new_key()
    code = read_code(invite(coordinator, name))
    key = SECRETS.key(name)
    reply = admit(
        coordinator,
        JoinRequest(
            site=name,
            secret=code.secret,
            request=make_request(tls, name),
            node_key=_public(node),
            card=make_card(name, key),
        ),
    )
    _know(path, name)
    write(path / "node.key", key_pem(node), mode=OWNER_ONLY)
    write(path / "tls.pem", key_pem(tls) + reply.certificate, mode=OWNER_ONLY)
    write(path / "ca.pem", (coordinator.path / "ca.pem").read_bytes())
    write(path / "patients.secret", os.urandom(32), mode=OWNER_ONLY)
    write(path / "site.key", SECRETS.site_key(name).secret, mode=OWNER_ONLY)
    toml = f'name = "{name}"\nhost = "{reply.host}"\nport = {reply.port}\n'
    write(path / "site.toml", toml.encode(), mode=OWNER_ONLY)
    return SiteHome(path)


def _know(path: Path, name: str) -> None:
    key = SECRETS.key(name)
    assert isinstance(key, SigningKey)
    assert isinstance(key._key, Ed25519PrivateKey)
    write(path / "identity.key", keyfile.seal(key._key, None), mode=OWNER_ONLY)
    write(path / "card", make_card(name, key))


class TrainersHere:
    """Trains in this process, with the task of a test; tells what it still holds."""

    def __init__(self, task) -> None:
        self._task = task
        self.held: set[bytes] = set()

    def study(self, plan, *, signed, site, catalogue, sealer, flags):
        images = Catalogue.load(catalogue, sealer)
        opened = open_plan(signed, today=datetime.date.min)
        self.held.add(plan)
        return images.census, LocalTrainer(
            opened, site=site, catalogue=images, flags=flags, task=lambda _: self._task()
        )

    def forget(self, plan) -> None:
        self.held.discard(plan)

    def stop(self) -> None:
        """What trains in this process cannot be ended."""

    start = close = stop


@dataclasses.dataclass
class Daemon:
    """A site's guard behind its approvals, as the daemon has it."""

    approvals: _Approvals
    site: Site
    training: Trainers

    def handle(self, request: Packet | None) -> Packet:
        return self.approvals.handle(request)

    def close(self) -> None:
        self.training.close()
        self.site.close()


class DeployedHospitals(Hospitals):
    """Sites with the folders of a deployment, whose people type commands; the plan is on each shelf."""

    def __init__(self, home: Path, n: int = 3, **changes) -> None:
        self.coordinator = make_coordinator(home / "coordinator")
        super().__init__(home, n, **changes)

    @property
    def digest(self) -> str:
        return plan_digest(self.plan).hex()

    def _open(self, name: str) -> Daemon:
        path = self.home / name
        if not path.exists():
            make_site(path, self.coordinator, name)
            found = Shelf(path).add(sign_plan(self.plan, SECRETS.key("lead")))
            catalogue = catalogue_of(name)
            sealer = SECRETS.site_key(name).data(plan_digest(self.plan))
            catalogue.save(found.catalogue, sealer)
            keep(summarise(catalogue, rejects=0), found.catalogue.parent)
            found.approve()
        home = SiteHome(path)
        site, training = self._site(home), self._trainers(name)
        return Daemon(_Approvals(home, site, training, _Switch(path, training)), site, training)

    def _site(self, home: SiteHome) -> Site:
        return Site(home.path, signer=home.signer, key=home.site_key, policy=self.policy)

    def _trainers(self, name: str) -> Trainers:
        return TrainersHere(lambda: self.tasks[name])


def until(there, *, patience_s: float = 60.0) -> None:
    """Wait for another thread or process."""
    deadline = time.monotonic() + patience_s
    while not there():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)
