"""A site that comes out of a backup: what it may go on with, and where it stops."""

from __future__ import annotations

import os
import shutil
import sys

import pytest
from federations import catalogue_of
from hospitals import SECRETS, Hospitals

from wardround_client.home import SiteHome
from wardround_client.keeping import SITE
from wardround_client.main import main
from wardround_client.shelf import Shelf
from wardround_client.site import Site, system_secret
from wardround_common.authority import keyfile, make_card
from wardround_common.backup import restore_backup, write_backup
from wardround_common.certificates import Issuer, key_pem, make_request, new_key
from wardround_common.errors import PrivacyError, StorageError
from wardround_common.messages import Signer
from wardround_common.trust import sign_plan


@pytest.fixture
def hospitals(tmp_path):
    made = Hospitals(tmp_path / "homes", 4)
    furnish(made, "birch")
    yield made
    made.close()


def furnish(h, name) -> None:
    """What joining and a person put beside the databases."""
    home, tls, ca = h.home / name, new_key(), Issuer.create("test")
    key = SECRETS.key(name)
    home.chmod(0o700)
    files = {
        "site.toml": f'name = "{name}"\nhost = "127.0.0.1"\nport = 8443\n'.encode(),
        "identity.key": keyfile.seal(key._key, None),
        "card": make_card(name, key),
        "tls.pem": key_pem(tls) + ca.for_site(make_request(tls, name), name),
        "ca.pem": ca.key_pem,
        "node.key": key_pem(new_key()),
        "patients.secret": os.urandom(32),
        "site.key": os.urandom(32),
        "status.json": b"{}",
        "log.jsonl": b"",
    }
    for file, data in files.items():
        (home / file).write_bytes(data)
        (home / file).chmod(0o600)
    found = Shelf(home).add(sign_plan(h.plan, SECRETS.key("lead")))
    (found.folder / "data").mkdir()
    found.catalogue.write_bytes(b"images")
    (found.folder / "data" / "rejects.csv").write_text("/archive/Doe^John/1.dcm")
    found.approve()


def moved(h, name, file, *, scratch: bool):
    """The site is lost and comes back from a backup, with or without its scratch folder."""
    h.sites[name].close()
    home, lost = h.home / name, h.home / "lost"
    home.rename(lost)
    restore_backup(file, home, SITE)
    if scratch:
        shutil.copytree(lost / "scratch", home / "scratch")
    h.sites[name] = h._open(name)


def told(call):
    with pytest.raises((PrivacyError, StorageError)) as caught:
        call()
    return caught.value


def test_a_backup_of_a_site_that_runs_has_all_but_what_no_backup_may_hold(hospitals, tmp_path):
    h = hospitals
    h.session(1).until("masked")
    written = write_backup(h.home / "birch", tmp_path / "file", SITE)
    assert written.unknown == ()
    names = {member.name for member in written.manifest.members}
    (digest,) = (path.name for path in (h.home / "birch" / "plans").iterdir())
    plan = f"plans/{digest}"
    assert names == {
        *("site.toml", "identity.key", "card", "tls.pem", "ca.pem", "node.key", "patients.secret"),
        *(f"{plan}/plan", f"{plan}/approved", f"{plan}/data/catalogue.sealed"),
        *("ledger.sqlite", "protocol.sqlite", "audit.sqlite"),
    }
    data = (tmp_path / "file").read_bytes()
    for kept_out in ("site.key", "scratch/ledger.head", "scratch/audit.head"):
        assert (h.home / "birch" / kept_out).read_bytes().strip() not in data
    assert b"Doe^John" not in data


def test_no_backup_of_a_site_may_bring_back_what_must_stay_out():
    for name in ("site.key", "scratch/scratch.sqlite", "scratch/ledger.head", "audit.head", "status.json"):
        assert SITE.part_of(name) is None


def test_a_site_from_its_newest_backup_goes_on_with_its_scratch_folder(hospitals, tmp_path):
    h = hospitals
    h.session(1).until("accept").close()
    write_backup(h.home / "birch", tmp_path / "file", SITE)
    moved(h, "birch", tmp_path / "file", scratch=True)
    assert SiteHome(h.home / "birch").signer.key.public == SECRETS.key("birch").public
    h.session(2).until("accept")
    assert h.tasks["birch"].rounds == 2


def test_an_older_ledger_is_refused_when_the_scratch_folder_survived(hospitals, tmp_path):
    h = hospitals
    write_backup(h.home / "birch", tmp_path / "file", SITE)
    h.session(1).until("hello")
    error = told(lambda: moved(h, "birch", tmp_path / "file", scratch=True))
    assert error.code == "ledger.rolled_back"
    assert "newest copy of the ledger" in error.remedy
    shutil.copy(h.home / "lost" / "ledger.sqlite", h.home / "birch" / "ledger.sqlite")
    assert told(lambda: h._open("birch")).code == "audit.rolled_back"


def test_an_older_audit_log_and_record_are_refused_likewise(hospitals, tmp_path):
    h = hospitals
    write_backup(h.home / "birch", tmp_path / "file", SITE)
    h.session(1).until("hello")
    newest = ["ledger.sqlite", "audit.sqlite", "protocol.sqlite"]
    codes = []
    told(lambda: moved(h, "birch", tmp_path / "file", scratch=True))
    for name in newest:
        codes.append(told(lambda: h._open("birch")).code)
        shutil.copy(h.home / "lost" / name, h.home / "birch" / name)
    assert codes == ["ledger.rolled_back", "audit.rolled_back", "storage.record_rolled_back"]
    h.sites["birch"] = h._open("birch")


def test_without_scratch_an_older_ledger_is_caught_by_the_hello_that_start_returns(hospitals, tmp_path):
    h = hospitals
    write_backup(h.home / "birch", tmp_path / "file", SITE)
    hello = h.session(1).until("hello").replies["birch"].envelope
    moved(h, "birch", tmp_path / "file", scratch=False)
    start = h.session(1, attempt=2).coordinator.start(hello=hello)
    assert told(lambda: h.sites["birch"].handle(start)).code == "storage.record_rolled_back"
    shutil.copy(h.home / "lost" / "protocol.sqlite", h.home / "birch" / "protocol.sqlite")
    h.restart("birch")
    error = told(lambda: h.sites["birch"].handle(start))
    assert error.code == "ledger.rolled_back"
    assert "start anew" in error.remedy
    assert h.tasks["birch"].rounds == 1  # nothing was drawn again


def test_a_spend_whose_secret_is_gone_is_void_and_not_computed_again(hospitals, tmp_path):
    """The backup is the newest there can be; what it must not hold is still gone."""
    h = hospitals
    hello = h.session(1).until("hello").replies["birch"].envelope
    write_backup(h.home / "birch", tmp_path / "file", SITE)
    moved(h, "birch", tmp_path / "file", scratch=False)
    h.sites["birch"].close()
    h.sites["birch"] = Site(
        h.home / "birch",
        signer=Signer("birch", SECRETS.key("birch")),
        key=SECRETS.site_key("birch"),
        policy=h.policy,
        round_secret=system_secret,
        simulation_id=SECRETS.ledger_id("birch"),
        task=lambda _: h.tasks["birch"],
    )
    h.sites["birch"].approve(sign_plan(h.plan, SECRETS.key("lead")), catalogue_of("birch"))
    again = h.session(1, attempt=2).coordinator.start(hello=hello)
    assert told(lambda: h.sites["birch"].handle(again)).code == "privacy.rerun_differs"
    assert h.tasks["birch"].rounds == 1


def test_a_site_whose_state_is_gone_sits_out_the_rest_of_the_study(hospitals, tmp_path):
    h = hospitals
    h.session(1).until("accept").close()
    write_backup(h.home / "birch", tmp_path / "file", SITE)
    moved(h, "birch", tmp_path / "file", scratch=False)
    start = h.session(2).coordinator.start()
    error = told(lambda: h.sites["birch"].handle(start))
    assert error.code == "storage.state_lost"
    assert "sit out" in error.remedy
    assert h.tasks["birch"].rounds == 1


def test_the_two_commands_say_what_they_did_and_what_is_left_to_do(hospitals, tmp_path, capsys, monkeypatch):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["wardround-site", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    home = hospitals.home / "birch"
    (home / "notes.txt").write_text("from a newer version")
    status, out, err = run("backup", home, tmp_path / "file")
    assert status in (0, None)
    digest = out.split()[-1]
    assert "notes.txt" in err
    assert "files" in out
    status, _, err = run("restore", tmp_path / "file", home)
    assert (status, "Name a new folder" in err) == (1, True)
    status, _, err = run("restore", tmp_path / "file", tmp_path / "new", "--digest", "0" * 64)
    assert (status, "who altered it" in err) == (1, True)
    status, out, _ = run("restore", tmp_path / "file", tmp_path / "new", "--digest", digest)
    assert status in (0, None)
    for remembered in ("scratch", "site.key", "end the one"):
        assert remembered in out
