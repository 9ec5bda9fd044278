"""The coordinator's folder.

    coordinator.toml     addresses; a person may change them while the service is stopped
    identity.key, card   its Ed25519 identity, and the card for the authority
    ca.key, ca.pem       the CA that certifies TLS, nothing else
    server.pem           the server's key and certificate, in one file
    runtime.secret       what service and job share
    roster, authority.pub   as the authority signed it, and the key that a newer one must be signed with
    audit.sqlite, audit.head   what service and jobs did (``wardround_common.audit``)
    invitations/SITE     join codes that were not used yet, as digests
    sites/SITE/          card, certificate.pem, node.pub of a site that joined; next.pem: see ``register``
    studies/STUDY/       plan, journal.sqlite, and the report when it is done;
                         opened, paused, stopped: what people decided (``control``)

Rules:

* Private files have mode 0600 in a folder of mode 0700; what others may read is refused.

Not here: who may join (``enrolment``).

Privacy: no patient data; names and public keys of institutions.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate
from msgspec import Meta, Struct

from wardround_common.audit import AuditLog
from wardround_common.authority import Card, keyfile, make_card, open_card
from wardround_common.authority.cards import CARD_LIMIT_BYTES
from wardround_common.canonical import convert, read_toml
from wardround_common.certificates import LEAF_LIFE, Issuer, key_pem, load_certificate, new_key
from wardround_common.enrolment import Host, Port
from wardround_common.errors import ConfigError
from wardround_common.files import OWNER_ONLY, check_private, new_folder, read, write
from wardround_common.identity import KEY_BYTES, SigningKey
from wardround_common.messages import Signer
from wardround_common.plan import StudyPlan
from wardround_common.trust import (
    COORDINATOR,
    SIGNED_LIMIT_BYTES,
    Roster,
    open_plan,
    open_roster,
    recorded_roster,
)
from wardround_server.guard import Enrolled

PEM_LIMIT_BYTES = 16384
SECRET_BYTES = 32
ROSTER, AUTHORITY = "roster", "authority.pub"
SERVER = "server.pem"
CERTIFICATE_FILE, NEXT_CERTIFICATE = "certificate.pem", "next.pem"
AUDIT, AUDIT_HEAD = "audit.sqlite", "audit.head"


class CoordinatorConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the coordinator is reached."""

    host: Host
    """Name or address in its certificate, and in join codes."""
    bind: Host = "127.0.0.1"
    """Address that the two outer ports are opened on."""
    port: Port = 8443
    """For rounds: the Fleet API, client certificates required."""
    enrol_port: Port = 8444
    """For joining: TLS without client certificates, one request."""
    runtime_port: Port = 8445
    """On loopback, for the job process."""
    public_port: Port | None = None
    """Where hospitals reach the port for rounds, if something in front passes it on; else ``port``."""
    enrol_host: Host | None = None
    """Name or address that hospitals join at, if it is another than ``host``."""
    public_enrol_port: Port | None = None
    """As ``public_port``, for joining."""
    connections_of_one: Annotated[int, Meta(ge=2, le=1000)] = 100
    """Of one network address at each outer port; two of each site, and one address for all behind a relay."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """What the server's certificate is for."""
        names = (self.host, self.enrol_host or self.host, "127.0.0.1", "localhost")
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True, slots=True)
class CoordinatorHome:
    """The folder of a coordinator that ``create`` made."""

    path: Path

    @property
    def config(self) -> CoordinatorConfig:
        """What ``coordinator.toml`` says.

        Raises:
            ConfigError: It is missing or wrong; ``coordinator.absent``.
        """
        if not (self.path / "coordinator.toml").is_file():
            raise ConfigError(
                f"{self.path} is no coordinator's folder",
                remedy="Check the path, or make one with `wardround-coordinator init DIR`.",
                code="coordinator.absent",
            )
        return convert(read_toml(self.path / "coordinator.toml"), CoordinatorConfig, where="coordinator.toml")

    @property
    def issuer(self) -> Issuer:
        """The CA."""
        return Issuer.load(self.private("ca.key"), read(self.path / "ca.pem", limit_bytes=PEM_LIMIT_BYTES))

    @property
    def signer(self) -> Signer:
        """The coordinator's identity."""
        return Signer(COORDINATOR, keyfile.load(self.path / "identity.key", None))

    @property
    def secret(self) -> bytes:
        """What service and job share."""
        return self.private("runtime.secret")

    def private(self, name: str) -> bytes:
        """A file that only its owner may read."""
        check_private(self.path / name)
        return read(self.path / name, limit_bytes=PEM_LIMIT_BYTES)

    def roster(self) -> bytes:
        """The roster as the authority signed it.

        Raises:
            ConfigError: ``coordinator.no_roster``.
        """
        if not (self.path / ROSTER).is_file():
            raise _no_roster()
        return read(self.path / ROSTER, limit_bytes=SIGNED_LIMIT_BYTES)

    def take_roster(self, signed: bytes, *, authority_key: bytes, today: datetime.date) -> Roster:
        """Take up a roster; service and jobs look for it while they run.

        Raises:
            ProtocolError, ConsentError: It is not acceptable (``open_roster``).
            ConfigError: ``coordinator.other_roster``.
        """
        newest = 0
        if (self.path / AUTHORITY).is_file() and self.authority_key() == authority_key:
            newest = recorded_roster(self.roster()).version
        opened = open_roster(signed, authority_key=authority_key, today=today, newest=newest)
        if opened.coordinator != self.signer.key.public:
            raise ConfigError(
                "the roster names another coordinator",
                remedy=f"Ask the authority to sign one with {self.path / 'card'}.",
                code="coordinator.other_roster",
            )
        write(self.path / ROSTER, signed)
        write(self.path / AUTHORITY, authority_key.hex().encode())
        return opened

    def authority_key(self) -> bytes:
        """The key that rosters must be signed with.

        Raises:
            ConfigError: ``coordinator.no_roster``: none was taken up, or the file is damaged.
        """
        if not (self.path / AUTHORITY).is_file():
            raise _no_roster()
        text = read(self.path / AUTHORITY, limit_bytes=2 * KEY_BYTES + 1).decode("ascii", "replace")
        try:
            return bytes.fromhex(text)
        except ValueError as error:
            raise _no_roster() from error

    def audit_log(self) -> AuditLog:
        """The coordinator's audit log; made where it does not exist."""
        return AuditLog(self.path / AUDIT, signer=self.signer, head_path=self.path / AUDIT_HEAD)

    def enrolled_site(self, name: str) -> Enrolled:
        """A site that joined."""
        folder = self.path / "sites" / name
        node_key = read(folder / "node.pub", limit_bytes=PEM_LIMIT_BYTES)
        card = open_card(read(folder / "card", limit_bytes=CARD_LIMIT_BYTES))
        return Enrolled(name, node_key, card.key)

    def certificate(self, name: str, file: str = CERTIFICATE_FILE) -> Certificate:
        """The certificate of a site that joined."""
        return load_certificate(read(self.path / "sites" / name / file, limit_bytes=PEM_LIMIT_BYTES))

    @property
    def server_certificate(self) -> Certificate:
        """The server's own."""
        return load_certificate(self.private(SERVER))

    def new_server_pair(self, *, life: datetime.timedelta = LEAF_LIFE) -> bytes:
        """A new key of the server and its certificate, in PEM."""
        return _server_pair(self.issuer, self.config.hosts, life=life)

    def write_server_pair(self, pair: bytes) -> None:
        """Keep them instead of the ones before."""
        write(self.path / SERVER, pair, mode=OWNER_ONLY)

    def cards(self) -> list[Card]:
        """The cards of the sites that joined."""
        return [
            open_card(read(folder / "card", limit_bytes=CARD_LIMIT_BYTES))
            for folder in sorted((self.path / "sites").iterdir())
        ]

    def add_study(self, signed_plan: bytes) -> StudyPlan:
        """Keep a plan that its lead signed; a study of that name must not exist.

        Raises:
            ProtocolError, ConsentError: The plan is not acceptable.
            ConfigError: ``coordinator.study_exists``.
        """
        plan = open_plan(signed_plan, today=datetime.date.today())
        folder = self.path / "studies" / plan.study
        if folder.exists():
            raise ConfigError(
                f"there is a study named {plan.study}",
                remedy="Ask the lead to give the plan another name.",
                code="coordinator.study_exists",
            )
        folder.mkdir(mode=0o700)
        write(folder / "plan", signed_plan)
        return plan

    def study(self, name: str) -> Path:
        """The folder of a study.

        Raises:
            ConfigError: ``coordinator.no_study``.
        """
        folder = self.path / "studies" / Path(name).name
        if not (folder / "plan").is_file():
            raise ConfigError(
                f"there is no study named {name}",
                remedy="Add its signed plan with `wardround-coordinator study new`.",
                code="coordinator.no_study",
            )
        return folder

    def studies(self) -> list[str]:
        """The names of all studies."""
        return sorted(path.parent.name for path in (self.path / "studies").glob("*/plan"))


def create(path: Path, config: CoordinatorConfig) -> CoordinatorHome:
    """A new coordinator in ``path``, which must not exist: keys, certificates, card.

    Raises:
        ConfigError: ``coordinator.exists``.
        StorageError: ``files.unwritable``.
    """
    if path.exists():
        raise ConfigError(
            f"{path} exists",
            remedy="Name a new folder; a coordinator is never overwritten.",
            code="coordinator.exists",
        )
    with new_folder(path) as fresh:
        _fill(fresh, config)
    return CoordinatorHome(path)


def _fill(folder: Path, config: CoordinatorConfig) -> None:
    identity = Ed25519PrivateKey.generate()
    issuer = Issuer.create(f"Wardround CA of {config.host}")
    write(folder / "identity.key", keyfile.seal(identity, None), mode=OWNER_ONLY)
    write(folder / "card", make_card(COORDINATOR, SigningKey(identity)))
    write(folder / "ca.key", issuer.key_pem, mode=OWNER_ONLY)
    write(folder / "ca.pem", issuer.certificate.public_bytes(Encoding.PEM))
    write(folder / SERVER, _server_pair(issuer, config.hosts, life=LEAF_LIFE), mode=OWNER_ONLY)
    write(folder / "runtime.secret", os.urandom(SECRET_BYTES), mode=OWNER_ONLY)
    lines = (f"{name} = {value!r}" for name, value in _fields(config).items())
    write(folder / "coordinator.toml", ("\n".join(lines) + "\n").encode())
    for name in ("invitations", "sites", "studies"):
        (folder / name).mkdir(mode=0o700)


def _server_pair(issuer: Issuer, hosts: Sequence[str], *, life: datetime.timedelta) -> bytes:
    key = new_key()
    return key_pem(key) + issuer.for_server(key.public_key(), hosts, life=life)


def _no_roster() -> ConfigError:
    return ConfigError(
        "the coordinator has no roster",
        remedy="Get one from the authority, and hand it over with `wardround-coordinator roster`.",
        code="coordinator.no_roster",
    )


def _fields(config: CoordinatorConfig) -> dict[str, str | int]:
    values = {name: getattr(config, name) for name in config.__struct_fields__}
    return {name: value for name, value in values.items() if value is not None}
