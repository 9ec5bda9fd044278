"""Who may join, and what joining gives."""

import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from msgspec.structs import replace

from wardround_common.authority import make_card
from wardround_common.certificates import load_certificate, make_request, new_key
from wardround_common.enrolment import JoinRequest, read_code, write_code
from wardround_common.errors import ConfigError, ConsentError, ProtocolError
from wardround_common.identity import SigningKey
from wardround_server.enrolment import admit, invite
from wardround_server.home import CoordinatorConfig, CoordinatorHome, create


@pytest.fixture
def home(tmp_path):
    return create(tmp_path / "coordinator", CoordinatorConfig(host="hub.example"))


def request(code, *, site="alder", card="alder", key=None):
    return JoinRequest(
        site=site,
        secret=code.secret,
        request=make_request(key or new_key(), site),
        node_key=b"node key",
        card=make_card(card, SigningKey.generate()),
    )


def code_of(home, site="alder", **options):
    return read_code(invite(home, site, **options))


def test_a_site_that_was_invited_gets_a_certificate_of_its_own_name_for_clients(home):
    key = new_key()
    reply = admit(home, request(code_of(home), key=key))
    certificate = load_certificate(reply.certificate)
    certificate.verify_directly_issued_by(home.issuer.certificate)
    assert certificate.public_key() == key.public_key()
    assert certificate.subject.rfc4514_string() == "CN=alder"
    use = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [one.dotted_string for one in use] == ["1.3.6.1.5.5.7.3.2"]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert home.certificate("alder") == certificate
    assert home.enrolled_site("alder").name == "alder"


def test_a_code_is_good_once(home):
    code = code_of(home)
    admit(home, request(code))
    with pytest.raises(ConsentError, match="join code") as caught:
        admit(home, request(code))
    assert caught.value.code == "enrol.not_invited"


def test_a_newer_code_voids_the_one_before(home):
    old, new = code_of(home), code_of(home)
    with pytest.raises(ConsentError):
        admit(home, request(old))
    admit(home, request(new))


def test_a_code_is_for_one_site(home):
    alder = code_of(home)
    code_of(home, "birch")
    with pytest.raises(ConsentError):
        admit(home, request(alder, site="birch", card="birch"))
    with pytest.raises(ConsentError):
        admit(home, request(alder, card="birch"))
    admit(home, request(alder))


def test_an_expired_code_is_refused(home, monkeypatch):
    code = code_of(home, hours=1)
    monkeypatch.setattr(time, "time", lambda: code.expires + 1)
    with pytest.raises(ConsentError):
        admit(home, request(code))


def test_a_wrong_secret_leaves_the_invitation(home):
    code = code_of(home)
    with pytest.raises(ConsentError):
        admit(home, replace(request(code), secret=bytes(16)))
    admit(home, request(code))


@pytest.mark.parametrize("site", ["coordinator", "lead", "", "../alder", "Alder", "a b"])
def test_a_name_that_no_plan_could_have_is_refused(home, site):
    with pytest.raises(ConfigError) as caught:
        invite(home, site)
    assert caught.value.code == "enrol.bad_name"


@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(public_exponent=65537, key_size=2048)],
)
def test_a_key_of_another_kind_is_not_certified(home, key):
    with pytest.raises(ProtocolError) as caught:
        admit(home, request(code_of(home), key=key))
    assert caught.value.code == "certificates.bad_request"


def test_the_folder_keeps_no_secret_of_a_code(home):
    code = code_of(home)
    assert code.secret not in (home.path / "invitations" / "alder").read_bytes()


def test_private_files_are_for_their_owner(home):
    for name in ("identity.key", "ca.key", "server.pem", "runtime.secret"):
        assert (home.path / name).stat().st_mode & 0o777 == 0o600
    assert home.path.stat().st_mode & 0o777 == 0o700


def test_a_code_survives_the_line_breaks_of_a_mail_and_no_other_change(home):
    text = invite(home, "alder")
    assert read_code(f"  {text[:40]}\n{text[40:]} ") == read_code(text)
    assert write_code(read_code(text)) == text
    for damaged in (text[:-1], text + "A", text[:30] + "_" + text[31:] + "A", "", "wardround1-", "é"):
        with pytest.raises(ConfigError) as caught:
            read_code(damaged)
        assert caught.value.code == "join.bad_code"


def test_behind_something_that_passes_it_on_sites_are_told_its_names_and_ports(tmp_path):
    names = {"host": "hub.example", "enrol_host": "join.example"}
    config = CoordinatorConfig(**names, public_port=443, public_enrol_port=443)
    home = create(tmp_path / "coordinator", config)
    assert CoordinatorHome(home.path).config == home.config
    code = code_of(home)
    assert (code.host, code.port) == ("join.example", 443)
    reply = admit(home, request(code))
    assert (reply.host, reply.port) == ("hub.example", 443)
    names = (
        load_certificate((home.path / "server.pem").read_bytes())
        .extensions.get_extension_for_class(x509.SubjectAlternativeName)
        .value.get_values_for_type(x509.DNSName)
    )
    assert names == ["hub.example", "join.example", "localhost"]


def test_with_nothing_in_front_sites_are_told_the_ports_that_are_opened(home):
    assert "public" not in (home.path / "coordinator.toml").read_text()
    code = code_of(home)
    assert (code.host, code.port) == ("hub.example", 8444)
    reply = admit(home, request(code))
    assert (reply.host, reply.port) == ("hub.example", 8443)
