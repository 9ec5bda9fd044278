"""The deployment's files as strict shapes: an unknown, misspelt or wrongly typed field is an error.

Only what these files use is known here, so a field that is added must be added here too, by somebody who has
looked it up.

References: compose-spec; Kubernetes 1.32, OpenAPI; "Pod Security Standards", restricted.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml
from msgspec import Meta, Struct, field

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"

Words = tuple[str, ...]
Quantity = Annotated[str, Meta(pattern=r"\A[1-9][0-9]*(m|Mi|Gi)?\Z")]
Size = Annotated[str, Meta(pattern=r"\A[1-9][0-9]*[kmg]\Z")]
Duration = Annotated[str, Meta(pattern=r"\A[1-9][0-9]*s\Z")]
PortNumber = Annotated[int, Meta(ge=1, le=65535)]


class Strict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A mapping with these keys and no others."""


class Snake(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As ``Strict``, with keys as compose spells them."""


# compose


class Mount(Snake, kw_only=True):
    type: Literal["volume"]
    source: str
    target: str


class Build(Snake, kw_only=True):
    context: str
    dockerfile: str
    args: dict[str, str] = {}


class Dependency(Snake, kw_only=True):
    condition: Literal["service_healthy"]
    restart: bool


class NoHealthcheck(Snake, kw_only=True):
    disable: Literal[True]


class LogOptions(Snake, kw_only=True, rename="kebab"):
    max_size: str
    max_file: str


class Logging(Snake, kw_only=True):
    driver: Literal["json-file"]
    options: LogOptions


class Device(Snake, kw_only=True):
    driver: Literal["nvidia"]
    count: int
    capabilities: Words


class Reservations(Snake, kw_only=True):
    devices: tuple[Device, ...]


class Resources(Snake, kw_only=True):
    reservations: Reservations


class DeployPart(Snake, kw_only=True):
    resources: Resources


class Service(Snake, kw_only=True):
    image: str
    build: Build | None = None
    profiles: Words = ()
    command: Words = ()
    init: bool = False
    user: str = ""
    read_only: bool = False
    cap_drop: Words = ()
    security_opt: Words = ()
    tmpfs: Words = ()
    volumes: tuple[Mount, ...] = ()
    ports: Words = ()
    network_mode: str = ""
    depends_on: dict[str, Dependency] = {}
    healthcheck: NoHealthcheck | None = None
    mem_limit: Size = ""
    pids_limit: int = 0
    stop_grace_period: Duration = ""
    restart: Literal["", "unless-stopped", "on-failure"] = ""
    logging: Logging | None = None
    deploy: DeployPart | None = None


class Compose(Snake, kw_only=True):
    name: str = ""
    services: dict[str, Service]
    volumes: dict[str, dict[str, str]] = {}


def compose(name: str) -> Compose:
    return msgspec.convert(yaml.safe_load((DEPLOY / name).read_text()), Compose)


# Kubernetes


class Metadata(Strict, kw_only=True):
    name: str
    namespace: str = ""
    labels: dict[str, str] = {}


class Capabilities(Strict, kw_only=True):
    drop: Words = ()
    add: Words = ()


class Seccomp(Strict, kw_only=True):
    type: str


class PodSecurity(Strict, kw_only=True):
    run_as_non_root: bool | None = None
    run_as_user: int | None = None
    run_as_group: int | None = None
    fs_group: int | None = None
    fs_group_change_policy: Literal["OnRootMismatch", "Always"] = "Always"
    seccomp_profile: Seccomp | None = None
    sysctls: tuple[dict[str, str], ...] = ()


class ContainerSecurity(Strict, kw_only=True):
    allow_privilege_escalation: bool | None = None
    read_only_root_filesystem: bool | None = None
    privileged: bool | None = None
    run_as_non_root: bool | None = None
    run_as_user: int | None = None
    proc_mount: str | None = None
    capabilities: Capabilities = Capabilities()
    seccomp_profile: Seccomp | None = None


class ContainerPort(Strict, kw_only=True):
    name: str
    container_port: PortNumber
    protocol: Literal["TCP"]
    host_port: int | None = None


class Exec(Strict, kw_only=True):
    command: Words


class Probe(Strict, kw_only=True):
    exec: Exec
    period_seconds: int
    timeout_seconds: int
    failure_threshold: int


class Needs(Strict, kw_only=True):
    requests: dict[Literal["cpu", "memory"], Quantity]
    limits: dict[Literal["cpu", "memory"], Quantity]


class VolumeMount(Strict, kw_only=True):
    name: str
    mount_path: str


class Container(Strict, kw_only=True):
    name: str
    image: str
    args: Words
    ports: tuple[ContainerPort, ...] = ()
    startup_probe: Probe | None = None
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    resources: Needs
    security_context: ContainerSecurity = ContainerSecurity()
    volume_mounts: tuple[VolumeMount, ...]


class Claim(Strict, kw_only=True):
    claim_name: str


class EmptyDir(Strict, kw_only=True):
    medium: Literal["Memory"]
    size_limit: Quantity


class HostPath(Strict, kw_only=True):
    path: str


class Volume(Strict, kw_only=True):
    name: str
    persistent_volume_claim: Claim | None = None
    empty_dir: EmptyDir | None = None
    host_path: HostPath | None = None


class PodSpec(Strict, kw_only=True):
    containers: tuple[Container, ...]
    volumes: tuple[Volume, ...] = ()
    service_account_name: str = ""
    automount_service_account_token: bool | None = None
    enable_service_links: bool | None = None
    termination_grace_period_seconds: int = 30
    restart_policy: Literal["Always", "Never"] = "Always"
    security_context: PodSecurity = PodSecurity()
    host_network: bool = False
    host_pid: bool = field(default=False, name="hostPID")
    host_ipc: bool = field(default=False, name="hostIPC")


class PodMetadata(Strict, kw_only=True):
    labels: dict[str, str] = {}


class Template(Strict, kw_only=True):
    metadata: PodMetadata = PodMetadata()
    spec: PodSpec


class Selector(Strict, kw_only=True):
    match_labels: dict[str, str] = {}


class StatefulSetSpec(Strict, kw_only=True):
    replicas: int
    service_name: str
    selector: Selector
    template: Template


class PatchSpec(Strict, kw_only=True):
    template: Template


class JobSpec(Strict, kw_only=True):
    backoff_limit: int
    template: Template


class ClaimSpec(Strict, kw_only=True):
    access_modes: tuple[Literal["ReadWriteOncePod"], ...]
    resources: dict[Literal["requests"], dict[Literal["storage"], Quantity]]


class ServicePort(Strict, kw_only=True):
    name: str
    port: PortNumber
    target_port: str
    protocol: Literal["TCP"]


class ServiceSpec(Strict, kw_only=True):
    type: Literal["LoadBalancer"]
    external_traffic_policy: Literal["Local"]
    selector: dict[str, str]
    ports: tuple[ServicePort, ...]


class PolicyPort(Strict, kw_only=True):
    port: PortNumber
    protocol: Literal["TCP"]


class Ingress(Strict, kw_only=True):
    ports: tuple[PolicyPort, ...]


class PolicySpec(Strict, kw_only=True):
    pod_selector: Selector
    policy_types: tuple[Literal["Ingress", "Egress"], ...]
    ingress: tuple[Ingress, ...]
    egress: tuple[str, ...]


def kind(api: str, **fields: Any) -> Callable[[object], Any]:
    """A reader of one kind of object: its fields beside apiVersion, kind and metadata."""
    shape = msgspec.defstruct(
        "Kind",
        [("apiVersion", Literal[api]), ("kind", str), ("metadata", Metadata), *fields.items()],
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )
    return lambda document: msgspec.convert(document, shape)


KINDS = {
    "Namespace": kind("v1"),
    "ServiceAccount": kind("v1", automountServiceAccountToken=bool),
    "PersistentVolumeClaim": kind("v1", spec=ClaimSpec),
    "Service": kind("v1", spec=ServiceSpec),
    "NetworkPolicy": kind("networking.k8s.io/v1", spec=PolicySpec),
    "StatefulSet": kind("apps/v1", spec=StatefulSetSpec),
    "Job": kind("batch/v1", spec=JobSpec),
}
PATCH = kind("apps/v1", spec=PatchSpec)


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes" / name).read_text()))


def manifests(name: str) -> dict[str, Any]:
    """The objects of a file by kind, of which it has one each."""
    return {one["kind"]: KINDS[one["kind"]](one) for one in documents(name)}


RESTRICTED: dict[str, Callable[[PodSpec], bool]] = {
    "host namespaces": lambda pod: not (pod.host_network or pod.host_pid or pod.host_ipc),
    "privileged": lambda pod: not any(one.security_context.privileged for one in pod.containers),
    "capabilities": lambda pod: all(
        "ALL" in one.security_context.capabilities.drop
        and set(one.security_context.capabilities.add) <= {"NET_BIND_SERVICE"}
        for one in pod.containers
    ),
    "host path volumes": lambda pod: all(volume.host_path is None for volume in pod.volumes),
    "host ports": lambda pod: all(not port.host_port for one in pod.containers for port in one.ports),
    "/proc mount": lambda pod: all(
        one.security_context.proc_mount in (None, "Default") for one in pod.containers
    ),
    "sysctls": lambda pod: not pod.security_context.sysctls,
    "privilege escalation": lambda pod: all(
        one.security_context.allow_privilege_escalation is False for one in pod.containers
    ),
    "running as non-root": lambda pod: all(
        one.security_context.run_as_non_root is True
        or (one.security_context.run_as_non_root is None and pod.security_context.run_as_non_root is True)
        for one in pod.containers
    ),
    "running as non-root user": lambda pod: (
        pod.security_context.run_as_user != 0
        and all(one.security_context.run_as_user != 0 for one in pod.containers)
    ),
    "seccomp": lambda pod: all(
        (
            one.security_context.seccomp_profile or pod.security_context.seccomp_profile or Seccomp(type="")
        ).type
        in ("RuntimeDefault", "Localhost")
        for one in pod.containers
    ),
}
"""The restricted profile's rules, by the names that its page gives them; it holds the baseline's."""


def violations(pod: PodSpec) -> set[str]:
    return {name for name, keeps in RESTRICTED.items() if not keeps(pod)}
