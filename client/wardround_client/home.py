"""The site's folder, as ``wardround-site join`` makes it.

    site.toml                name, the coordinator's address, the site's own limits
    identity.key, card       its Ed25519 identity, and the card for the authority
    tls.pem, ca.pem          TLS key and certificate in one file, and the coordinator's CA
    node.key                 what Flower knows the node by
    patients.secret          under which patient numbers are hashed; never rotated
    site.key                 under which all that is derived from patients is sealed (``sealing``)
    ledger.sqlite, audit.sqlite, protocol.sqlite, scratch/
    plans/DIGEST/            plan, catalogue, rejects, and `approved` or `refused` where a person said so
                             (``shelf``)
    trust.toml               keys that were compared by phone (``pins``)
    paused                   while a person has stopped everything (``pausing``)
    status.json, log.jsonl

Rules:

* Private files have mode 0600 in a folder of mode 0700; what others may read is refused.
* The site key may lie elsewhere: ``site_key`` in ``site.toml`` names its file.
* Every limit that ``site.toml`` leaves out has the safe value of ``policy``.
* A proxy in ``site.toml`` has no password: one that needs it goes into the environment (``HTTPS_PROXY``).

Privacy: all that a site keeps; nothing here leaves but the card and public halves of keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from wardround_client.line import HEARTBEAT_S, LineKeys
from wardround_client.policy import SitePolicy
from wardround_client.sealing import SiteKey
from wardround_client.tasks.interface import RuntimeFlags
from wardround_common.authority import keyfile
from wardround_common.canonical import convert, read_toml
from wardround_common.certificates import load_key
from wardround_common.enrolment import Host, Port
from wardround_common.errors import ConfigError, StorageError
from wardround_common.files import check_private, read
from wardround_common.messages import Signer
from wardround_common.plan_parts import Name
from wardround_common.streams import KEY_BYTES

CONFIG = "site.toml"
IDENTITY, CARD = "identity.key", "card"
TLS, CA, NODE_KEY = "tls.pem", "ca.pem", "node.key"
PATIENTS = "patients.secret"
SITE_KEY = "site.key"
STATUS = "status.json"
"""Whether the line stands, as the daemon said last."""
PEM_LIMIT_BYTES = 16384


Proxy = Annotated[str, Meta(pattern=r"\A(http://[A-Za-z0-9.-]{1,253}:[0-9]{1,5})?\Z")]


class SiteConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``site.toml`` says."""

    name: Name
    host: Host
    port: Port
    site_key: Annotated[str, Meta(min_length=1)] = SITE_KEY
    """File of the site key; a relative path is relative to the folder."""
    proxy: Proxy = ""
    """Of the hospital, by which the daemon reaches the coordinator; empty: what the environment says."""
    heartbeat_s: Annotated[float, Meta(ge=10, le=60)] = HEARTBEAT_S
    """Between signs of life; after two that are missing a site counts as away. Flower wants 10 at least."""
    policy: SitePolicy = SitePolicy()
    machine: RuntimeFlags = RuntimeFlags()


@dataclass(frozen=True, slots=True)
class SiteHome:
    """The folder of a site that joined."""

    path: Path

    @property
    def config(self) -> SiteConfig:
        """What ``site.toml`` says.

        Raises:
            ConfigError: It is missing or wrong; ``site.absent``.
        """
        if not (self.path / CONFIG).is_file():
            raise ConfigError(
                f"{self.path} is no site's folder",
                remedy="Check the path, or join with `wardround-site join DIR CODE`.",
                code="site.absent",
            )
        return convert(read_toml(self.path / CONFIG), SiteConfig, where=CONFIG)

    def check(self) -> None:
        """Return only if a site's folder is there, and says what it must.

        Raises:
            ConfigError: As ``config``.
        """
        _ = self.config

    @property
    def signer(self) -> Signer:
        """The site's name and identity key."""
        check_private(self.path)
        return Signer(self.config.name, keyfile.load(self.path / IDENTITY, None))

    @property
    def patients_secret(self) -> bytes:
        """The secret under which patient numbers are hashed."""
        return self.private(PATIENTS)

    @property
    def site_key(self) -> SiteKey:
        """What the site seals at rest under.

        Raises:
            StorageError: ``site_key.missing``, ``site_key.malformed``; ``files.exposed``: others may read it.
        """
        path = self.path / self.config.site_key
        try:
            secret = self.private(self.config.site_key)
        except OSError as error:
            raise StorageError(
                f"the site key {path} is not to be had: {error.strerror}",
                remedy="Put it back, or name its place as site_key in site.toml. If it is lost, so is what "
                "it sealed: end the studies at this site, and join anew.",
                code="site_key.missing",
            ) from error
        if len(secret) != KEY_BYTES:
            raise StorageError(
                f"expected {KEY_BYTES} bytes in the site key {path}, got {len(secret)}",
                remedy="Put back the file that `wardround-site join` made, byte for byte.",
                code="site_key.malformed",
            )
        return SiteKey(secret)

    @property
    def line(self) -> LineKeys:
        """How the site connects."""
        config = self.config
        check_private(self.path / TLS)
        return LineKeys(
            address=f"{config.host}:{config.port}",
            ca=self.path / CA,
            certificate=self.path / TLS,
            node_key=load_key(self.private(NODE_KEY)),
            heartbeat_s=config.heartbeat_s,
        )

    def private(self, name: str) -> bytes:
        """A file that only its owner may read."""
        check_private(self.path / name)
        return read(self.path / name, limit_bytes=PEM_LIMIT_BYTES)
