"""Whether the coordinator's service answers: ``health.py DIR``, exit status 0 or 1.

Connects to the port for joining on this machine, over TLS, and asks for the certificate of its CA. All three
ports are served by one loop: one that hangs, hangs for all. The answer must be the certificate in the folder.

Needs nothing but Python's own library.

Privacy: reads and sends nothing secret.
"""

from __future__ import annotations

import http.client
import ssl
import sys
import tomllib
from pathlib import Path

CA_PATH = "/v1/ca"
TIMEOUT_S = 3.0


def answers(folder: Path) -> bool:
    """Whether the service of that folder answers, and is the one of that folder."""
    config = tomllib.loads((folder / "coordinator.toml").read_text(encoding="utf-8"))
    ca = (folder / "ca.pem").read_text(encoding="ascii")
    host = "127.0.0.1" if config["bind"] in ("0.0.0.0", "::", "127.0.0.1") else config["bind"]
    context = ssl.create_default_context(cadata=ca)
    context.check_hostname = False  # the name in the certificate is the one that hospitals use
    connection = http.client.HTTPSConnection(host, config["enrol_port"], context=context, timeout=TIMEOUT_S)
    try:
        connection.request("GET", CA_PATH)
        response = connection.getresponse()
        return response.status == 200 and response.read(65536) == ssl.PEM_cert_to_DER_cert(ca)
    finally:
        connection.close()


if __name__ == "__main__":
    try:
        sys.exit(0 if answers(Path(sys.argv[1])) else 1)
    except (OSError, KeyError, ValueError) as error:
        sys.exit(f"no answer: {type(error).__name__}")
