"""The pass-through: nginx takes the file, and a coordinator behind it sees the site's own certificate."""

import http.client
import re
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

import pytest
from deployments import DEPLOY
from services import coordinator

from wardround_client.link import REQUEST_S
from wardround_common.certificates import key_pem, make_request, new_key
from wardround_common.enrolment import CA_PATH
from wardround_server.holding import SITE_HOLD_S
from wardround_server.home import CoordinatorConfig, CoordinatorHome
from wardround_simulations.deployed import free_ports

CONF = (DEPLOY / "nginx" / "wardround.conf").read_text()
CONFIG = CoordinatorConfig(host="hub.example")
MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
PULL = "/v1/fleet/pull-messages"


@pytest.fixture
def nginx(tmp_path):
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None or not MODULE.is_file():
        pytest.skip("nginx with its stream module is not installed; see deploy/system-packages.txt")

    def command(conf, *words):
        folder = tmp_path / "nginx"
        folder.mkdir(exist_ok=True)
        (folder / "wardround.conf").write_text(conf.replace("/var/log/nginx", str(folder)))
        main = f"load_module {MODULE};\nuser root;\ndaemon off;\nworker_processes 1;\npid {folder}/pid;\n"
        main += f"error_log {folder}/error.log;\nevents {{}}\ninclude {folder}/wardround.conf;\n"
        (folder / "nginx.conf").write_text(main)
        return [program, "-p", str(folder), "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf", *words]

    return command


def checked(command):
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_nginx_takes_the_file(nginx):
    result = checked(nginx(CONF, "-t"))
    assert result.returncode == 0, result.stderr


def test_a_misspelt_line_is_noticed(nginx):
    assert checked(nginx(CONF.replace("ssl_preread on", "ssl_prereads on"), "-t")).returncode != 0


def test_it_passes_on_to_the_ports_of_the_service_and_waits_longer_than_they_hold():
    upstreams = dict(re.findall(r"upstream (\w+)\s*\{ server 127\.0\.0\.1:(\d+); \}", CONF))
    assert (int(upstreams["rounds"]), int(upstreams["joining"])) == (CONFIG.port, CONFIG.enrol_port)
    waits = int(re.search(r"proxy_timeout (\d+)s;", CONF)[1])
    assert waits > REQUEST_S > SITE_HOLD_S
    assert "proxy_protocol" not in CONF  # the service would take it for the beginning of TLS
    assert "ssl_certificate" not in CONF


@pytest.fixture
def front(nginx, tmp_path):
    """A coordinator with two names behind nginx; returns its folder and the port of nginx."""
    (port,) = free_ports(1)
    names = {"host": "hub.example", "enrol_host": "join.hub.example"}
    made = coordinator(tmp_path, **names, public_port=port, public_enrol_port=port)
    config = CoordinatorHome(made.coordinator).config
    conf = CONF.replace("listen 443;", f"listen 127.0.0.1:{port};").replace("listen [::]:443;", "")
    for stated, free in ((CONFIG.port, config.port), (CONFIG.enrol_port, config.enrol_port)):
        conf = conf.replace(f"127.0.0.1:{stated}", f"127.0.0.1:{free}")
    process = None
    try:
        made.start_service()
        process = subprocess.Popen(nginx(conf))
        made.wait_for("nginx", process, lambda: reachable(port))
        yield CoordinatorHome(made.coordinator), port
    finally:
        if process is not None:
            process.terminate()
            process.wait()
        made.stop()


def reachable(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def ask(home, port, name, method, path, *, certificate=None):
    context = ssl.create_default_context(cafile=home.path / "ca.pem")
    if certificate is not None:
        context.load_cert_chain(certificate)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname=name) as line,
    ):
        line.sendall(f"{method} {path} HTTP/1.1\r\nHost: {name}\r\nContent-Length: 0\r\n\r\n".encode())
        response = http.client.HTTPResponse(line)
        response.begin()
        return response.status, response.read()


def site_certificate(home, tmp_path):
    key = new_key()
    pem = tmp_path / "site.pem"
    pem.write_bytes(key_pem(key) + home.issuer.for_site(make_request(key, "alder"), "alder"))
    return pem


def test_behind_nginx_names_lead_to_ports_and_the_coordinator_sees_the_certificate(front, tmp_path):
    home, port = front
    ca = ssl.PEM_cert_to_DER_cert((home.path / "ca.pem").read_text())
    assert ask(home, port, "join.hub.example", "GET", CA_PATH) == (200, ca)
    with pytest.raises((ssl.SSLError, ConnectionError)):  # rounds: no certificate, no TLS
        ask(home, port, "hub.example", "POST", PULL)
    pem = site_certificate(home, tmp_path)
    status, _ = ask(home, port, "hub.example", "POST", PULL, certificate=pem)
    assert status == 403  # of the guard: TLS took the certificate, enrolment does not know it
    wait_for_log(home, "guard.stranger")
    for name in ("other.example", "localhost"):
        with pytest.raises((ssl.SSLError, OSError)):
            ask(home, port, name, "GET", CA_PATH)


def wait_for_log(home, code):
    for _ in range(100):
        if code in (home.path / "log.jsonl").read_text():
            return
        time.sleep(0.05)
    pytest.fail(f"{code} is not in the log")
