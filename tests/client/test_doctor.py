"""What ``wardround-site doctor`` finds, on folders and lines that are really broken."""

from __future__ import annotations

import asyncio
import datetime
import fcntl
import json
import os
import shutil
import threading
import time
from contextlib import closing

import pytest
from homes import DeployedHospitals, make_coordinator, make_site, until, wardround_site
from hospitals import SECRETS, TODAY, signed_roster

from wardround_client.doctor import examine
from wardround_client.shelf import Shelf
from wardround_common.certificates import Issuer, key_pem, make_request, new_key
from wardround_common.identity import fingerprint
from wardround_server.door import Door, server_context
from wardround_server.guard import Clocked, FleetGuard
from wardround_server.register import Register
from wardround_server.service import _server

SITE = "birch"
NOW = datetime.datetime.now(tz=datetime.UTC)


@pytest.fixture
def h(tmp_path):
    hospitals = DeployedHospitals(tmp_path / "homes", 3, rounds=5)
    yield hospitals
    hospitals.close()


@pytest.fixture
def home(h):
    return h.home / SITE


def found(home, subject, **options):
    """The worst verdict on a subject, and what was said."""
    options = {"gpu": False} | options
    worst = {"ok": 0, "warn": 1, "FAIL": 2}
    about = [one for one in examine(home, **options) if one.subject == subject]
    assert about, subject
    worst_one = max(about, key=lambda one: worst[one.verdict])
    return worst_one.verdict, worst_one.line


def fails(home):
    """What fails, but for the disk of the machine that runs the tests."""
    result = wardround_site("doctor", home, "--json")
    failed = [one for one in json.loads(result.output) if one["verdict"] == "FAIL"]
    assert result.exit_code == bool(failed)
    return [one for one in failed if one["subject"] != "disk"]


def test_an_offline_site_is_examined_to_the_end_and_says_what_to_do(home):
    (failed,) = fails(home)
    assert failed["subject"] == "coordinator"
    assert "HTTPS_PROXY" in failed["remedy"]
    result = wardround_site("doctor", home)
    assert result.exit_code == 1
    subjects = {line[6:].split(":")[0] for line in result.output.splitlines()}
    assert subjects >= {
        *("site.toml", "permissions", "identity", "disk", "certificate", "ledger", "audit log", "daemon"),
        *("plan of test", "roster of test"),
    }


@pytest.mark.parametrize("name", ["", "identity.key", "tls.pem", "node.key", "patients.secret"])
def test_what_others_may_read_is_found(home, name):
    assert found(home, "permissions")[0] == "ok"
    (home / name).chmod(0o755 if not name else 0o644)
    verdict, line = found(home, "permissions")
    assert verdict == "FAIL"
    assert "chmod" in line


def test_a_site_toml_that_says_nonsense_is_found_and_the_rest_is_looked_at(home):
    (home / "site.toml").write_text("name = 3")
    assert found(home, "site.toml")[0] == "FAIL"
    assert "GB free" in found(home, "disk")[1]
    assert found(home, "audit log")[0] == "FAIL"
    assert found(home, "plan of test")[0] == "ok"


def test_a_key_that_is_gone_is_found(home):
    (home / "identity.key").unlink()
    assert found(home, "identity")[0] == "FAIL"


def test_an_identity_that_is_not_the_cards_is_found(h, home):
    assert found(home, "identity")[0] == "ok"
    shutil.copy(h.home / "alder" / "identity.key", home / "identity.key")
    assert found(home, "identity")[0] == "FAIL"


@pytest.mark.parametrize(
    ("days", "verdict"), [(0, "ok"), (397 - 32, "ok"), (397 - 29, "warn"), (398, "FAIL"), (-1, "FAIL")]
)
def test_a_certificate_warns_a_month_before_its_end(home, days, verdict):
    assert found(home, "certificate", now=NOW + datetime.timedelta(days))[0] == verdict


@pytest.mark.parametrize("lie", ["other key", "other name", "other CA"])
def test_a_certificate_that_does_not_fit_is_found(h, home, lie):
    key = mine = new_key()
    if lie == "other key":
        mine = new_key()
    issuer = Issuer.create("another") if lie == "other CA" else h.coordinator.issuer
    name = "alder" if lie == "other name" else SITE
    (home / "tls.pem").write_bytes(key_pem(mine) + issuer.for_site(make_request(key, name), name))
    assert found(home, "certificate")[0] == "FAIL"


# databases


@pytest.mark.parametrize(("subject", "name"), [("ledger", "ledger"), ("audit log", "audit")])
def test_a_database_that_is_gone_is_missed_and_none_is_made(h, home, subject, name):
    assert found(home, subject)[0] == "ok"
    h.sites[SITE].close()
    (home / f"{name}.sqlite").unlink()
    verdict, line = found(home, subject)
    assert verdict == "FAIL"
    assert "gone" in line
    assert not (home / f"{name}.sqlite").exists()
    (home / "scratch" / f"{name}.head").unlink()
    assert found(home, subject)[0] == "ok"
    assert not (home / f"{name}.sqlite").exists()


@pytest.mark.parametrize(("subject", "name"), [("ledger", "ledger"), ("audit log", "audit")])
def test_a_database_that_was_rolled_back_is_found(h, home, subject, name):
    path = home / f"{name}.sqlite"
    older = path.read_bytes()
    h.session(1).until("accept")
    assert found(home, subject)[0] == "ok"
    h.sites[SITE].close()
    path.write_bytes(older)
    assert found(home, subject)[0] == "FAIL"


# plans, rosters, pins


def test_a_plan_whose_images_are_gone_is_found(h, home):
    shutil.rmtree(Shelf(home).find(h.digest).catalogue.parent)
    assert found(home, "plan of test")[0] == "FAIL"


def test_a_plan_that_ends_soon_is_found(home):
    end = datetime.datetime(2099, 12, 31, tzinfo=datetime.UTC)
    for days, verdict in ((20, "ok"), (10, "warn"), (-1, "warn")):
        assert found(home, "plan of test", now=end - datetime.timedelta(days))[0] == verdict


def test_a_roster_warns_before_its_days_are_over(h, home):
    assert "none has come yet" in found(home, "roster of test")[1]
    h.session(1).until("hello")
    for days, verdict in ((0, "ok"), (12, "ok"), (14, "warn"), (21, "warn")):
        assert found(home, "roster of test", now=NOW + datetime.timedelta(days))[0] == verdict
    assert "EXPIRED" in found(home, "roster of test", now=NOW + datetime.timedelta(21))[1]


def test_a_roster_that_gives_a_pinned_name_another_key_is_found(h, home):
    h.signed = signed_roster(h.names, issued=TODAY.isoformat())
    h.session(1).until("hello")
    wardround_site("trust", home, "cedar", fingerprint(SECRETS.key("doum").public))
    assert found(home, "plans")[0] == "FAIL"


# daemon and pause


def test_a_daemon_that_runs_and_a_pause_are_found(home):
    assert found(home, "daemon")[0] == "warn"
    handle = os.open(home, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        assert found(home, "daemon")[0] == "ok"
    finally:
        os.close(handle)
    wardround_site("pause", home)
    assert found(home, "pause")[0] == "warn"


def test_a_gpu_is_looked_for_where_it_is_asked_for(home):
    assert all(one.subject != "GPU" for one in examine(home, gpu=False))
    assert found(home, "GPU", gpu=True)[0] in ("ok", "warn")


# the line: real TLS and the real guard of the coordinator's port


class Port:
    """The coordinator's port for rounds, with a clock or without one."""

    def __init__(self, coordinator, *, ahead_s=None, ca="ca.pem", revoked=False):
        config, path = coordinator.config, coordinator.path
        self.refused = []
        with closing(coordinator.audit_log()) as audit:
            sites = Register(coordinator, audit, admit=lambda name, key: None).sites
        port = FleetGuard(
            self.flower, sites, refused=self.told, renewal=self.flower, revoked=lambda _: revoked
        )
        if ahead_s is not None:
            port = Clocked(port, clock=lambda: time.time() + ahead_s)
        door = Door(server_context(path, client_ca=path / ca), self.told)
        self.server = _server(port, host=config.bind, port=config.port, http=door)
        self.thread = threading.Thread(target=lambda: asyncio.run(self.server.serve()))

    async def flower(self, scope, receive, send):
        raise AssertionError("doctor asks for nothing that passes the guard")

    def told(self, code, **_):
        self.refused.append(code)

    def __enter__(self):
        self.thread.start()
        until(lambda: self.server.started)
        return self

    def __exit__(self, *_):
        self.server.should_exit = True
        self.thread.join(60)


@pytest.fixture
def joined(tmp_path, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    coordinator = make_coordinator(tmp_path / "hub")
    return coordinator, make_site(tmp_path / SITE, coordinator, SITE).path


def test_a_coordinator_that_knows_this_site_is_reached(joined):
    coordinator, home = joined
    with Port(coordinator) as port:
        verdict, line = found(home, "coordinator")
        assert (verdict, "knows this site" in line) == ("ok", True)
        assert port.refused == ["guard.unsigned"]
        assert "not told" in found(home, "clock")[1]
        assert fails(home) == []


@pytest.mark.parametrize(
    ("ahead_s", "verdict"), [(0, "ok"), (-90, "FAIL"), (90, "warn"), (-4000, "FAIL"), (4000, "FAIL")]
)
def test_a_clock_that_differs_is_found(joined, ahead_s, verdict):
    coordinator, home = joined
    with Port(coordinator, ahead_s=ahead_s):
        assert found(home, "clock")[0] == verdict


def test_a_coordinator_that_does_not_know_this_node_is_found(joined, tmp_path):
    coordinator, home = joined
    again = make_site(tmp_path / "again", coordinator, SITE).path
    with Port(coordinator):
        verdict, line = found(home, "coordinator")
        assert (verdict, "does not know" in line) == ("FAIL", True)
        assert found(again, "coordinator")[0] == "ok"


def test_a_site_that_the_roster_leaves_out_is_told_so(joined):
    coordinator, home = joined
    with Port(coordinator, revoked=True):
        verdict, line = found(home, "coordinator")
    assert (verdict, "ask the authority" in line) == ("FAIL", True)


def test_somebody_else_at_the_coordinators_address_is_found(joined, tmp_path):
    _, home = joined
    impostor = make_coordinator(tmp_path / "impostor")
    port = f"port = {impostor.config.port}"
    text = (home / "site.toml").read_text().splitlines()
    (home / "site.toml").write_text("\n".join([*text[:2], port]))
    with Port(impostor):
        verdict, line = found(home, "coordinator")
    assert verdict == "FAIL"
    assert "no certificate of the coordinator's CA" in line


def test_a_proxy_is_asked_where_one_is_set(joined, monkeypatch):
    coordinator, home = joined
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    with Port(coordinator):
        assert found(home, "coordinator")[0] == "FAIL"
