"""A coordinator that comes out of a backup."""

import sys

import pytest

from wardround_common.backup import restore_backup, write_backup
from wardround_common.enrolment import read_code
from wardround_common.trust import SIGNED_LIMIT_BYTES
from wardround_server.enrolment import invite
from wardround_server.home import CoordinatorConfig, CoordinatorHome, create
from wardround_server.journal import Journal
from wardround_server.keeping import COORDINATOR
from wardround_server.main import main

PLAN = b"p" * 32
assert min(part.limit_bytes for part in COORDINATOR.parts) >= SIGNED_LIMIT_BYTES


@pytest.fixture
def home(tmp_path):
    made = create(tmp_path / "hub", CoordinatorConfig(host="hub.example"))
    invite(made, "alder")
    study = made.path / "studies" / "lung"
    study.mkdir()
    (study / "plan").write_bytes(b"plan")
    Journal(study / "journal.sqlite", plan=PLAN).close()
    site = made.path / "sites" / "birch"
    site.mkdir()
    for name in ("card", "node.pub", "certificate.pem"):
        (site / name).write_bytes(name.encode())
    for name in ("superlink.sqlite", "audit.head", "service.pid", "log.jsonl"):
        (made.path / name).write_bytes(b"not for a backup")
    return made


def test_a_coordinator_from_a_backup_is_the_same_party(home, tmp_path):
    written = write_backup(home.path, tmp_path / "file", COORDINATOR)
    assert written.unknown == ()
    restore_backup(tmp_path / "file", tmp_path / "new", COORDINATOR)
    again = CoordinatorHome(tmp_path / "new")
    assert again.config == home.config
    assert again.signer.key.public == home.signer.key.public
    assert again.issuer.certificate == home.issuer.certificate
    assert again.secret == home.secret
    assert again.studies() == ["lung"]
    Journal(again.study("lung") / "journal.sqlite", plan=PLAN).close()
    assert read_code(invite(again, "cedar")).site == "cedar"


def test_what_must_not_come_back_is_not_in_it(home, tmp_path):
    write_backup(home.path, tmp_path / "file", COORDINATOR)
    restore_backup(tmp_path / "file", tmp_path / "new", COORDINATOR)
    assert not list((tmp_path / "new" / "invitations").iterdir())
    assert COORDINATOR.part_of("invitations/alder") is COORDINATOR.part_of("audit.head") is None
    assert b"not for a backup" not in (tmp_path / "file").read_bytes()


def test_the_two_commands_make_and_restore_a_backup(home, tmp_path, monkeypatch, capsys):
    for words in (["backup", home.path, tmp_path / "file"], ["restore", tmp_path / "file", tmp_path / "new"]):
        monkeypatch.setattr(sys, "argv", ["wardround-coordinator", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code in (0, None)
    assert "the sites do not go back" in capsys.readouterr().out
    assert CoordinatorHome(tmp_path / "new").config == home.config
