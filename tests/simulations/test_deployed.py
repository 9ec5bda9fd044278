"""A deployment as processes on loopback: what they say to each other, and what is refused."""

import base64
import datetime
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading

import httpx
import psutil
import pytest
from at_rest import found_in, open_to_others, pieces
from safetensors.numpy import load_file
from served import until
from watching import outward, seen, watched

from wardround_client.catalogue import Catalogue
from wardround_client.home import SITE_KEY, SiteHome
from wardround_client.keeping import SITE
from wardround_client.scratch import Scratch
from wardround_client.shelf import Shelf
from wardround_common.aggregate import Aggregation
from wardround_common.audit import TurnedAway
from wardround_common.audit.check import read as read_log
from wardround_common.backup import write_backup
from wardround_common.certificates import Issuer, key_pem, make_request, new_key
from wardround_common.errors import ConfigError
from wardround_common.trust import open_plan, plan_digest
from wardround_server.home import CoordinatorHome
from wardround_server.journal import Journal
from wardround_server.keeping import COORDINATOR
from wardround_server.outcome import remembered
from wardround_simulations.deployed import HOSPITALS, STUDY, deployment
from wardround_simulations.folders import open_run
from wardround_simulations.phantoms import write_phantoms
from wardround_simulations.run import scenario_path

pytestmark = pytest.mark.end_to_end
PULL = "/v1/fleet/pull-messages"
PROTOBUF = "application/protobuf"
LOOKUPS = "lookups"


@pytest.fixture(scope="module")
def deployed(tmp_path_factory):
    out = open_run(tmp_path_factory.mktemp("deployed") / "out", replace=True)
    text = scenario_path("demo-deployed").read_text()
    plan = out / "plan.toml"
    plan.write_text(re.sub(r"rounds = \d+", "rounds = 2", text))
    write_phantoms(out / "phantoms", seed=5, scale=0.1)
    with pytest.MonkeyPatch.context() as patch, deployment(out, plan) as made:
        for name, value in watched(out / LOOKUPS).items():
            patch.setenv(name, value)
        made.found()
        made.start_service()
        for site in HOSPITALS:
            made.enrol(site)
        digest = made.sign()
        for site in HOSPITALS:
            made.read(site, digest, out / "phantoms" / site, workers=1)
            made.start_site(site)
        made.wait_for_sites()
        yield made


class Watch(threading.Thread):
    """Looks at the sites' processes all the time."""

    def __init__(self, deployed):
        super().__init__(daemon=True)
        self.processes = {site: psutil.Process(one.pid) for site, one in deployed.sites.items()}
        self.listening, self.remote, self.looks, self.stop = [], set(), 0, threading.Event()

    def run(self):
        while not self.stop.wait(0.1):
            self.looks += 1
            for site, process in self.processes.items():
                for one in (process, *process.children(recursive=True)):
                    for socket in one.net_connections(kind="all"):
                        if socket.status == psutil.CONN_LISTEN:
                            self.listening.append((site, socket))
                        if socket.raddr:
                            self.remote.add(socket.raddr)


@pytest.fixture(scope="module")
def ran(deployed):
    watch = Watch(deployed)
    watch.start()
    report = deployed.run_study()
    watch.stop.set()
    watch.join()
    return report, watch


def tls(deployed, site="alder", *, certificate=None):
    home = deployed.home("alder")
    context = ssl.create_default_context(cafile=home / "ca.pem")
    if site is not None:
        context.load_cert_chain(certificate or deployed.home(site) / "tls.pem")
    return context


def headers_of(deployed, site):
    """Those of a node, but that its signature is none."""
    return {
        "flwr-public-key": node_key(deployed, site),
        "flwr-timestamp": datetime.datetime.now(datetime.UTC).isoformat(),
        "flwr-signature": "bm9uZQ==",
        "content-type": PROTOBUF,
    }


def turned_away(deployed):
    """The refusals in the coordinator's audit log: code and site."""
    key = CoordinatorHome(deployed.coordinator).signer.key.public
    entries = [entry for _, entry in read_log(deployed.coordinator / "audit.sqlite", key)]
    return {(entry.code, entry.site) for entry in entries if isinstance(entry, TurnedAway)}


def url(deployed, path, *, port="port", scheme="https"):
    return f"{scheme}://127.0.0.1:{getattr(CoordinatorHome(deployed.coordinator).config, port)}{path}"


def node_key(deployed, site):
    return base64.b64encode((deployed.coordinator / "sites" / site / "node.pub").read_bytes()).decode()


def post(deployed, path, *, port="port", **options):
    options = {"verify": tls(deployed), "trust_env": False} | options
    return httpx.post(url(deployed, path, port=port), content=b"", **options)


def test_plain_http_is_refused(deployed):
    with pytest.raises(httpx.HTTPError):
        httpx.post(url(deployed, PULL, scheme="http"), trust_env=False)


def test_a_client_without_a_certificate_is_refused(deployed):
    with pytest.raises(httpx.TransportError):
        post(deployed, PULL, verify=tls(deployed, site=None))


def test_a_certificate_of_another_ca_is_refused(deployed, tmp_path):
    key = new_key()
    made = Issuer.create("other").for_site(make_request(key, "alder"), "alder")
    (tmp_path / "pem").write_bytes(key_pem(key) + made)
    with pytest.raises(httpx.TransportError):
        post(deployed, PULL, verify=tls(deployed, certificate=tmp_path / "pem"))


def test_a_certificate_of_our_ca_that_enrolment_does_not_know_is_refused(deployed, tmp_path):
    key = new_key()
    issuer = CoordinatorHome(deployed.coordinator).issuer
    (tmp_path / "pem").write_bytes(key_pem(key) + issuer.for_site(make_request(key, "alder"), "alder"))
    context = tls(deployed, certificate=tmp_path / "pem")
    headers = {"flwr-public-key": node_key(deployed, "alder")}
    assert post(deployed, PULL, verify=context, headers=headers).status_code == 403


def test_older_tls_is_refused(deployed):
    context = tls(deployed)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(httpx.TransportError):
        post(deployed, PULL, verify=context)


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/control/list-runs", "/v1/control/start-run", "/v1/runtime/acquire-task", "/wardround/run"),
        *("/v1/fleet/get-fab", "/v1/fleet/register-node", "/docs", "/openapi.json"),
    ],
)
def test_a_site_finds_the_fleet_api_and_nothing_else(deployed, path):
    headers = {"flwr-public-key": node_key(deployed, "alder")}
    assert post(deployed, path, headers=headers).status_code == 404


def test_a_site_cannot_come_as_the_node_of_another(deployed):
    headers = {"flwr-public-key": node_key(deployed, "birch")}
    assert post(deployed, PULL, headers=headers).status_code == 403


def test_a_site_without_the_signature_of_its_node_key_is_refused(deployed):
    assert post(deployed, PULL, headers=headers_of(deployed, "alder")).status_code == 401


@pytest.mark.parametrize("path", ["/v1/control/list-runs", PULL, "/v1/runtime/acquire-task"])
def test_the_port_for_joining_has_no_api_of_flower(deployed, path):
    assert post(deployed, path, port="enrol_port").status_code == 404


@pytest.mark.parametrize("path", ["/v1/control/list-runs", "/v1/control/start-run", PULL])
def test_the_control_api_is_not_on_loopback_either(deployed, path):
    there = url(deployed, path, port="runtime_port", scheme="http")
    assert httpx.post(there, trust_env=False).status_code == 404


def test_a_run_is_not_claimed_without_the_secret(deployed):
    there = url(deployed, "/v1/runtime/acquire-task", port="runtime_port", scheme="http")
    assert httpx.post(there, headers={"content-type": PROTOBUF}, trust_env=False).status_code == 401


def test_a_code_for_another_coordinator_joins_nowhere(deployed, tmp_path):
    code = deployed.call("wardround-coordinator", "enrol", deployed.coordinator, "dogwood").strip()
    other = tmp_path / "other"
    deployed.call("wardround-coordinator", "init", other, "--host=127.0.0.1")
    config = CoordinatorHome(deployed.coordinator).config
    toml = (other / "coordinator.toml").read_text().replace("8444", str(config.enrol_port))
    (other / "coordinator.toml").write_text(toml)
    forged = deployed.call("wardround-coordinator", "enrol", other, "dogwood").strip()
    with pytest.raises(ConfigError, match="another CA than the join code names"):
        deployed.call("wardround-site", "join", tmp_path / "dogwood", forged)
    deployed.call("wardround-site", "join", tmp_path / "dogwood", code)
    with pytest.raises(ConfigError, match="refuses to let this site join"):
        deployed.call("wardround-site", "join", tmp_path / "again", code)


def test_a_study_that_is_paused_runs_when_the_pause_was_ended(deployed):
    command = ("wardround-coordinator", "study")
    deployed.call(*command, "pause", deployed.coordinator, STUDY, "--note", "The lead asked.")
    with pytest.raises(ConfigError, match=r"paused since .*: The lead asked"):
        deployed.run_study()
    deployed.call(*command, "resume", deployed.coordinator, STUDY, "--note", "It is mended.")
    assert f"{STUDY}: open" in deployed.call(*command, "status", deployed.coordinator)


def test_a_site_on_the_line_finds_nothing_wrong(deployed):
    said = deployed.call("wardround-site", "doctor", deployed.home("alder"))
    assert "knows this site" in said
    assert "daemon: running" in said


def test_every_party_is_a_process_of_its_own(deployed, ran):
    pids = [deployed.service.pid, *(one.pid for one in deployed.sites.values())]
    assert len(set(pids)) == 1 + len(HOSPITALS)
    assert all(psutil.pid_exists(pid) for pid in pids)


def test_no_site_listens_and_each_connects_to_the_coordinator_alone(deployed, ran):
    _, watch = ran
    assert watch.looks > 20
    assert watch.listening == []
    assert {tuple(one) for one in watch.remote} == {
        ("127.0.0.1", CoordinatorHome(deployed.coordinator).config.port)
    }


def test_the_released_model_is_the_one_that_every_site_accepted(deployed, ran):
    report, _ = ran
    folder = CoordinatorHome(deployed.coordinator).study(STUDY)
    plan = open_plan((folder / "plan").read_bytes(), today=datetime.date.today())
    digest = plan_digest(plan)
    journal = Journal(folder / "journal.sqlite", plan=digest)
    outcome = remembered(journal, Aggregation(plan))
    journal.close()
    assert not outcome.paused
    assert outcome.accepted_by == HOSPITALS
    for site in HOSPITALS:
        home = SiteHome(deployed.home(site))
        scratch = Scratch(home.path / "scratch" / "scratch.sqlite", key=home.site_key)
        assert scratch.state(digest, outcome.state.digest) is not None
        scratch.close()
    released = load_file(report.parent / "model.safetensors")
    assert sum(tensor.size for tensor in released.values()) == outcome.state.average.size


def test_what_a_site_keeps_is_for_its_owner_only_and_of_images_nothing_is_in_clear(deployed, ran):
    for site in HOSPITALS:
        home = SiteHome(deployed.home(site))
        assert open_to_others(home.path) == []
        (shelved,) = Shelf(home.path).all()
        catalogue = Catalogue.load(shelved.catalogue, home.site_key.data(plan_digest(shelved.plan)))
        words = pieces({"site key": home.site_key.secret, "image": catalogue.images_NCHW[0].tobytes()})
        assert set(found_in(home.path, words)) == {("site.key", "site key")}


def test_the_report_is_of_a_deployment_and_has_no_exact_figure(ran):
    data = json.loads((ran[0].parent / "report.json").read_bytes())
    assert data["setting"] == "deployment"
    assert data["reproducibility"]["randomness"] == "operating_system"
    assert not data["data"]
    assert not data["contact_sheets"]
    assert not data["learning"]
    assert data["evaluation"]["federated"] is None
    assert data["evaluation"]["federated_released"]["auroc"]
    assert [one["void"] for one in data["rounds"]] == [False, False, False]


def test_the_status_says_how_the_study_ended_and_the_report_is_written_anew(deployed, ran):
    said = deployed.call("wardround-coordinator", "study", "status", deployed.coordinator, STUDY, "--json")
    (status,) = json.loads(said)
    assert (status["state"], status["ended"], status["rounds"], status["void"]) == ("done", 3, 3, 0)
    assert tuple(status["accepted_by"]) == HOSPITALS
    before = json.loads((ran[0].parent / "report.json").read_bytes())
    assert deployed.call("wardround-coordinator", "report", deployed.coordinator, STUDY).strip() == str(
        ran[0]
    )
    assert json.loads((ran[0].parent / "report.json").read_bytes())["rounds"] == before["rounds"]


def test_a_site_that_is_paused_says_so_and_goes_on_when_it_is_resumed(deployed, ran):
    home = deployed.home("cedar")
    deployed.call("wardround-site", "pause", home)
    status = json.loads(deployed.call("wardround-site", "status", home, "--json"))
    assert status["paused"]
    assert (status["plans"][0]["state"], status["plans"][0]["last_round"]) == ("approved", 3)
    deployed.call("wardround-site", "resume", home)
    spent = json.loads(deployed.call("wardround-site", "ledger", home, "--json"))["studies"][0]["spent"]
    assert 0 < spent["train"] < 8


def test_a_site_that_was_killed_comes_back_by_itself_when_it_is_started(deployed, ran):
    deployed.sites["birch"].kill()
    deployed.sites["birch"].wait()
    (deployed.home("birch") / "status.json").unlink()
    deployed.start_site("birch")
    deployed.wait_for_sites()
    status = deployed.call("wardround-site", "status", deployed.home("birch"))
    assert "online" in status
    assert f"{STUDY}: approved" in status


def test_backups_of_running_programs_know_every_file_and_a_restored_site_comes_online(
    deployed, ran, tmp_path
):
    hub = write_backup(deployed.coordinator, tmp_path / "hub", COORDINATOR)
    written = write_backup(deployed.home("cedar"), tmp_path / "cedar", SITE)
    assert hub.unknown == written.unknown == ()
    assert {"studies/demo-deployed/report/model.safetensors", "roster", "sites/alder/node.pub"} <= {
        member.name for member in hub.manifest.members
    }
    deployed.sites["cedar"].terminate()
    deployed.sites["cedar"].wait()
    deployed.home("cedar").rename(tmp_path / "lost")
    digest = ("--digest", written.manifest.digest)
    deployed.call("wardround-site", "restore", tmp_path / "cedar", deployed.home("cedar"), *digest)
    assert not (deployed.home("cedar") / SITE_KEY).exists()
    shutil.copy(tmp_path / "lost" / SITE_KEY, deployed.home("cedar"))  # kept apart, as the pages say
    deployed.start_site("cedar")
    deployed.wait_for_sites()
    assert f"{STUDY}: approved" in deployed.call("wardround-site", "status", deployed.home("cedar"))


def test_a_flood_of_one_site_is_refused_and_the_others_are_heard(deployed, ran):
    place, context = url(deployed, PULL), tls(deployed, "cedar")
    headers = {"flwr-public-key": node_key(deployed, "cedar")}
    statuses = set()
    with httpx.Client(verify=context, trust_env=False) as client:
        while 429 not in statuses:
            statuses.add(client.post(place, content=b"", headers=headers).status_code)
    assert post(deployed, PULL, headers=headers_of(deployed, "birch"), verify=tls(deployed, "birch"))


def test_the_ports_refusals_are_in_the_audit_log_beside_the_rows_of_the_study(deployed, ran):
    home = CoordinatorHome(deployed.coordinator)
    with pytest.raises(httpx.HTTPError):
        httpx.post(url(deployed, PULL, scheme="http"), trust_env=False)
    with pytest.raises(httpx.TransportError):
        post(deployed, PULL, verify=tls(deployed, site=None))
    post(deployed, "/v1/control/list-runs", headers=headers_of(deployed, "alder"))
    post(deployed, PULL, headers=headers_of(deployed, "birch"))
    post(deployed, PULL, headers=headers_of(deployed, "alder"))
    post(deployed, "/v1/control/list-runs", port="enrol_port")
    wanted = {
        *(("tls.plain_http", ""), ("tls.no_certificate", ""), ("guard.path", "alder")),
        *(("guard.other_node", "alder"), ("fleet.http_401", "alder"), ("enrol.path", "")),
        ("guard.flood", "cedar"),
    }
    until(lambda: wanted <= turned_away(deployed))
    key = home.signer.key.public.hex()
    said = deployed.call("wardround-coordinator", "audit", "verify", home.path, "--key", key)
    assert "all in order" in said
    shown = deployed.call("wardround-coordinator", "audit", "show", home.path)
    for phrase in ("turned away 127.0.0.1: tls.plain_http", "certified alder until", "took MASKED"):
        assert phrase in shown
    lines = [json.loads(line) for line in (home.path / "log.jsonl").read_text().splitlines()]
    assert {code for code, _ in wanted} <= {line.get("code") for line in lines}


def test_a_site_that_a_fresh_roster_leaves_out_is_refused_while_the_service_runs(deployed, ran):
    status = deployed.home("cedar") / "status.json"
    deployed.call(
        *("wardround-authority", "revoke", deployed.out / "authority", "cedar"),
        *("--out", deployed.out / "roster2", "--yes"),
    )
    public = deployed.out / "authority" / "authority.pub"
    deployed.call(
        *("wardround-coordinator", "roster", deployed.coordinator, deployed.out / "roster2"),
        *("--authority", public),
    )
    until(lambda: json.loads(status.read_bytes())["code"] == "link.revoked")
    said = deployed.call("wardround-site", "status", deployed.home("cedar"))
    assert "does not name this site" in said
    until(lambda: ("guard.revoked", "cedar") in turned_away(deployed))


def test_no_program_looks_up_a_name_or_connects_beyond_loopback(deployed, ran):
    scenario = deployed.out / "scenario.toml"
    scenario.write_text(re.sub(r"rounds = \d+", "rounds = 1", scenario_path("demo").read_text()))
    sites, out = deployed.out / "phantoms", deployed.out / "simulated"
    deployed.call("wardround-sim", "run", scenario, "--sites", sites, "--out", out, "--workers", 1)
    lookups = deployed.out / LOOKUPS
    programs = {program for program, _, _ in seen(lookups)}
    assert {f"wardround-{name}" for name in ("authority", "coordinator", "sim", "site")} <= programs
    assert {event for _, event, _ in seen(lookups)} >= {"start", "socket.connect"}
    assert outward(lookups) == set()


def test_a_planted_lookup_is_seen(tmp_path):
    planted = (
        "import socket\n"
        "for act in (socket.gethostbyname, lambda name: socket.create_connection((name, 9), 0.1)):\n"
        "    try:\n        act('telemetry.invalid')\n    except OSError:\n        pass\n"
        "try:\n    socket.create_connection(('192.0.2.1', 9), 0.1)\nexcept OSError:\n    pass\n"
    )
    environment = os.environ | watched(tmp_path / LOOKUPS)
    subprocess.run([sys.executable, "-c", planted], env=environment, check=True)
    assert {one[1:] for one in outward(tmp_path / LOOKUPS)} == {
        ("socket.gethostbyname", "telemetry.invalid"),
        ("socket.getaddrinfo", "telemetry.invalid"),
        ("socket.getaddrinfo", "192.0.2.1"),
        ("socket.connect", "192.0.2.1"),
    }
