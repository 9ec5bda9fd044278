"""Where a site connects to, and how it shows who it is.

Not here: the connection (``link``), the files (``home``).

Privacy: names files, and holds one key.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey


@dataclass(frozen=True, kw_only=True, slots=True)
class LineKeys:
    """How the site shows who it is to the transport.

    Attributes:
        address: ``host:port`` of the coordinator.
        ca: Its CA's certificate, a PEM file.
        certificate: The site's certificate, a PEM file.
        key: Its TLS key, a PEM file.
        node_key: The key that Flower knows the node by.
    """

    address: str
    ca: Path
    certificate: Path
    key: Path
    node_key: EllipticCurvePrivateKey
