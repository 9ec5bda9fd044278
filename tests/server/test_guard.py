"""What the coordinator's ports let through, and what they refuse."""

import asyncio
import base64

import pytest

from wardround_server.guard import CERTIFICATE, Bucket, Enrolled, FleetGuard, LoopbackGuard

ALDER = Enrolled("alder", b"node key of alder")
PULL = "/v1/fleet/pull-messages"


class Machine:
    """An application that says yes, and what was asked of it."""

    def __init__(self):
        self.paths = []

    async def __call__(self, scope, receive, send):
        self.paths.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def ask(app, path=PULL, *, certificate=b"alder", node_key=ALDER.node_key, method="POST", **headers):
    """The status that a request is answered with."""
    sent = []
    fields = {"flwr-public-key": base64.b64encode(node_key).decode(), "content-length": "10"} | headers
    scope = {
        "type": "http",
        "path": path,
        "method": method,
        CERTIFICATE: certificate,
        "headers": [(name.replace("_", "-").encode(), str(value).encode()) for name, value in fields.items()],
    }

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"]


@pytest.fixture
def machine():
    return Machine()


@pytest.fixture
def guard(machine):
    return FleetGuard(machine, {b"alder": ALDER})


def test_the_guard_passes_an_enrolled_site(guard, machine):
    assert ask(guard) == 200
    assert machine.paths == [PULL]


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/control/start-run", "/v1/control/list-runs", "/v1/runtime/acquire-task", "/docs", "/"),
        *("/v1/fleet/register-node", "/v1/fleet/unregister-node", "/v1/fleet/get-fab", "/v1/fleet/get-run"),
        *("/v1/fleet/../control/start-run", "/v1/fleet/", "//v1/fleet/pull-messages"),
    ],
)
def test_the_guard_finds_no_other_path(guard, machine, path):
    assert ask(guard, path) == 404
    assert machine.paths == []


def test_the_guard_refuses_another_method(guard):
    assert ask(guard, method="GET") == 404


@pytest.mark.parametrize("certificate", [b"", b"birch"])
def test_the_guard_refuses_a_certificate_that_enrolment_does_not_know(guard, machine, certificate):
    assert ask(guard, certificate=certificate) == 403
    assert machine.paths == []


def test_the_guard_refuses_a_site_that_comes_as_the_node_of_another(guard):
    assert ask(guard, node_key=b"node key of birch") == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content_length": str((16 << 20) + 1)}, 413),
        ({"content_length": "9" * 5000}, 413),
        ({"content_length": "-1"}, 411),
        ({"content_length": ""}, 411),
        ({"transfer_encoding": "chunked"}, 411),
    ],
)
def test_the_guard_refuses_a_body_without_a_stated_or_with_too_great_a_length(guard, headers, status):
    assert ask(guard, **headers) == status


def test_the_guard_refuses_a_flood_of_one_site_and_hears_the_other(machine):
    birch = Enrolled("birch", b"node key of birch")
    guard = FleetGuard(
        machine, {b"alder": ALDER, b"birch": birch}, bucket=lambda: Bucket(rate=0.0, burst=3.0)
    )
    assert [ask(guard) for _ in range(5)] == [200, 200, 200, 429, 429]
    assert ask(guard, certificate=b"birch", node_key=birch.node_key) == 200


def test_a_bucket_fills_again():
    time = [0.0]
    bucket = Bucket(rate=2.0, burst=2.0, now=lambda: time[0])
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    time[0] = 0.5
    assert [bucket.take() for _ in range(2)] == [True, False]


def test_the_loopback_port_makes_a_run_for_whoever_knows_the_secret(machine):
    made = []
    guard = LoopbackGuard(machine, secret=b"secret", run_path="/run", new_run=lambda: made.append(1))
    assert ask(guard, "/run", authorization="Bearer " + b"secret".hex()) == 200
    assert ask(guard, "/run", authorization="Bearer " + b"guess".hex()) == 403
    assert ask(guard, "/run") == 403
    assert made == [1]
    assert machine.paths == []


def test_the_loopback_port_has_the_runtime_and_no_control(machine):
    guard = LoopbackGuard(machine, secret=b"secret", run_path="/run", new_run=lambda: None)
    assert ask(guard, "/v1/runtime/pull-messages") == 200
    assert ask(guard, "/v1/control/start-run") == 404
    assert ask(guard, PULL) == 404
