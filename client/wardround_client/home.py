"""The site's folder, as ``wardround-site join`` makes it.

    site.toml                name, the coordinator's address, the site's own limits
    identity.key, card       its Ed25519 identity, and the card for the authority
    tls.key, tls.pem, ca.pem
    node.key                 what Flower knows the node by
    patients.secret          under which patient numbers are hashed; never rotated
    ledger.sqlite, protocol.sqlite, scratch/
    plans/DIGEST/            plan, catalogue, and `approved` where a person said so (``shelf``)
    status.json, log.jsonl

Rules:

* Private files have mode 0600 in a folder of mode 0700; what others may read is refused.
* Every limit that ``site.toml`` leaves out has the safe value of ``policy``.

Privacy: all that a site keeps; nothing here leaves but the card and public halves of keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from msgspec import Struct

from wardround_client.line import LineKeys
from wardround_client.policy import SitePolicy
from wardround_client.tasks.interface import RuntimeFlags
from wardround_common.authority import keyfile
from wardround_common.canonical import convert, read_toml
from wardround_common.certificates import load_key
from wardround_common.enrolment import Host, Port
from wardround_common.errors import ConfigError
from wardround_common.files import check_private, read
from wardround_common.messages import Signer
from wardround_common.plan_parts import Name

CONFIG = "site.toml"
IDENTITY, CARD = "identity.key", "card"
TLS_KEY, CERTIFICATE, CA, NODE_KEY = "tls.key", "tls.pem", "ca.pem", "node.key"
PATIENTS = "patients.secret"
PEM_LIMIT_BYTES = 16384


class SiteConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``site.toml`` says."""

    name: Name
    host: Host
    port: Port
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
    def line(self) -> LineKeys:
        """How the site connects."""
        config = self.config
        check_private(self.path / TLS_KEY)
        return LineKeys(
            address=f"{config.host}:{config.port}",
            ca=self.path / CA,
            certificate=self.path / CERTIFICATE,
            key=self.path / TLS_KEY,
            node_key=load_key(self.private(NODE_KEY)),
        )

    def private(self, name: str) -> bytes:
        """A file that only its owner may read."""
        check_private(self.path / name)
        return read(self.path / name, limit_bytes=PEM_LIMIT_BYTES)
