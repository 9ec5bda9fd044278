"""kill -9 of every program at every exchange, with work in flight: the same model, bit for bit.

One deployment runs undisturbed. A copy of it, with the same round secrets, runs the same studies while its
processes kill themselves where the schedule says, and are started again. A round that leads to another state,
or is void, shows in every round after it.
"""

from collections import Counter

import pytest
from kills import KILLS, NAMES, STUDIES, copy_of, fired, found, run_all

from wardround_client.home import SiteHome
from wardround_common.audit import Sent, verify
from wardround_common.audit.check import read

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return found(tmp_path_factory.mktemp("template"), STUDIES)


@pytest.fixture(scope="module")
def undisturbed(template, tmp_path_factory):
    return run_all(copy_of(template, tmp_path_factory.mktemp("undisturbed") / "out", []))


@pytest.fixture(scope="module")
def killed(template, tmp_path_factory):
    return run_all(copy_of(template, tmp_path_factory.mktemp("killed") / "out", KILLS))


def test_the_schedule_has_every_exchange_of_every_program():
    assert len(KILLS) >= 60
    assert len({kill.id for kill in KILLS}) == len(KILLS)


@pytest.mark.parametrize("kill", KILLS, ids=lambda kill: kill.id)
def test_a_kill_changes_nothing(undisturbed, killed, kill):
    assert kill.id in fired(killed), "it did not happen"
    expected = undisturbed.ends(kill.study)[kill.round]
    assert expected is not None
    assert killed.ends(kill.study)[kill.round] == expected


@pytest.mark.parametrize("study", [planned.study for planned in STUDIES])
def test_the_released_model_is_the_undisturbed_one(undisturbed, killed, study):
    assert killed.model(study) == undisturbed.model(study)
    assert None not in undisturbed.ends(study).values()


@pytest.mark.parametrize("name", NAMES)
def test_the_ledger_is_the_undisturbed_one(undisturbed, killed, name):
    heads = []
    for made in (undisturbed, killed):
        ledger = made.ledger(name)
        ledger.verify()
        heads.append(ledger.head())
        ledger.shut()
    assert heads[0] == heads[1]


@pytest.mark.parametrize("name", NAMES)
def test_no_round_is_released_twice(killed, name):
    key = SiteHome(killed.home(name)).signer.key.public
    assert verify(killed.home(name) / "audit.sqlite", key).good
    opened = {}
    for _, row in read(killed.home(name) / "audit.sqlite", key):
        if isinstance(row, Sent) and row.message == "open":
            opened.setdefault((row.study, row.round, row.kind), set()).add(row.digest)
    assert len(opened) == sum(planned.rounds for planned in STUDIES)
    assert all(len(digests) == 1 for digests in opened.values())


def test_every_program_was_started_again_as_often_as_it_was_killed(undisturbed, killed):
    kills = Counter(kill.program if kill.program != "site" else kill.who for kill in KILLS)
    trainers = Counter(kill.who for kill in KILLS if kill.study == "kill-trainer")
    assert killed.restarts == kills - trainers
    assert not undisturbed.restarts
