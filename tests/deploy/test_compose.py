"""The compose files: known fields, hardened services, a job on the loopback of its service, closed sites."""

import msgspec
import pytest
import yaml
from deployments import DEPLOY, Compose, compose

from wardround_server.home import CoordinatorConfig

CONFIG = CoordinatorConfig(host="hub.example")
SERVICES = [("compose.yaml", "coordinator"), ("compose.yaml", "job"), ("compose.site.yaml", "site")]
USERS = {"coordinator": "10001", "job": "10001", "site": "10002"}


@pytest.mark.parametrize("file", ["compose.yaml", "compose.site.yaml", "compose.gpu.yaml"])
def test_a_file_has_known_fields_only(file):
    assert compose(file).services


def test_a_misspelt_field_is_noticed():
    text = (DEPLOY / "compose.yaml").read_text().replace("read_only:", "readonly:")
    with pytest.raises(msgspec.ValidationError, match="readonly"):
        msgspec.convert(yaml.safe_load(text), Compose)


@pytest.mark.parametrize(("file", "name"), SERVICES)
def test_a_service_has_no_more_than_it_needs(file, name):
    service = compose(file).services[name]
    user = USERS[name]
    assert service.user == f"{user}:{user}"
    assert service.read_only
    assert service.cap_drop == ("ALL",)
    assert service.security_opt == ("no-new-privileges:true",)
    assert service.mem_limit
    assert service.pids_limit > 0
    assert service.restart
    (tmpfs,) = service.tmpfs
    place, _, options = tmpfs.partition(":")
    assert place == "/tmp"
    assert {"noexec", "nosuid", "nodev", "mode=0700", f"uid={user}"} <= set(options.split(","))
    assert [mount.target for mount in service.volumes] == ["/data"]
    assert {mount.source for mount in service.volumes} <= set(compose(file).volumes)


def test_the_service_publishes_rounds_and_joining_and_not_the_port_for_jobs():
    ports = compose("compose.yaml").services["coordinator"].ports
    assert set(ports) == {f"{port}:{port}" for port in (CONFIG.port, CONFIG.enrol_port)}


def test_the_job_lives_on_the_loopback_of_the_service_and_follows_it():
    job = compose("compose.yaml").services["job"]
    assert job.network_mode == "service:coordinator"
    assert job.ports == ()
    assert job.depends_on["coordinator"].restart
    assert job.volumes == compose("compose.yaml").services["coordinator"].volumes
    assert job.profiles == ("job",)
    assert job.restart == "on-failure"


def test_a_site_publishes_nothing_with_or_without_a_gpu():
    for file in ("compose.site.yaml", "compose.gpu.yaml"):
        (site,) = compose(file).services.values()
        assert site.ports == ()
        assert site.network_mode == ""
