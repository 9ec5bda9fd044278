"""The manifests: known fields, the restricted profile, and what the coordinator needs to work in a pod."""

import msgspec
import pytest
from deployments import (
    DEPLOY,
    KINDS,
    PATCH,
    RESTRICTED,
    PodSpec,
    documents,
    manifests,
    violations,
)

from wardround_server.home import CoordinatorConfig

FILES = ("base.yaml", "coordinator.yaml", "init.yaml")
CONFIG = CoordinatorConfig(host="hub.example")
RUNS = [("coordinator.yaml", "StatefulSet"), ("init.yaml", "Job")]


def pod_of(file, kind) -> PodSpec:
    return manifests(file)[kind].spec.template.spec


def patched() -> PodSpec:
    """The coordinator's pod with a study's job, as a strategic merge patch merges: containers by name."""
    pod = pod_of("coordinator.yaml", "StatefulSet")
    (patch,) = documents("study.yaml")
    added = PATCH(patch).spec.template.spec.containers
    assert {one.name for one in added}.isdisjoint(one.name for one in pod.containers)
    return msgspec.structs.replace(pod, containers=(*pod.containers, *added))


def pods():
    return {**{file: pod_of(file, kind) for file, kind in RUNS}, "study.yaml": patched()}


def test_every_manifest_has_known_fields_only():
    files = {path.name for path in (DEPLOY / "kubernetes").glob("*.yaml")}
    assert files == {*FILES, "study.yaml"}
    for file in FILES:
        assert manifests(file)


def test_a_misspelt_field_is_noticed():
    (document,) = (one for one in documents("coordinator.yaml") if one["kind"] == "StatefulSet")
    container = document["spec"]["template"]["spec"]["containers"][0]
    context = container["securityContext"]
    context["readonlyRootFilesystem"] = context.pop("readOnlyRootFilesystem")
    with pytest.raises(msgspec.ValidationError, match="readonlyRootFilesystem"):
        KINDS["StatefulSet"](document)


@pytest.mark.parametrize("file", ["coordinator.yaml", "init.yaml", "study.yaml"])
def test_every_pod_keeps_the_restricted_profile_that_its_namespace_enforces(file):
    assert violations(pods()[file]) == set()
    labels = manifests("base.yaml")["Namespace"].metadata.labels
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


PLANTED = {
    "host namespaces": lambda pod: pod.update(hostNetwork=True),
    "privileged": lambda pod: context(pod).update(privileged=True),
    "capabilities": lambda pod: context(pod).pop("capabilities"),
    "host path volumes": lambda pod: pod["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
    "host ports": lambda pod: pod["containers"][0]["ports"][0].update(hostPort=8443),
    "/proc mount": lambda pod: context(pod).update(procMount="Unmasked"),
    "sysctls": lambda pod: pod["securityContext"].update(sysctls=[{"name": "kernel.x", "value": "1"}]),
    "privilege escalation": lambda pod: context(pod).pop("allowPrivilegeEscalation"),
    "running as non-root": lambda pod: pod["securityContext"].pop("runAsNonRoot"),
    "running as non-root user": lambda pod: context(pod).update(runAsUser=0),
    "seccomp": lambda pod: pod["securityContext"].update(seccompProfile={"type": "Unconfined"}),
}


def context(pod):
    return pod["containers"][0]["securityContext"]


@pytest.mark.parametrize("rule", sorted(RESTRICTED))
def test_a_planted_violation_of_the_profile_is_caught(rule):
    (document,) = (one for one in documents("coordinator.yaml") if one["kind"] == "StatefulSet")
    PLANTED[rule](document["spec"]["template"]["spec"])
    assert violations(KINDS["StatefulSet"](document).spec.template.spec) == {rule}


@pytest.mark.parametrize("file", ["coordinator.yaml", "init.yaml", "study.yaml"])
def test_a_pod_has_no_token_writes_to_its_volumes_only_and_has_a_limit(file):
    pod = pods()[file]
    assert pod.automount_service_account_token is False
    assert pod.service_account_name == manifests("base.yaml")["ServiceAccount"].metadata.name
    assert pod.enable_service_links is False
    volumes = {volume.name for volume in pod.volumes}
    for container in pod.containers:
        assert container.security_context.read_only_root_filesystem is True
        assert "memory" in container.resources.limits
        assert {mount.name: mount.mount_path for mount in container.volume_mounts} == {
            "data": "/data",
            "tmp": "/tmp",
        }
        assert {mount.name for mount in container.volume_mounts} == volumes


@pytest.mark.parametrize("file", ["coordinator.yaml", "init.yaml"])
def test_the_volume_is_not_opened_to_its_group_at_each_start(file):
    """``files.check_private`` refuses keys with any bit for the group."""
    assert pods()[file].security_context.fs_group_change_policy == "OnRootMismatch"


def test_there_is_one_pod_and_its_volume_is_for_one():
    coordinator = manifests("coordinator.yaml")["StatefulSet"]
    assert coordinator.spec.replicas == 1
    claim = manifests("base.yaml")["PersistentVolumeClaim"]
    assert claim.spec.access_modes == ("ReadWriteOncePod",)
    assert {volume.persistent_volume_claim.claim_name for volume in pods()["init.yaml"].volumes[:1]} == {
        claim.metadata.name
    }
    labels = coordinator.spec.template.metadata.labels
    assert coordinator.spec.selector.match_labels == labels
    assert manifests("coordinator.yaml")["Service"].spec.selector == labels


def test_what_comes_in_is_rounds_and_joining_and_nothing_goes_out():
    outer = {CONFIG.port, CONFIG.enrol_port}
    policy = manifests("base.yaml")["NetworkPolicy"].spec
    assert policy.pod_selector.match_labels == {}
    assert set(policy.policy_types) == {"Ingress", "Egress"}
    assert {port.port for rule in policy.ingress for port in rule.ports} == outer
    assert policy.egress == ()
    container = pods()["coordinator.yaml"].containers[0]
    named = {port.name: port.container_port for port in container.ports}
    service = manifests("coordinator.yaml")["Service"].spec.ports
    assert {named[port.target_port] for port in service} == {port.port for port in service} == outer


def test_the_job_shares_the_loopback_of_the_service():
    names = [container.name for container in pods()["study.yaml"].containers]
    assert names == ["coordinator", "job"]
    assert pods()["study.yaml"].containers[1].args[:3] == ("study", "run", "/data/hub")
    assert not pods()["study.yaml"].host_network
