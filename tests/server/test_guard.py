"""What the coordinator's ports let through, and what they refuse."""

import asyncio
import base64
import datetime
import itertools
import time

import pytest
from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_HEADER, TIMESTAMP_TOLERANCE
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER

from wardround_common.enrolment import RENEW_PATH
from wardround_server.guard import (
    AHEAD_S,
    BEHIND_S,
    CERTIFICATE,
    CLOCK_HEADER,
    NODE_KEY_HEADER,
    SIGNATURE_HEADER,
    Bucket,
    Clocked,
    Enrolled,
    FleetGuard,
    LoopbackGuard,
    answer,
    run_token,
)

ALDER = Enrolled("alder", b"node key of alder", b"identity of alder")
BIRCH = Enrolled("birch", b"node key of birch", b"identity of birch")
PULL = "/v1/fleet/pull-messages"
NOW = 1_800_000_000.0
ticks = itertools.count()


class Machine:
    """An application that answers, and what was asked of it."""

    def __init__(self, status=200):
        self.paths = []
        self.status = status

    async def __call__(self, scope, receive, send):
        self.paths.append(scope["path"])
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def signed_at(seconds):
    """A time as Flower writes it; no two are alike."""
    at = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return (at + datetime.timedelta(microseconds=next(ticks))).isoformat()


def ask(app, path=PULL, **options):
    """The status that a request is answered with."""
    return answered(app, path, **options)["status"]


def answered(
    app, path=PULL, *, certificate=b"alder", node_key=ALDER.node_key, method="POST", more=(), **headers
):
    """The beginning of the answer to a request."""
    sent = []
    fields = {"flwr-public-key": base64.b64encode(node_key).decode(), "content-length": "10"}
    fields |= {"flwr-timestamp": signed_at(NOW), "flwr-signature": "c2lnbmVk"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {
        "type": "http",
        "path": path,
        "method": method,
        "client": ("192.0.2.7", 4711),
        CERTIFICATE: certificate,
        "headers": [
            *((name.encode(), str(value).encode()) for name, value in fields.items()),
            *more,
        ],
    }

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    asyncio.run(app(scope, receive, send))
    return sent[0]


class Told:
    """What a guard told of refusals."""

    def __init__(self):
        self.all = []

    def __call__(self, code, *, site="", address="", seconds=0):
        self.all.append((code, site, address, seconds))


@pytest.fixture
def machine():
    return Machine()


@pytest.fixture
def told():
    return Told()


def make_guard(machine, told, **options):
    options = {"renewal": Machine(201), "clock": lambda: NOW} | options
    return FleetGuard(machine, {b"alder": ALDER, b"birch": BIRCH}, refused=told, **options)


@pytest.fixture
def guard(machine, told):
    return make_guard(machine, told)


def test_the_names_and_limits_are_flowers():
    assert FLEET_HTTP_PUBLIC_KEY_HEADER.encode() == NODE_KEY_HEADER
    assert TIMESTAMP_HEADER.encode() == CLOCK_HEADER
    assert FLEET_HTTP_SIGNATURE_HEADER.encode() == SIGNATURE_HEADER
    assert (AHEAD_S, BEHIND_S) == (SYSTEM_TIME_TOLERANCE, TIMESTAMP_TOLERANCE + SYSTEM_TIME_TOLERANCE)


def test_the_guard_passes_an_enrolled_site(guard, machine):
    assert ask(guard) == 200
    assert machine.paths == [PULL]


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/control/start-run", "/v1/control/list-runs", "/v1/runtime/acquire-task", "/docs", "/"),
        *("/v1/fleet/register-node", "/v1/fleet/unregister-node", "/v1/fleet/get-fab", "/v1/fleet/get-run"),
        "/v1/fleet/confirm-message-received",
        *("/v1/fleet/../control/start-run", "/v1/fleet/", "//v1/fleet/pull-messages"),
    ],
)
def test_the_guard_finds_no_other_path(guard, machine, path):
    assert ask(guard, path) == 404
    assert machine.paths == []


def test_the_guard_refuses_another_method(guard):
    assert ask(guard, method="GET") == 404


@pytest.mark.parametrize("certificate", [b"", b"cedar"])
def test_the_guard_refuses_a_certificate_that_enrolment_does_not_know(guard, machine, certificate):
    assert ask(guard, certificate=certificate) == 403
    assert machine.paths == []


def test_the_guard_refuses_a_site_that_comes_as_the_node_of_another(guard, told):
    assert ask(guard, node_key=b"node key of birch") == 403
    assert told.all == [("guard.other_node", "alder", "192.0.2.7", 0)]


def test_the_guard_refuses_a_site_that_the_roster_leaves_out(machine, told):
    guard = make_guard(machine, told, revoked=lambda site: site == BIRCH)
    assert ask(guard, certificate=b"birch", node_key=BIRCH.node_key) == 403
    assert ask(guard, RENEW_PATH, certificate=b"birch") == 403
    assert [code for code, *_ in told.all] == ["guard.revoked", "guard.revoked"]
    assert ask(guard) == 200


@pytest.mark.parametrize("ahead", [5.0, 600.0, -306.0, -600.0])
def test_the_guard_refuses_a_clock_that_flower_would_refuse_and_says_by_how_much(guard, told, machine, ahead):
    assert ask(guard, flwr_timestamp=signed_at(NOW + ahead)) == 412
    assert told.all == [("guard.clock", "alder", "192.0.2.7", int(ahead))]
    assert machine.paths == []


@pytest.mark.parametrize("ahead", [4.9, 0.0, -304.9])
def test_the_guard_passes_a_clock_that_flower_would_take(guard, ahead):
    assert ask(guard, flwr_timestamp=signed_at(NOW + ahead)) == 200


@pytest.mark.parametrize("time", ["", "soon", "2027-01-15T08:00:00", "é"])
def test_the_guard_refuses_a_time_that_flower_does_not_write(guard, time):
    assert ask(guard, flwr_timestamp=time) == 401


def test_the_guard_refuses_what_it_has_heard_before(guard, told, machine):
    recorded = {"flwr_timestamp": signed_at(NOW)}
    assert ask(guard, **recorded) == 200
    assert ask(guard, **recorded) == 409
    assert ask(guard, flwr_signature="YW5vdGhlcg==", **recorded) == 409  # ECDSA: one signature makes another
    assert len(machine.paths) == 1
    assert [code for code, *_ in told.all] == ["guard.replay", "guard.replay"]
    assert ask(guard, certificate=b"birch", node_key=BIRCH.node_key, **recorded) == 200


def test_what_was_heard_is_forgotten_when_flower_would_refuse_it(machine, told):
    clock = [NOW]
    guard = make_guard(machine, told, clock=lambda: clock[0])
    assert [ask(guard, flwr_timestamp=signed_at(clock[0])) for _ in range(3)] == [200] * 3
    once = guard._allowances["alder"].once
    assert len(once._seen) == 3
    clock[0] += AHEAD_S + BEHIND_S + 1
    assert ask(guard, flwr_timestamp=signed_at(clock[0])) == 200
    assert len(once._seen) == 1


@pytest.mark.parametrize("name", [CLOCK_HEADER, NODE_KEY_HEADER, b"content-length"])
def test_the_guard_refuses_a_header_that_comes_twice(guard, machine, name):
    assert ask(guard, more=[(name, b"1")]) == 400
    assert machine.paths == []


@pytest.mark.parametrize("status", [401, 403])
def test_what_flower_refuses_is_told_of_too(told, status):
    assert ask(make_guard(Machine(status), told)) == status
    assert told.all == [(f"fleet.http_{status}", "alder", "192.0.2.7", 0)]


def test_a_request_for_a_certificate_goes_elsewhere_and_needs_no_node(machine, told):
    used = []
    guard = make_guard(machine, told, used=used.append)
    assert ask(guard, RENEW_PATH, node_key=b"", flwr_timestamp="") == 201
    assert ask(guard, RENEW_PATH, certificate=b"cedar") == 403
    assert ask(guard, RENEW_PATH, content_length="") == 411
    assert machine.paths == []
    assert used == [b"alder"]


def test_every_answer_says_what_time_it_is(guard):
    clocked = Clocked(guard, clock=lambda: NOW + 0.9)
    for options in ({}, {"certificate": b"cedar"}):
        assert (b"wardround-time", b"1800000000") in answered(clocked, **options)["headers"]


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


def test_the_guard_refuses_a_flood_of_one_site_and_hears_the_other(machine, told):
    guard = make_guard(machine, told, bucket=lambda: Bucket(rate=0.0, burst=3.0))
    assert [ask(guard) for _ in range(5)] == [200, 200, 200, 429, 429]
    assert ask(guard, certificate=b"birch", node_key=BIRCH.node_key) == 200


def test_a_bucket_fills_again():
    time = [0.0]
    bucket = Bucket(rate=2.0, burst=2.0, now=lambda: time[0])
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    time[0] = 0.5
    assert [bucket.take() for _ in range(2)] == [True, False]


def test_the_loopback_port_makes_a_run_for_whoever_knows_the_secret(machine):
    made = []
    guard = LoopbackGuard(machine, secret=b"secret", run_path="/run", new_run=lambda: made.append(1))
    now = int(time.time())
    assert ask(guard, "/run", authorization=run_token(b"secret", now)) == 200
    assert ask(guard, "/run", authorization=run_token(b"guess", now)) == 403
    assert ask(guard, "/run", authorization=run_token(b"secret", now - 120)) == 403  # somebody kept it
    assert ask(guard, "/run", authorization=f"{now}:") == 403
    assert ask(guard, "/run") == 403
    assert "secret" not in run_token(b"secret", now)
    assert made == [1]
    assert machine.paths == []


@pytest.mark.parametrize("length", [str((64 << 20) + 1), "x", "-1"])
def test_the_loopback_port_reads_no_endless_body(machine, length):
    guard = LoopbackGuard(machine, secret=b"secret", run_path="/run", new_run=lambda: None)
    assert ask(guard, "/v1/runtime/push-messages", **{"content-length": length}) == 413
    assert ask(guard, "/v1/runtime/push-messages", **{"transfer-encoding": "chunked"}) == 413
    assert machine.paths == []


def test_the_loopback_port_has_the_runtime_and_no_control(machine):
    guard = LoopbackGuard(machine, secret=b"secret", run_path="/run", new_run=lambda: None)
    assert ask(guard, "/v1/runtime/pull-messages") == 200
    assert ask(guard, "/v1/control/start-run") == 404
    assert ask(guard, PULL) == 404


def test_what_is_refused_behind_the_guard_has_the_code_that_was_given(told):
    async def flower(scope, receive, send):
        await answer(send, 403)

    async def another(scope, receive, send):
        await answer(send, 403, code="guard.forged_sender")

    for behind in (flower, another):
        assert ask(make_guard(behind, told)) == 403
    assert [(code, site) for code, site, *_ in told.all] == [
        ("fleet.http_403", "alder"),
        ("guard.forged_sender", "alder"),
    ]


def test_a_site_gets_ten_certificates_at_once_and_no_more(machine, told):
    guard = make_guard(machine, told)
    assert [ask(guard, RENEW_PATH) for _ in range(11)] == [201] * 10 + [429]
    assert [code for code, *_ in told.all] == ["guard.renewals"]
    assert ask(guard, RENEW_PATH, certificate=b"birch") == 201
    assert ask(guard) == 200
