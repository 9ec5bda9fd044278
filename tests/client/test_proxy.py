"""A site behind its hospital's HTTPS proxy: everything goes through it, and it sees nothing."""

from __future__ import annotations

import datetime
import signal

import pytest
from proxies import proxy
from served import join_site, linked, new_coordinator, node_headers, running, until

from wardround_client import daemon
from wardround_client.home import SiteHome
from wardround_client.link import Link
from wardround_client.renewal import Renewer
from wardround_client.trouble import words
from wardround_common.errors import ConfigError, TransportError

HANDSHAKE = 0x16
"""First byte of a TLS connection."""


@pytest.fixture
def home(tmp_path):
    return new_coordinator(tmp_path / "coordinator")


@pytest.fixture(autouse=True)
def _no_proxy_yet(monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def use(monkeypatch, through):
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{through.port}")


def sees_nothing(through, *secrets):
    """All tunnels carried TLS, and none of these bytes."""
    for sent, came in through.carried:
        assert sent[0] == came[0] == HANDSHAKE
        for secret in (b"HTTP/1.1", b"/v1/", b"wardround-time", *secrets):
            assert secret not in sent
            assert secret not in came


def test_a_site_joins_renews_and_is_online_through_a_proxy_that_sees_ciphertext(home, tmp_path, monkeypatch):
    with running(home), proxy() as through:
        use(monkeypatch, through)
        site = join_site(home, tmp_path / "alder")
        config = home.config
        assert through.asked == [f"CONNECT 127.0.0.1:{config.enrol_port} HTTP/1.1"] * 2
        later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(300)
        assert Renewer(site.line, look_s=0, clock=lambda: later).look()
        with linked(site.line) as told:
            until(lambda: told.last == ("online", ""))
            assert len(through.carried) >= 4
        assert set(through.asked[2:]) == {f"CONNECT 127.0.0.1:{config.port} HTTP/1.1"}
        card = (site.path / "card").read_bytes()
        sees_nothing(through, card, node_headers(home)["flwr-public-key"].encode())


def test_no_proxy_is_asked_where_the_environment_says_so(home, tmp_path, monkeypatch):
    with running(home), proxy() as through:
        use(monkeypatch, through)
        monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
        site = join_site(home, tmp_path / "alder")
        with linked(site.line) as told:
            until(lambda: told.last == ("online", ""))
    assert through.asked == []


def test_a_proxy_that_refuses_is_told(home, tmp_path, monkeypatch):
    with running(home):
        site = join_site(home, tmp_path / "alder")
        with proxy(status="403 Forbidden") as through:
            use(monkeypatch, through)
            with linked(site.line) as told:
                until(lambda: told.last == ("offline", "link.proxyerror"))
            with pytest.raises(TransportError) as caught:
                join_site(home, tmp_path / "birch", "birch")
    assert caught.value.code == "join.unreachable"
    assert "proxy" in words("link.proxyerror", 0)


def test_the_daemon_takes_the_proxy_that_its_folder_names(home, tmp_path, monkeypatch):
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with running(home), proxy() as through:
        site = join_site(home, tmp_path / "alder")
        config = site.path / "site.toml"
        config.write_text(f'proxy = "http://127.0.0.1:{through.port}"\n' + config.read_text())
        monkeypatch.setenv("HTTPS_PROXY", "")  # what the daemon changes is put back
        monkeypatch.setenv("https_proxy", "")
        run = Link.run

        def until_online(link, stop):
            told = link._told
            link._told = lambda *said: (told(*said), stop.set() if said[0] == "online" else None)
            run(link, stop)

        monkeypatch.setattr(Link, "run", until_online)
        daemon.run_site(site)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    assert set(through.asked) == {f"CONNECT 127.0.0.1:{home.config.port} HTTP/1.1"}


@pytest.mark.parametrize(
    "bad",
    [
        *("http://user:password@proxy.example:3128", "proxy.example:3128", "ftp://proxy.example:21"),
        *("http://proxy.example", "http://proxy.example:3128/", "http://a b:1", "http://proxy.example:1\\n"),
    ],
)
def test_a_proxy_of_another_form_is_refused(tmp_path, bad):
    toml = f'name = "alder"\nhost = "hub.example"\nport = 8443\nproxy = "{bad}"\n'
    (tmp_path / "site.toml").write_text(toml)
    with pytest.raises(ConfigError):
        _ = SiteHome(tmp_path).config
