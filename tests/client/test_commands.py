"""What people at a site type: pause, refuse, trust, data, ledger, status. The guard that answers is real."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
import tempfile
import threading

import pytest
from audits import contents
from federations import catalogue_of, make_plan
from homes import DeployedHospitals, make_site, wardround_site
from hospitals import SECRETS, CountedTask, signed_roster

from wardround_client.home import SiteHome
from wardround_client.pausing import Pause
from wardround_client.pins import Pins
from wardround_client.secagg import newest_roster
from wardround_client.shelf import Shelf
from wardround_client.site import open_ledger
from wardround_common.audit import Happened, Refused, Sent
from wardround_common.errors import ConfigError, ConsentError, StorageError, WardroundError
from wardround_common.identity import fingerprint
from wardround_common.messages import Signer
from wardround_common.trust import Member, plan_digest, sign_plan
from wardround_simulations.phantoms import write_phantoms

SITE = "birch"


@pytest.fixture
def h(tmp_path):
    hospitals = DeployedHospitals(tmp_path / "homes", 3, rounds=5)
    yield hospitals
    hospitals.close()


def home(h):
    return h.home / SITE


def log_of(h, sort):
    rows = contents(home(h) / "audit.sqlite", key=SECRETS.key(SITE).public)
    return [row for row in rows if isinstance(row, sort)]


def refused(call):
    with pytest.raises(WardroundError) as caught:
        call()
    return caught.value.code


# pause and resume


def test_a_paused_site_says_so_and_computes_nothing(h):
    wardround_site("pause", home(h), "--note", "The board asked.")
    packet = h.session(1).ask("start")[SITE]
    assert refused(lambda: h.sites[SITE].handle(packet)) == "consent.paused"
    assert h.tasks[SITE].rounds == 0
    (row,) = log_of(h, Refused)
    assert (row.code, row.left, row.message) == ("consent.paused", len("consent.paused"), "start")
    assert log_of(h, Sent) == []


class SlowTask(CountedTask):
    """While it trains, somebody else types something."""

    def __init__(self, meanwhile, *, fails=False):
        super().__init__()
        self.meanwhile, self.fails = meanwhile, fails

    def train_round(self, plan, **rest):
        person = threading.Thread(target=self.meanwhile)
        person.start()
        person.join(60)
        update = super().train_round(plan, **rest)
        if self.fails:
            raise StorageError("no", remedy="None.", code="storage.full")
        return update


def test_a_pause_during_training_keeps_that_reply_from_leaving(h):
    task = h.tasks[SITE] = SlowTask(lambda: wardround_site("pause", home(h)))
    packet = h.session(1).ask("start")[SITE]
    assert refused(lambda: h.sites[SITE].handle(packet)) == "consent.paused"
    assert task.rounds == 1
    assert log_of(h, Sent) == []
    wardround_site("resume", home(h))
    assert h.sites[SITE].handle(packet).envelope
    assert task.rounds == 1


def test_an_error_that_comes_up_during_a_pause_leaves_as_the_pause(h):
    h.tasks[SITE] = SlowTask(lambda: wardround_site("pause", home(h)), fails=True)
    packet = h.session(1).ask("start")[SITE]
    assert refused(lambda: h.sites[SITE].handle(packet)) == "consent.paused"
    assert [row.code for row in log_of(h, Refused)] == ["consent.paused"]


def test_a_request_that_is_none_and_a_repetition_are_answered_with_the_pause_too(h):
    packet = h.session(1).ask("start")[SITE]
    h.sites[SITE].handle(packet)
    wardround_site("pause", home(h))
    assert refused(lambda: h.sites[SITE].handle(packet)) == "consent.paused"
    assert refused(lambda: h.sites[SITE].handle(None)) == "consent.paused"


def test_a_pause_outlasts_a_restart_and_ends_with_resume(h):
    wardround_site("pause", home(h))
    h.restart(SITE)
    packet = h.session(1).ask("start")[SITE]
    assert refused(lambda: h.sites[SITE].handle(packet)) == "consent.paused"
    wardround_site("resume", home(h))
    assert h.sites[SITE].handle(packet).envelope


def test_after_a_pause_within_a_round_the_site_takes_part_in_the_next_attempt(h):
    play = h.session(1).until("deal")
    wardround_site("pause", home(h))
    packet = play.ask("envelopes")[SITE]
    assert refused(lambda: h.sites[SITE].handle(packet)) == "consent.paused"
    wardround_site("resume", home(h))
    h.session(1, attempt=2).until("accept")


def test_pausing_and_resuming_are_in_the_audit_log_with_their_notes(h):
    wardround_site("pause", home(h), "--note", "An incident.")
    wardround_site("resume", home(h), "--note", "It was none.")
    events = [(row.event, row.note) for row in log_of(h, Happened)][-2:]
    assert events == [("paused", "An incident."), ("resumed", "It was none.")]


@pytest.mark.parametrize("content", [b"", b"\xff", b'{"since": 1}', b'{"since": "now", "more": 2}'])
def test_a_pause_that_cannot_be_read_is_one(h, content):
    (home(h) / "paused").write_bytes(content)
    assert Pause(home(h)).since == "an unknown time"
    packet = h.session(1).ask("start")[SITE]
    assert refused(lambda: h.sites[SITE].handle(packet)) == "consent.paused"


def test_a_pause_holds_though_it_cannot_be_written_down(h):
    (home(h) / "identity.key").rename(home(h) / "elsewhere")
    assert refused(lambda: wardround_site("pause", home(h))) == "files.unreadable"
    packet = h.session(1).ask("start")[SITE]
    assert refused(lambda: h.sites[SITE].handle(packet)) == "consent.paused"


def test_a_pause_does_not_end_where_that_cannot_be_written_down(h):
    wardround_site("pause", home(h))
    (home(h) / "identity.key").rename(home(h) / "elsewhere")
    assert refused(lambda: wardround_site("resume", home(h))) == "files.unreadable"
    assert Pause(home(h)).since is not None


def test_a_folder_of_nobody_is_not_paused(tmp_path):
    assert refused(lambda: wardround_site("pause", tmp_path)) == "site.absent"
    assert list(tmp_path.iterdir()) == []


# refusing a plan


def test_a_plan_that_is_withdrawn_is_not_answered_from_the_next_message_on(h):
    play = h.session(1).until("deal")
    last = dict(play.requests)[SITE]
    said = wardround_site("plan", "refuse", home(h), h.digest, "--reason", "The ethics board.").output
    assert "rest of what was reserved is free again" in said
    packet = play.ask("envelopes")[SITE]
    assert h.sites[SITE].training.held == {plan_digest(h.plan)}
    assert refused(lambda: h.sites[SITE].handle(packet)) == "consent.not_approved"
    assert h.sites[SITE].training.held == set()
    assert refused(lambda: h.sites[SITE].handle(last)) == "consent.not_approved"
    (row,) = [row for row in log_of(h, Happened) if row.event == "refused"]
    assert (row.plan, row.code, row.note) == (
        plan_digest(h.plan),
        "plan.withdrawn",
        "The ethics board.",
    )


def test_a_repetition_of_the_last_request_of_a_withdrawn_plan_is_not_answered(h):
    packet = h.session(1).ask("start")[SITE]
    h.sites[SITE].handle(packet)
    wardround_site("plan", "refuse", home(h), h.digest)
    assert refused(lambda: h.sites[SITE].handle(packet)) == "consent.not_approved"


def test_withdrawing_frees_what_was_reserved_and_keeps_what_was_spent(h):
    h.session(1).until("accept")
    before = open_ledger(home(h), policy=h.policy)
    spent, reserved = before.epsilon_spent("test"), before.lifetime().epsilon
    before.shut()
    wardround_site("plan", "refuse", home(h), h.digest)
    after = open_ledger(home(h), policy=h.policy)
    assert after.epsilon_spent("test") == spent
    assert 0 < after.lifetime().epsilon < reserved
    assert after.accounts()[0].closed
    after.shut()


def test_a_refused_plan_is_not_taken_up_after_a_restart(h):
    wardround_site("plan", "refuse", home(h), h.digest)
    h.restart(SITE)
    assert h.sites[SITE].training.held == set()
    packet = h.session(1).ask("start")[SITE]
    assert refused(lambda: h.sites[SITE].handle(packet)) == "consent.not_approved"


def shelved(h, **changes):
    """Another plan on the shelf, with the images of the first, which nobody decided about."""
    plan = make_plan(3, study="second", rounds=1, **changes)
    found = Shelf(home(h)).add(sign_plan(plan, SECRETS.key("lead")))
    found.catalogue.parent.mkdir()
    found.catalogue.write_bytes(Shelf(home(h)).find(h.digest).catalogue.read_bytes())
    return found


def test_a_refused_plan_is_approved_only_when_that_is_reconsidered(h):
    found = shelved(h)
    wardround_site("plan", "refuse", home(h), found.digest, "--reason", "No.")
    assert "refused since" in wardround_site("plan", "list", home(h)).output
    assert refused(lambda: wardround_site("plan", "approve", home(h), found.digest)) == "plan.refused"
    assert not found.approved
    wardround_site("plan", "approve", home(h), found.digest, "--reconsider")
    assert found.approved
    assert Shelf(home(h)).approved() == {h.digest, found.digest}


def test_a_withdrawn_study_is_not_approved_anew_on_the_same_budget(h):
    wardround_site("plan", "refuse", home(h), h.digest)
    call = ("plan", "approve", home(h), h.digest, "--reconsider")
    assert refused(lambda: wardround_site(*call)) == "ledger.closed"
    assert not Shelf(home(h)).find(h.digest).approved


def test_a_mark_of_refusal_that_cannot_be_read_is_one(h):
    found = Shelf(home(h)).find(h.digest)
    (found.folder / "refused").write_bytes(b"?")
    assert not found.approved
    assert Shelf(home(h)).approved() == set()


def test_a_study_that_paused_itself_here_goes_on_when_a_person_settles_it(h):
    for number in (1, 2):
        h.session(number).until("hello")
    packet = h.session(3).ask("start")[SITE]
    assert refused(lambda: h.sites[SITE].handle(packet)) == "secagg.two_void_rounds"
    assert (
        refused(lambda: wardround_site("plan", "settle", home(h), h.digest, "--note", " ")) == "plan.no_note"
    )
    assert refused(lambda: h.sites[SITE].handle(packet)) == "secagg.two_void_rounds"
    wardround_site("plan", "settle", home(h), h.digest, "--note", "The network was down.")
    assert h.sites[SITE].handle(packet).envelope
    (row,) = [row for row in log_of(h, Happened) if row.event == "settled"]
    assert (row.study, row.note) == ("test", "The network was down.")
    h.restart(SITE)
    assert h.sites[SITE].handle(h.session(3, attempt=2).ask("start")[SITE]).envelope


def test_a_study_that_never_began_here_has_nothing_to_settle(h):
    found = shelved(h)
    call = ("plan", "settle", home(h), found.digest, "--note", "Why not?")
    assert refused(lambda: wardround_site(*call)) == "plan.not_begun"


# keys that were compared by phone

STRANGER = SECRETS.key("doum").public


def pin(h, name, key, *options):
    return wardround_site("trust", home(h), name, fingerprint(key), *options)


def test_pins_are_listed_and_replaced_only_where_a_person_says_so(h):
    assert "No key is pinned" in wardround_site("trust", home(h)).output
    pin(h, "lead", STRANGER)
    assert f"{fingerprint(STRANGER)}  lead" in wardround_site("trust", home(h)).output
    other = SECRETS.key("lead").public
    assert refused(lambda: pin(h, "lead", other)) == "trust.pinned"
    pin(h, "lead", other, "--replace")
    assert Pins(home(h)).all() == {"lead": fingerprint(other)}
    assert (home(h) / "trust.toml").stat().st_mode & 0o777 == 0o600


def test_a_fingerprint_is_taken_as_it_was_read_out(h):
    words = fingerprint(STRANGER).upper().split()
    wardround_site("trust", home(h), "lead", *words)
    wardround_site("trust", home(h), "birch", "".join(words))
    assert Pins(home(h)).all() == dict.fromkeys(("lead", "birch"), fingerprint(STRANGER))


@pytest.mark.parametrize("words", [("lead",), ("lead", "1234"), ("lead", "g" * 32), ("Lead", "a" * 32)])
def test_what_is_no_pin_is_told(h, words):
    assert refused(lambda: wardround_site("trust", home(h), *words)) == "trust.fingerprint"
    assert Pins(home(h)).all() == {}


@pytest.mark.parametrize("name", ["authority", "lead"])
def test_a_plan_that_gives_a_pinned_name_another_key_is_not_kept(h, tmp_path, name):
    pin(h, name, SECRETS.key(name).public)
    liar = SECRETS.key("doum")
    plan = make_plan(3, study="lie", **{f"{name}_key": liar.public.hex()})
    signed = tmp_path / "signed"
    signed.write_bytes(sign_plan(plan, liar if name == "lead" else SECRETS.key("lead")))
    assert refused(lambda: wardround_site("plan", "add", home(h), signed)) == "trust.other_key"
    assert [found.plan.study for found in Shelf(home(h)).all()] == ["test"]


@pytest.mark.parametrize("name", ["authority", "lead"])
def test_a_plan_that_gives_a_pinned_name_another_key_is_not_approved(h, name):
    found = shelved(h)
    pin(h, name, STRANGER)
    assert refused(lambda: wardround_site("plan", "approve", home(h), found.digest)) == "trust.other_key"
    assert not found.approved


@pytest.mark.parametrize("name", ["authority", "lead"])
def test_the_guard_takes_up_no_plan_that_gives_a_pinned_name_another_key(h, name):
    pin(h, name, STRANGER)
    h.restart(SITE)
    packet = h.session(1).ask("start")[SITE]
    assert refused(lambda: h.sites[SITE].handle(packet)) == "consent.not_approved"


LIES = {
    "coordinator": {"coordinator": STRANGER},
    "lead": {"lead": STRANGER},
    "cedar": {
        "sites": tuple(
            Member(name, STRANGER if name == "cedar" else SECRETS.key(name).public)
            for name in ("alder", SITE, "cedar")
        )
    },
}


@pytest.mark.parametrize("name", [*LIES, "authority"])
def test_a_roster_that_gives_a_pinned_name_another_key_is_refused_by_the_running_guard(h, name):
    pin(h, name, SECRETS.key(name).public)
    honest = h.session(1).ask("start")[SITE]
    assert h.sites[SITE].handle(honest).envelope
    if name == "authority":  # of which only the pin can be wrong: who signed the roster is in the plan
        pin(h, name, STRANGER, "--replace")
    else:
        h.signed = signed_roster(h.names, version=6, **LIES[name])
    before = newest_roster(home(h) / "protocol.sqlite", plan_digest(h.plan))
    play = h.session(1, attempt=2)
    if name == "coordinator":
        play.coordinator._signer = Signer(name, SECRETS.key("doum"))
    packet = play.ask("start")[SITE]
    assert refused(lambda: h.sites[SITE].handle(packet)) == "trust.other_key"
    assert newest_roster(home(h) / "protocol.sqlite", plan_digest(h.plan)) == before
    assert h.tasks[SITE].rounds == 1


def test_without_a_pin_the_authoritys_word_counts(h):
    h.session(1).until("accept").close()
    h.signed = signed_roster(h.names, version=6, lead=STRANGER)
    h.session(2).until("accept")


@pytest.mark.parametrize("content", ["pins = 3", "[pins]\nlead = 'x'", "[pins]\n[more]", "pins"])
def test_pins_that_cannot_be_read_are_believed_by_nobody(h, content):
    (home(h) / "trust.toml").write_text(content)
    (home(h) / "trust.toml").chmod(0o600)
    packet = h.session(1).ask("start")[SITE]
    assert refused(lambda: h.sites[SITE].handle(packet)).startswith("config.")
    assert h.tasks[SITE].rounds == 0


# data


@pytest.fixture
def scans(tmp_path):
    write_phantoms(tmp_path / "phantoms", seed=5, scale=0.05)
    return tmp_path / "phantoms" / SITE


def test_a_dry_run_reads_and_keeps_nothing(h, scans, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))  # nothing goes there, not even for now
    found = Shelf(home(h)).add(sign_plan(make_plan(3, study="second"), SECRETS.key("lead")))
    before = sorted(home(h).rglob("*"))
    said = wardround_site("data", "add", home(h), scans, "--plan", found.digest, "--dry-run").output
    assert "patients can be used" in said
    assert "Nothing was kept" in said
    assert sorted(home(h).rglob("*")) == before
    assert "no data read" in wardround_site("data", "list", home(h)).output


def test_data_are_listed_and_removed_and_the_ledger_forgets_nothing(h, scans):
    found = Shelf(home(h)).add(sign_plan(make_plan(3, study="second"), SECRETS.key("lead")))
    wardround_site("data", "add", home(h), scans, "--plan", found.digest)
    (line,) = [x for x in wardround_site("data", "list", home(h)).output.splitlines() if "second" in x]
    assert "scans of" in line
    assert "validation" in line
    assert "would remove" in wardround_site("data", "remove", home(h), found.digest, "--dry-run").output
    assert found.catalogue.is_file()
    said = wardround_site("data", "remove", home(h), found.digest).output
    assert "The ledger forgets nothing" in said
    assert not found.catalogue.parent.exists()
    assert refused(lambda: wardround_site("data", "remove", home(h), found.digest)) == "data.none"


def test_what_a_plan_was_approved_on_is_removed_only_after_the_approval(h):
    h.session(1).until("accept")
    call = ("data", "remove", home(h), h.digest)
    assert refused(lambda: wardround_site(*call)) == "data.approved"
    assert refused(lambda: wardround_site(*call, "--dry-run")) == "data.approved"
    assert Shelf(home(h)).find(h.digest).catalogue.is_file()
    wardround_site("plan", "refuse", home(h), h.digest)
    spent = json.loads(wardround_site("ledger", home(h), "--json").output)
    wardround_site(*call)
    assert not Shelf(home(h)).find(h.digest).catalogue.exists()
    assert json.loads(wardround_site("ledger", home(h), "--json").output) == spent


# what was spent


def test_the_ledger_says_what_a_study_has_cost_while_the_daemon_runs(h):
    h.session(1).until("accept").close()
    h.session(2).until("hello")
    data = json.loads(wardround_site("ledger", home(h), "--json").output)
    ledger = open_ledger(home(h), policy=h.policy)
    spent, lifetime = ledger.epsilon_spent("test"), ledger.lifetime().epsilon
    (study,) = data["studies"]
    assert study["spent"]["train"] == spent.train > 0
    assert (study["rounds"], study["last_round"], study["closed"]) == (2, 2, False)
    assert study["budget"] == {"train": 8.0, "held_out": 8.0}
    assert data["lifetime"] == {"epsilon": lifetime, "limit": 40.0, "delta": 1e-5}
    assert data["head"] == ledger.head().hex()
    ledger.shut()
    text = wardround_site("ledger", home(h), "test").output
    assert f"epsilon {spent.train:.4f} spent" in text
    assert data["head"] in text


def test_the_ledger_command_prints_no_patient_and_writes_nothing(h):
    h.session(1).until("accept")
    path = home(h) / "ledger.sqlite"
    before = path.read_bytes()
    said = wardround_site("ledger", home(h), "--json").output + wardround_site("ledger", home(h)).output
    assert path.read_bytes() == before
    assert not any(key.hex() in said for key in catalogue_of(SITE).patient_keys)


def test_a_study_that_the_ledger_does_not_know_is_told(h):
    assert refused(lambda: wardround_site("ledger", home(h), "other")) == "ledger.not_approved"


def test_no_ledger_is_made_where_there_is_none(tmp_path, h):
    fresh = make_site(tmp_path / "fresh", h.coordinator, "alder").path
    assert "Nothing was reserved" in wardround_site("ledger", fresh).output
    wardround_site("status", fresh)
    assert not (fresh / "ledger.sqlite").exists()


def test_status_says_what_is_paused_approved_refused_and_spent(h):
    h.session(1).until("accept")
    wardround_site("pause", home(h), "--note", "Now.")
    data = json.loads(wardround_site("status", home(h), "--json").output)
    assert data["paused"] == Pause(home(h)).since
    assert (data["note"], data["daemon"]) == ("Now.", False)
    (plan,) = data["plans"]
    assert (plan["state"], plan["last_round"]) == ("approved", 1)
    assert plan["epsilon"] > 0
    text = wardround_site("status", home(h)).output
    assert "PAUSED since" in text
    assert "last round taken part in 1" in text


def test_an_expired_plan_is_shown_as_one(h):
    old = datetime.date.today() - datetime.timedelta(1)
    plan = make_plan(3, study="old", expires=old.isoformat())
    folder = home(h) / "plans" / plan_digest(plan).hex()
    folder.mkdir()
    (folder / "plan").write_bytes(sign_plan(plan, SECRETS.key("lead")))
    (folder / "approved").write_bytes(b"")
    assert "old: approved, expired" in wardround_site("status", home(h)).output


@pytest.mark.parametrize(
    "command", ["status", "doctor", "pause", "resume", "trust", "ledger", "plan list", "data list"]
)
def test_a_command_that_trains_nothing_does_not_wait_for_torch(h, command):
    words = [*command.split(), str(home(h))]
    code = (
        f"import sys; sys.argv = ['wardround-site', *{words!r}]\n"
        "from wardround_client.main import app\n"
        "app(standalone_mode=False)\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize(
    "command",
    ["status", "doctor", "pause", "resume", "trust", "ledger", "plan list", "plan add", "data list"],
)
def test_a_command_on_a_folder_of_nobody_says_what_to_do(tmp_path, command):
    words = [*command.split(), tmp_path, *([tmp_path / "plan"] if command == "plan add" else [])]
    if command == "doctor":
        assert wardround_site(*words).exit_code == 1
    else:
        assert refused(lambda: wardround_site(*words)) == "site.absent"
    assert list(tmp_path.iterdir()) == []


def test_home_of_a_site_is_checked(tmp_path):
    with pytest.raises(ConfigError):
        SiteHome(tmp_path).check()
    (tmp_path / "paused").touch()
    with pytest.raises(ConsentError):
        Pause(tmp_path).check()
