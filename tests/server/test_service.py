"""The coordinator's real service: what its ports refuse is in the audit log."""

from __future__ import annotations

import socket
import ssl
from types import SimpleNamespace

import httpx
import pytest
from served import (
    PULL,
    is_in_order,
    join_site,
    new_coordinator,
    node_headers,
    post,
    running,
    tls,
    turned_away,
    until,
    url,
)

from wardround_common.certificates import Issuer, key_pem, make_request, new_key
from wardround_server.guard import Bucket

LOOPBACK = "127.0.0.1"


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    home = new_coordinator(folder / "coordinator")
    with running(home, bucket=lambda: Bucket(rate=0.0, burst=40.0)):
        sites = {name: join_site(home, folder / name, name) for name in ("alder", "birch")}
        yield SimpleNamespace(home=home, **sites)


def told(home, code, **fields):
    """The audit log has a row about a code that says so."""
    until(lambda: code in turned_away(home), code)
    row = turned_away(home)[code]
    assert {name: getattr(row, name) for name in fields} == fields
    assert row.address == LOOPBACK
    assert is_in_order(home)


def test_plain_http_is_refused(there):
    with pytest.raises(httpx.HTTPError):
        httpx.post(url(there.home, PULL, scheme="http"), trust_env=False)
    told(there.home, "tls.plain_http", site="")


def test_a_client_without_a_certificate_is_refused(there):
    with pytest.raises(httpx.TransportError):
        post(there.home, None)
    told(there.home, "tls.no_certificate", site="")


def test_a_certificate_of_another_ca_is_refused(there, tmp_path):
    key = new_key()
    made = Issuer.create("other").for_site(make_request(key, "alder"), "alder")
    (tmp_path / "pem").write_bytes(key_pem(key) + made)
    context = tls(None, there.home)
    context.load_cert_chain(tmp_path / "pem")
    with pytest.raises(httpx.TransportError):
        post(there.home, None, verify=context)
    told(there.home, "tls.other_certificate", site="")


def test_older_tls_is_refused(there):
    context = tls(there.alder, there.home)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(httpx.TransportError):
        post(there.home, there.alder, verify=context)
    told(there.home, "tls.old_version", site="")


def test_a_request_for_the_control_api_is_refused(there):
    reply = post(there.home, there.alder, "/v1/control/list-runs", headers=node_headers(there.home))
    assert reply.status_code == 404
    told(there.home, "guard.path", site="alder")


def test_a_site_cannot_come_as_the_node_of_another(there):
    reply = post(there.home, there.alder, headers=node_headers(there.home, "birch"))
    assert reply.status_code == 403
    told(there.home, "guard.other_node", site="alder")


def test_a_request_that_the_node_key_did_not_sign_is_refused_by_flower_and_told(there):
    assert post(there.home, there.alder, headers=node_headers(there.home)).status_code == 401
    told(there.home, "fleet.http_401", site="alder")


def test_what_is_no_http_inside_tls_is_refused(there):
    context = tls(there.alder, there.home)
    with (
        socket.create_connection((LOOPBACK, there.home.config.port)) as plain,
        context.wrap_socket(plain, server_hostname=LOOPBACK) as secured,
    ):
        secured.sendall(b"\x00\x01 nonsense\r\n\r\n")
        assert b" 400 " in secured.recv(1000)
    told(there.home, "http.malformed", site="")


def test_an_address_is_that_of_the_connection_whatever_a_header_says(there):
    headers = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "http"}
    reply = post(there.home, None, "/nowhere", port="enrol_port", headers=headers)
    assert reply.status_code == 404
    told(there.home, "enrol.path", site="")


@pytest.mark.parametrize("path", ["/v1/control/list-runs", PULL])
def test_the_port_for_joining_has_nothing_else(there, path):
    assert post(there.home, there.alder, path, port="enrol_port").status_code == 404
    told(there.home, "enrol.path", site="")


def test_a_code_that_nobody_made_does_not_join(there):
    assert post(there.home, None, "/v1/join", port="enrol_port", content=b"{}").status_code == 403
    told(there.home, "message.malformed", site="")


def test_a_flood_of_one_site_is_refused_and_counted_in_one_row(there):
    headers = node_headers(there.home, "birch")
    with httpx.Client(verify=tls(there.birch, there.home), trust_env=False) as client:
        codes = [
            client.post(url(there.home, PULL), content=b"", headers=headers).status_code for _ in range(90)
        ]
    assert codes.count(429) == 50
    told(there.home, "guard.flood", site="birch")
    assert post(there.home, there.alder, headers=node_headers(there.home)).status_code != 429
