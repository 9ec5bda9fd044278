"""A site behind a hospital's proxy joins and comes online through CONNECT, and the proxy sees TLS only."""

import os
import socket
import threading

import pytest
from deployments import DEPLOY
from services import coordinator

from wardround_simulations.deployed import Deployment

WITHOUT = {"no_proxy", "NO_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy"}


class Proxy(threading.Thread):
    """Answers CONNECT; keeps what it was asked for and what it saw of each direction first."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.asked, self.first = [], []

    def run(self):
        while True:
            try:
                client, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        method, target, _ = head.split(b"\r\n")[0].decode().split()
        self.asked.append((method, target))
        host, _, port = target.partition(":")
        with client, socket.create_connection((host, int(port))) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
            back.start()
            self._pump(client, server)
            back.join()

    def _pump(self, source, target):
        try:
            data = source.recv(65536)
            self.first.append(data[:1])
            while data:
                target.sendall(data)
                data = source.recv(65536)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return


@pytest.fixture
def proxy():
    running = Proxy()
    running.start()
    yield running
    running.listening.close()


def test_a_site_joins_and_comes_online_through_a_proxy(proxy, tmp_path):
    class Behind(Deployment):
        def _environment(self):
            kept = {name: value for name, value in os.environ.items() if name not in WITHOUT}
            return kept | {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", "OMP_NUM_THREADS": "1"}

    made = coordinator(tmp_path, kind=Behind)
    (tmp_path / "sites").mkdir()
    try:
        made.start_service()
        made.enrol("alder")
        made.start_site("alder")
        made.wait_for_sites()
        made.sites["alder"].kill()  # told to stop, it would wait for its last request
    finally:
        made.stop()
    assert {method for method, _ in proxy.asked} == {"CONNECT"}
    assert len({target for _, target in proxy.asked}) == 2  # joining and rounds
    assert set(proxy.first) <= {b"\x16", b""}  # a TLS handshake, in both directions


def test_the_ticket_says_so():
    text = (DEPLOY / "firewall-ticket.md").read_text()
    assert "CONNECT" in text
    assert "HTTPS_PROXY" in text
