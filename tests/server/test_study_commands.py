"""Opening, running, pausing, stopping and reporting a study as people type it; sites and rounds are real."""

from __future__ import annotations

import datetime
import json
from functools import partial

import msgspec
import pytest
from audits import contents
from federations import make_plan
from homes import DeployedHospitals, make_coordinator, make_site, wardround_coordinator, wardround_site
from hospitals import SECRETS, signed_roster

from wardround_client.app import make_client_app
from wardround_client.keeping import SITE
from wardround_common.audit import Happened
from wardround_common.backup import write_backup
from wardround_common.errors import WardroundError
from wardround_common.identity import fingerprint
from wardround_common.locks import alone
from wardround_common.plan import AggregationPlan
from wardround_common.trust import Member, plan_digest, sign_plan
from wardround_server.control import Control
from wardround_server.job import BUSY, JOB, opened_journal, run_job
from wardround_server.journal import Journal
from wardround_server.keeping import COORDINATOR
from wardround_server.observer import Silent
from wardround_simulations.grid import FIRST_NODE, LocalGrid, answer, run_server_app
from wardround_simulations.workers import InlineWorkers

NAMES = ("alder", "birch", "cedar")
AUTHORITY = SECRETS.key("authority").public.hex()
STRANGER = SECRETS.key("doum")


class Typist(Silent):
    """While a job runs, types something when a round has ended."""

    def __init__(self, lines):
        self.lines, self.said = lines, []

    def round_ended(self, record, state):
        for words in self.lines.get(record.number, ()):
            self.said.append(wardround_coordinator(*words).output)


class Hub(DeployedHospitals):
    """A coordinator with a roster and a study, and its sites behind their guards."""

    def __init__(self, home, **changes):
        super().__init__(home, 3, **({"rounds": 3} | changes))
        self.hub = self.coordinator.path
        take_roster(self.hub, signed_roster(self.names))
        new_study(self.hub, self.plan)

    @property
    def folder(self):
        return self.hub / "studies" / "test"

    def type(self, *words):
        return wardround_coordinator(*words[:2], self.hub, "test", *words[2:])

    def run(self, lines=None):
        """Run the job; ``lines`` are typed after the round of that number."""
        typed = {
            number: [(*w[:2], self.hub, "test", *w[2:]) for w in ws] for number, ws in (lines or {}).items()
        }
        self.typist = Typist(typed)
        nodes = {FIRST_NODE + i: name for i, name in enumerate(self.names)}
        workers = InlineWorkers(
            lambda spec: partial(answer, make_client_app(self.sites[nodes[int(spec)]].handle), int(spec)),
            [str(node).encode() for node in nodes],
        )
        return run_job(
            self.coordinator,
            "test",
            self.typist,
            command="wardround-coordinator study run",
            run=lambda app: run_server_app(app, LocalGrid(workers)),
        )

    def status(self):
        return json.loads(wardround_coordinator("study", "status", self.hub, "test", "--json").output)[0]

    def events(self):
        rows = contents(self.hub / "audit.sqlite", key=SECRETS.key("coordinator").public)
        decided = ("opened", "paused", "resumed", "stopped")
        return [(r.event, r.code, r.note) for r in rows if isinstance(r, Happened) and r.event in decided]

    def journal(self):
        return Journal(self.folder / "journal.sqlite", plan=plan_digest(self.plan), read_only=True)


def take_roster(hub, signed):
    (hub / "handed").write_bytes(signed)
    wardround_coordinator("roster", hub, hub / "handed", "--authority", AUTHORITY)


def new_study(hub, plan):
    (hub / "signed").write_bytes(sign_plan(plan, SECRETS.key("lead")))
    wardround_coordinator("study", "new", hub, hub / "signed")


def refused(call):
    with pytest.raises(WardroundError) as caught:
        call()
    assert caught.value.remedy
    return caught.value.code


@pytest.fixture
def hub(tmp_path):
    made = Hub(tmp_path / "homes")
    yield made
    made.close()


@pytest.fixture
def opened(hub):
    hub.type("study", "open")
    return hub


# opening


def test_a_study_that_was_not_opened_does_not_run(hub):
    assert hub.status()["state"] == "new"
    assert refused(hub.run) == "study.not_open"
    assert not (hub.folder / "journal.sqlite").exists()
    said = hub.type("study", "open").output
    assert "3 sites joined, roster version 5" in said
    assert hub.status()["state"] == "open"
    assert hub.events() == [("opened", "", "")]
    hub.type("study", "open")
    assert len(hub.events()) == 1


def members(**keys):
    return tuple(Member(name, keys.get(name, SECRETS.key(name).public)) for name in NAMES)


OTHER_ROSTERS = {
    "trust.roster_expired": {"issued": "2020-01-01", "expires": "2020-01-20"},
    "study.other_roster": {"coordinator": STRANGER.public},
    "study.other_lead": {"lead": STRANGER.public},
    "study.not_in_roster": {"sites": members()[:2]},
    "study.other_key": {"sites": members(cedar=STRANGER.public)},
}


@pytest.mark.parametrize("code", OTHER_ROSTERS)
def test_a_study_is_not_opened_on_a_roster_that_does_not_fit(hub, code):
    (hub.hub / "roster").write_bytes(signed_roster(NAMES, version=6, **OTHER_ROSTERS[code]))
    assert refused(lambda: hub.type("study", "open")) == code
    assert Control(hub.folder).opened is None


def test_a_study_is_not_opened_on_the_roster_of_another_authority(hub):
    (hub.hub / "roster").write_bytes(signed_roster(NAMES, by="doum"))
    assert refused(lambda: hub.type("study", "open")) == "identity.bad_signature"
    assert Control(hub.folder).opened is None


def test_a_study_is_not_opened_before_all_its_sites_have_joined(tmp_path):
    coordinator = make_coordinator(tmp_path / "hub")
    new_study(coordinator.path, make_plan(3))
    call = partial(wardround_coordinator, "study", "open", coordinator.path, "test")
    assert refused(call) == "coordinator.no_roster"
    take_roster(coordinator.path, signed_roster(NAMES))
    make_site(tmp_path / "alder", coordinator, "alder")
    with pytest.raises(WardroundError, match="birch, cedar did not join"):
        call()
    for name in NAMES[1:]:
        make_site(tmp_path / name, coordinator, name)
    assert call().exit_code == 0


def test_a_study_whose_plan_has_expired_is_not_opened(hub):
    old = (datetime.date.today() - datetime.timedelta(1)).isoformat()
    plan = msgspec.structs.replace(hub.plan, expires=old)
    (hub.folder / "plan").write_bytes(sign_plan(plan, SECRETS.key("lead")))
    assert refused(lambda: hub.type("study", "open")) == "trust.plan_expired"


# running to the end


def test_a_study_runs_to_its_end_and_its_status_says_how(opened):
    ended = opened.run()
    assert ended.paused == ""
    status = opened.status()
    assert (status["state"], status["ended"], status["rounds"], status["void"]) == ("done", 4, 4, 0)
    assert status["cohort"] == status["accepted_by"] == list(NAMES)
    assert (status["away"], status["report"]) == ([], str(ended.report))
    text = wardround_coordinator("study", "status", opened.hub).output
    assert "test: done, 4 of 4 rounds ended, 0 void" in text
    assert "study test: done" in wardround_coordinator("status", opened.hub).output
    for words in (("study", "pause"), ("study", "stop")):
        assert refused(lambda words=words: opened.type(*words)) == "study.done"


def test_a_site_that_was_away_is_named(tmp_path):
    changes = {"aggregation": AggregationPlan(exchange_timeout_s=60.0, round_deadline_s=1.0)}
    hub = Hub(tmp_path / "homes", **changes)
    hub.type("study", "open")
    wardround_site("pause", hub.home / "cedar")
    hub.run({1: [("study", "stop")]})
    assert hub.status()["void"] == 1
    assert hub.status()["away"] == ["cedar"]
    hub.close()


def test_the_status_of_a_running_job_is_read_without_holding_it_up(opened):
    ended = opened.run({2: [("study", "status", "--json")]})
    (status,) = json.loads(opened.typist.said[0])
    assert (status["state"], status["ended"]) == ("running", 2)
    assert ended.paused == ""


def test_a_report_is_written_anew_from_the_journal(opened):
    assert refused(lambda: wardround_coordinator("report", opened.hub, "test")) == "study.not_begun"
    ended = opened.run()
    before = json.loads((ended.report.parent / "report.json").read_bytes())
    model = (ended.report.parent / "model.safetensors").read_bytes()
    for path in ended.report.parent.iterdir():
        path.unlink()
    assert wardround_coordinator("report", opened.hub, "test").output.strip() == str(ended.report)
    after = json.loads((ended.report.parent / "report.json").read_bytes())
    for data in (before, after):
        del data["created"], data["reproducibility"]
    assert after == before
    assert (ended.report.parent / "model.safetensors").read_bytes() == model
    with alone(opened.folder, JOB, code=BUSY):
        assert refused(lambda: wardround_coordinator("report", opened.hub, "test")) == "coordinator.busy"


# pause, resume, stop


def test_a_pause_takes_effect_before_the_next_round_and_loses_nothing(opened):
    ended = opened.run({1: [("study", "pause", "--note", "The lead asked.")]})
    assert "ends before the next round" in opened.typist.said[0]
    assert ended.paused == "study.paused"
    assert "paused by people" in ended.report.read_text()
    status = opened.status()
    assert (status["state"], status["ended"], status["void"]) == ("paused", 1, 0)
    assert "The lead asked." in status["why"]
    journal = opened.journal()
    assert journal.paused() == "study.paused"
    journal.close()
    assert refused(opened.run) == "study.paused"
    opened.type("study", "resume", "--note", "It is mended.")
    assert opened.run().paused == ""
    assert (opened.status()["state"], opened.status()["void"]) == ("done", 0)
    assert opened.events() == [
        ("opened", "", ""),
        ("paused", "", "The lead asked."),
        ("resumed", "", "It is mended."),
    ]


def test_a_job_that_does_not_run_does_not_start_while_the_study_is_paused(opened):
    assert "is paused" in opened.type("study", "pause").output
    assert refused(opened.run) == "study.paused"
    assert opened.status()["ended"] == 0
    opened.type("study", "resume", "--note", "Go on.")
    assert opened.status()["state"] == "open"
    assert opened.run().paused == ""


def test_a_pause_that_is_taken_back_before_it_takes_effect_is_none(opened):
    resume = ("study", "resume", "--note", "A mistake.")
    assert opened.run({1: [("study", "pause"), resume]}).paused == ""
    assert opened.status()["state"] == "done"


def test_a_pause_that_only_the_journal_has_ends_by_resume_too(opened):
    opened.type("study", "pause")
    Control(opened.folder).resume()  # as where it was taken back while the job was ending because of it
    assert opened.status()["state"] == "paused"
    assert refused(opened.run) == "study.paused"
    opened.type("study", "resume", "--note", "Go on.")
    assert opened.run().paused == ""


def test_a_pause_ends_only_with_a_note_and_only_where_there_is_one(opened):
    assert refused(lambda: opened.type("study", "resume", "--note", "Why?")) == "study.not_paused"
    opened.type("study", "pause")
    assert refused(lambda: opened.type("study", "resume", "--note", "  ")) == "study.no_note"
    assert opened.type("study", "resume").exit_code == 2
    assert opened.status()["state"] == "paused"


def test_a_pause_that_the_study_made_by_itself_ends_by_resume(tmp_path):
    changes = {"aggregation": AggregationPlan(exchange_timeout_s=60.0, round_deadline_s=1.0)}
    hub = Hub(tmp_path / "homes", **changes)
    hub.type("study", "open")
    for name in NAMES:
        wardround_site("pause", hub.home / name)
    ended = hub.run()
    assert ended.paused.startswith("secagg.")
    assert (hub.status()["state"], hub.status()["void"]) == ("paused", 2)
    assert refused(hub.run) == ended.paused
    for name in NAMES:
        wardround_site("resume", hub.home / name)
    hub.type("study", "resume", "--note", "The sites were asked: they had paused.")
    assert hub.run().paused == ""
    assert (hub.status()["state"], hub.status()["void"]) == ("done", 2)
    hub.close()


def test_what_people_decide_does_not_hide_void_rounds(tmp_path):
    changes = {"aggregation": AggregationPlan(exchange_timeout_s=60.0, round_deadline_s=1.0)}
    hub = Hub(tmp_path / "homes", **changes)
    hub.type("study", "open")
    wardround_site("pause", hub.home / "cedar")
    assert hub.run({1: [("study", "pause")]}).paused == "study.paused"
    hub.type("study", "resume", "--note", "Let us see.")
    assert hub.run().paused.startswith("secagg.")
    assert hub.status()["ended"] == 2
    hub.close()


def test_a_stop_is_final_and_what_was_reached_is_reported(opened):
    ended = opened.run({2: [("study", "stop", "--note", "The money is gone.")]})
    assert ended.paused == "study.stopped"
    assert "stopped by people after 2 rounds" in ended.report.read_text()
    assert (opened.status()["state"], opened.status()["ended"]) == ("stopped", 2)
    assert (ended.report.parent / "model.safetensors").is_file()  # all sites accepted round 2
    for words in (("open",), ("pause",), ("stop",), ("resume", "--note", "Please.")):
        assert refused(lambda words=words: opened.type("study", *words)) == "study.stopped"
    assert refused(opened.run) == "study.stopped"
    assert opened.events()[-1] == ("stopped", "", "The money is gone.")


def test_a_study_that_is_stopped_before_its_first_round_releases_no_model(opened):
    path = opened.type("study", "stop").output.strip()
    assert path == str(opened.folder / "report" / "report.html")
    names = {one.name for one in (opened.folder / "report").iterdir()}
    assert "report.html" in names
    assert "model.safetensors" not in names
    assert refused(opened.run) == "study.stopped"


def test_a_stop_of_a_paused_study_counts(opened):
    opened.type("study", "pause")
    opened.type("study", "stop")
    assert opened.status()["state"] == "stopped"
    assert refused(lambda: opened.type("study", "resume", "--note", "No.")) == "study.stopped"


@pytest.mark.parametrize(("name", "code"), [("paused", "study.paused"), ("stopped", "study.stopped")])
def test_a_mark_that_cannot_be_read_is_one(opened, name, code):
    (opened.folder / name).write_bytes(b"?")
    assert refused(opened.run) == code


def test_a_journal_is_read_while_somebody_else_has_it(opened):
    with alone(opened.folder, JOB, code=BUSY), opened_journal(opened.folder, opened.plan) as journal:
        journal.pause("study.paused")
        journal.pause("study.paused")
        assert journal.last_pause() == 0
        reader = opened.journal()
        assert reader.paused() == "study.paused"
        assert refused(lambda: reader.resume("A reader writes nothing.")) == "journal.unusable"
        reader.close()
        assert journal.paused() == "study.paused"


def test_a_study_that_does_not_exist_is_told(hub):
    for words in (("study", "open"), ("study", "pause"), ("study", "stop"), ("study", "status")):
        call = partial(wardround_coordinator, *words, hub.hub, "other")
        assert refused(call) == "coordinator.no_study"


def test_what_was_decided_about_studies_and_at_sites_comes_back_with_a_backup(opened, tmp_path):
    for line in (("study", "pause", opened.hub, "test"), ("study", "stop", opened.hub, "test")):
        wardround_coordinator(*line)
    kept = write_backup(opened.hub, tmp_path / "hub", COORDINATOR).manifest.members
    marks = {f"studies/test/{name}" for name in ("opened", "paused", "stopped")}
    assert marks <= {member.name for member in kept}
    home = opened.home / "birch"
    wardround_site("pause", home)
    wardround_site("trust", home, "authority", fingerprint(SECRETS.key("authority").public))
    wardround_site("plan", "refuse", home, opened.digest)
    written = write_backup(home, tmp_path / "birch", SITE)
    assert written.unknown == ()
    marks = {
        "paused",
        "trust.toml",
        f"plans/{opened.digest}/refused",
        f"plans/{opened.digest}/data/summary.json",
    }
    assert marks <= {member.name for member in written.manifest.members}
