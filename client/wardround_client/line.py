"""Where a site connects to, and how it shows who it is.

A proxy that the environment names (``HTTPS_PROXY``, but for ``NO_PROXY``) is asked for a tunnel; TLS stands
between the site and the coordinator all the same.

Not here: the connection (``link``), the files (``home``).

Privacy: names files, and holds one key.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

HEARTBEAT_S = 15.0


@dataclass(frozen=True, kw_only=True, slots=True)
class LineKeys:
    """How the site shows who it is to the transport.

    Attributes:
        address: ``host:port`` of the coordinator.
        ca: Its CA's certificate, a PEM file.
        certificate: The site's TLS key and its certificate, one PEM file.
        node_key: The key that Flower knows the node by.
        heartbeat_s: Flower calls the node away after twice this time without a sign of life.
    """

    address: str
    ca: Path
    certificate: Path
    node_key: EllipticCurvePrivateKey
    heartbeat_s: float = HEARTBEAT_S

    def context(self) -> ssl.SSLContext:
        """TLS 1.3 with them, as they are now."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(self.ca)
        context.load_cert_chain(self.certificate)
        return context
