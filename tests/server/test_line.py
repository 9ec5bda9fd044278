"""The line between a site and the coordinator's real service, against time: clocks, certificates, rosters."""

from __future__ import annotations

import datetime
import json
import ssl
import time

import httpx
import pytest
from flwr.supernode import node_auth_http_interceptor
from served import (
    TODAY,
    enrolled,
    is_in_order,
    linked,
    new_coordinator,
    node_headers,
    post,
    roster_of,
    rows,
    running,
    turned_away,
    until,
    url,
)

from wardround_client import link
from wardround_client.daemon import _Status
from wardround_client.renewal import Renewer
from wardround_client.trouble import words
from wardround_common import certificates
from wardround_common.audit import Certified
from wardround_common.certificates import (
    certificate_fingerprint,
    key_pem,
    load_certificate,
    make_request,
    new_key,
)
from wardround_common.enrolment import RENEW_PATH
from wardround_common.errors import ConsentError, ProtocolError
from wardround_common.identity import SigningKey
from wardround_common.trust import Member
from wardround_server.service import Lives

ONLINE = ("online", "")
SHORT = datetime.timedelta(seconds=3)


@pytest.fixture
def home(tmp_path):
    return new_coordinator(tmp_path / "coordinator")


@pytest.fixture
def alder(home, tmp_path):
    return enrolled(home, tmp_path / "alder")


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(link, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(link, "LONGEST_PAUSE_S", 0.2)


@pytest.fixture
def shifted(monkeypatch):
    """The clock of the site's half, which a test sets; the service's is the machine's."""
    ahead = [0]

    def now():
        return datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=ahead[0])

    monkeypatch.setattr(node_auth_http_interceptor, "now", now)
    return ahead


def clock_of(ahead):
    return lambda: time.time() + ahead[0]


@pytest.mark.parametrize("ahead", [600, -600])
def test_a_site_with_a_wrong_clock_says_so_and_joins_by_itself_when_it_is_right(home, alder, shifted, ahead):
    shifted[0] = ahead
    with running(home), linked(alder, clock=clock_of(shifted)) as told:
        until(lambda: told.all)
        state, code, seconds = told.all[0]
        assert (state, code) == ("offline", "link.clock")
        assert abs(seconds - ahead) <= 2
        until(lambda: "guard.clock" in turned_away(home))
        row = turned_away(home)["guard.clock"]
        assert row.site == "alder"
        assert abs(row.seconds - ahead) <= 2
        shifted[0] = 0
        until(lambda: told.last == ONLINE)
    assert is_in_order(home)


def test_a_clock_that_does_no_harm_yet_is_told_of(home, alder, shifted):
    shifted[0] = -60
    with running(home), linked(alder, clock=clock_of(shifted)) as told:
        until(lambda: told.last == ("online", "link.clock"))
        assert abs(told.all[-1][2] + 60) <= 2


def test_every_answer_of_the_outer_ports_says_what_time_it_is(home, alder):
    with running(home):
        for reply in (
            post(home, alder),
            post(home, alder, "/v1/control/list-runs"),
            httpx.get(url(home, "/v1/ca", port="enrol_port"), verify=False, trust_env=False),
        ):
            assert abs(int(reply.headers["wardround-time"]) - time.time()) < 60


def test_a_server_certificate_from_the_future_is_told_as_the_clock(home, alder):
    home.write_server_pair(from_the_future(home))
    with running(home), linked(alder) as told:
        until(lambda: told.all)
    assert told.all[0] == ("offline", "link.clock", 0)


def from_the_future(home):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certificates, "_BACKDATED", datetime.timedelta(days=-2))
        return home.new_server_pair()


def test_a_fresh_certificate_is_good_for_a_clock_that_is_ten_minutes_behind(home):
    made = home.server_certificate
    assert made.not_valid_before_utc < datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=50)


PAST = datetime.timedelta(seconds=-60)


def test_an_expired_server_certificate_is_told(home, alder):
    home.write_server_pair(home.new_server_pair(life=PAST))
    with running(home, lives=Lives(server=PAST)), linked(alder) as told:
        until(lambda: told.all)
    assert told.all[0] == ("offline", "link.certificate", 0)


def test_a_site_whose_own_certificate_has_expired_says_so_and_so_does_the_audit_log(home, tmp_path):
    alder = enrolled(home, tmp_path / "alder", life=PAST)
    with running(home), linked(alder) as told:
        until(lambda: told.all)
        until(lambda: "tls.certificate_expired" in turned_away(home))
    assert told.all[0] == ("offline", "link.certificate", 0)


def test_a_server_of_another_ca_is_told(home, alder, tmp_path):
    other = new_coordinator(tmp_path / "other")
    alder.ca.write_bytes((other.path / "ca.pem").read_bytes())
    with running(home), linked(alder) as told:
        until(lambda: told.all)
    assert told.all[0] == ("offline", "link.other_server", 0)


def test_the_status_file_and_the_words_say_how_far_the_clock_is_off(tmp_path):
    _Status(tmp_path).tell("offline", "link.clock", -600)
    said = json.loads((tmp_path / "status.json").read_bytes())
    assert (said["state"], said["code"], said["clock_s"]) == ("offline", "link.clock", -600)
    assert "600 s behind" in words("link.clock", -600)
    assert "7 s ahead" in words("link.clock", 7)
    assert words("", 0) == ""


# Certificates that are renewed


def certified(home):
    return [row.name for row in rows(home) if isinstance(row, Certified)]


def test_a_site_renews_its_certificate_and_goes_on_after_the_old_one_has_expired(home, tmp_path):
    alder = enrolled(home, tmp_path / "alder", life=SHORT)
    before = load_certificate(alder.certificate.read_bytes())
    renewer = Renewer(alder, look_s=0.1)
    with running(home), linked(alder, renew=renewer.look) as told:
        until(lambda: certified(home) == ["alder"])
        until(lambda: home.certificate("alder") != before)  # the line goes with the new one
        until(lambda: datetime.datetime.now(datetime.UTC) > before.not_valid_after_utc)
        assert post(home, alder, headers=node_headers(home)).status_code == 401  # Flower's
        assert told.last == ONLINE
    assert load_certificate(alder.certificate.read_bytes()) == home.certificate("alder")
    assert alder.certificate.stat().st_mode & 0o777 == 0o600
    assert "guard.stranger" not in turned_away(home)
    assert is_in_order(home)


def test_a_certificate_is_not_renewed_before_it_is_time(home, alder):
    with running(home):
        assert not Renewer(alder, look_s=0).look()
        assert certified(home) == []
        assert Renewer(alder, look_s=0, clock=in_days(300)).look()
        assert certified(home) == ["alder"]


def in_days(days):
    return lambda: datetime.datetime.now(datetime.UTC) + datetime.timedelta(days)


def test_the_old_certificate_counts_until_the_new_one_is_used_also_across_restarts(home, alder):
    old = alder.context()
    renewer = Renewer(alder, look_s=0, clock=in_days(300))
    with running(home):
        assert renewer.look()
        assert post(home, alder, verify=old, headers=node_headers(home)).status_code == 401  # Flower's
    new = alder.context()
    with running(home):
        assert post(home, alder, verify=old, headers=node_headers(home)).status_code == 401
        assert post(home, alder, verify=new, headers=node_headers(home)).status_code == 401
        assert post(home, alder, verify=old, headers=node_headers(home)).status_code == 403
    with running(home):
        assert post(home, alder, verify=old, headers=node_headers(home)).status_code == 403
        assert post(home, alder, verify=new, headers=node_headers(home)).status_code == 401
    assert "guard.stranger" in turned_away(home)


def test_a_site_that_never_got_its_new_certificate_asks_again(home, alder):
    with running(home):
        lost = renewal(home, alder, make_request(new_key(), "alder"))
        assert lost.status_code == 200
        assert Renewer(alder, look_s=0, clock=in_days(300)).look()
        assert post(home, alder, headers=node_headers(home)).status_code == 401
    assert home.certificate("alder") != load_certificate(lost.content)


def renewal(home, keys, request, **options):
    return post(home, keys, RENEW_PATH, content=request, **options)


def tampered(request):
    return request[:-1] + bytes([request[-1] ^ 1])


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (make_request(new_key(), "birch"), "renewal.other_name"),
        (make_request(new_key(), "coordinator"), "renewal.other_name"),
        (tampered(make_request(new_key(), "alder")), "certificates.bad_request"),
        (b"", "renewal.other_name"),
    ],
    ids=["another", "the coordinator", "not signed by its key", "nothing"],
)
def test_a_site_gets_no_certificate_of_another_name_nor_for_a_key_it_does_not_have(
    home, alder, tmp_path, request_, code
):
    enrolled(home, tmp_path / "birch", "birch")
    before = {name: home.certificate(name) for name in ("alder", "birch")}
    with running(home):
        reply = renewal(home, alder, request_)
        assert (reply.status_code, reply.text) == (403, code)
        until(lambda: code in turned_away(home))
    assert turned_away(home)[code].site == "alder"
    assert {name: home.certificate(name) for name in before} == before
    assert certified(home) == []


def test_a_certificate_that_enrolment_does_not_know_renews_nothing(home, alder, tmp_path):
    key = new_key()
    made = home.issuer.for_site(make_request(key, "alder"), "alder")
    (tmp_path / "pem").write_bytes(key_pem(key) + made)
    context = alder.context()
    context.load_cert_chain(tmp_path / "pem")
    with running(home):
        reply = renewal(home, alder, make_request(new_key(), "alder"), verify=context)
    assert (reply.status_code, reply.text) == (403, "guard.stranger")


def test_what_is_no_certificate_for_this_site_is_not_kept(home, alder, tmp_path):
    birch = enrolled(home, tmp_path / "birch", "birch")
    before = alder.certificate.read_bytes()
    renewer = Renewer(alder, look_s=0)
    key = new_key()
    for made in (
        home.issuer.for_site(make_request(key, "birch"), "birch"),
        home.issuer.for_site(make_request(new_key(), "alder"), "alder"),
        new_coordinator(tmp_path / "other").issuer.for_site(make_request(key, "alder"), "alder"),
    ):
        with pytest.raises(ProtocolError) as caught:
            renewer._check(made, key, "alder")
        assert caught.value.code == "renewal.bad_certificate"
    renewer._check(home.issuer.for_site(make_request(key, "alder"), "alder"), key, "alder")
    assert alder.certificate.read_bytes() == before
    assert birch.certificate.read_bytes() != before


def shown(home):
    return load_certificate(ssl.get_server_certificate(("127.0.0.1", home.config.enrol_port)).encode())


def test_the_servers_certificate_renews_itself_and_lines_that_stand_stay(home, alder):
    today = [0]
    before = home.server_certificate
    with running(home, clock=lambda: in_days(today[0])()), linked(alder) as told:
        until(lambda: told.last == ONLINE)
        assert shown(home) == before
        today[0] = 300
        until(lambda: certified(home))
        today[0] = 0
        until(lambda: shown(home) != before)
        assert shown(home) == home.server_certificate
        assert post(home, alder, headers=node_headers(home)).status_code == 401  # over TLS with the new one
        assert told.all == [(*ONLINE, 0)]
    row = next(row for row in rows(home) if isinstance(row, Certified))
    assert (row.name, row.fingerprint) == ("coordinator", certificate_fingerprint(home.server_certificate))
    with running(home):
        assert shown(home) == home.server_certificate


# Rosters


@pytest.fixture
def authority():
    return SigningKey.generate()


def take(home, authority, *names, version=1, **changes):
    signed = roster_of(home, authority, *names, version=version, **changes)
    home.take_roster(signed, authority_key=authority.public, today=TODAY)


def status(home, keys, name):
    return post(home, keys, headers=node_headers(home, name)).status_code


def test_a_site_that_a_fresh_roster_leaves_out_is_refused_at_once_and_hears_why(home, tmp_path, authority):
    alder, birch = (enrolled(home, tmp_path / name, name) for name in ("alder", "birch"))
    with running(home), linked(birch) as told:
        until(lambda: told.last == ONLINE)  # before there is a roster, whoever joined may come
        take(home, authority, "alder", "birch")
        assert status(home, birch, "birch") == 401  # Flower's
        take(home, authority, "alder", version=2)
        until(lambda: told.last == ("offline", "link.revoked"))
        assert status(home, birch, "birch") == 403
        assert renewal(home, birch, make_request(new_key(), "birch")).text == "guard.revoked"
        assert status(home, alder, "alder") == 401
        until(lambda: "guard.revoked" in turned_away(home))
        take(home, authority, "alder", "birch", version=3)
        until(lambda: status(home, birch, "birch") == 401)
    assert turned_away(home)["guard.revoked"].site == "birch"
    assert is_in_order(home)


def test_a_site_whose_identity_key_is_another_now_is_refused(home, alder, authority):
    with running(home):
        take(home, authority, "alder", sites=(Member("alder", SigningKey.generate().public),))
        until(lambda: status(home, alder, "alder") == 403)


def test_a_roster_that_is_older_or_not_the_authoritys_is_not_taken_up(home, tmp_path, authority):
    alder, birch = (enrolled(home, tmp_path / name, name) for name in ("alder", "birch"))
    with running(home):
        take(home, authority, "alder", version=5)
        until(lambda: status(home, birch, "birch") == 403)
        for number, (signed, code) in enumerate(
            [
                (roster_of(home, authority, "alder", "birch", version=4), "trust.roster_stale"),
                (roster_of(home, SigningKey.generate(), "birch", version=6), "identity.bad_signature"),
                (
                    roster_of(home, authority, "birch", version=6, expires="2020-01-01"),
                    "trust.roster_expired",
                ),
                (b"nonsense", "message.malformed"),
            ]
        ):
            (home.path / "roster").write_bytes(signed)
            time.sleep(1.5)
            assert (status(home, alder, "alder"), status(home, birch, "birch")) == (401, 403), (number, code)


def test_an_expired_roster_still_says_who_is_left_out_when_the_service_starts(home, tmp_path, authority):
    alder, birch = (enrolled(home, tmp_path / name, name) for name in ("alder", "birch"))
    days = {"issued": "2020-01-01", "expires": "2020-01-20"}
    (home.path / "roster").write_bytes(roster_of(home, authority, "alder", **days))
    (home.path / "authority.pub").write_text(authority.public.hex())
    with running(home):
        assert (status(home, alder, "alder"), status(home, birch, "birch")) == (401, 403)


def test_the_command_refuses_a_roster_that_is_older_than_the_one_in_force(home, alder, authority):
    take(home, authority, "alder", version=5)
    with pytest.raises(ConsentError) as caught:
        take(home, authority, "alder", version=4)
    assert caught.value.code == "trust.roster_stale"
