"""An output that was lost, a sum that nobody accepts, and a model that too few accept."""

from __future__ import annotations

import sqlite3

import pytest
from federations import make_plan, make_world
from hospitals import Hospitals

from wardround_common.errors import PrivacyError
from wardround_common.state import initial_state
from wardround_server.observer import RoundRecord, Silent
from wardround_server.outcome import StudyOutcome


def test_a_lost_output_is_not_computed_again(tmp_path):
    h = Hospitals(tmp_path, 4)
    h.session(1).until("hello")
    h.sites["birch"].close()
    with sqlite3.connect(tmp_path / "birch" / "scratch" / "scratch.sqlite") as scratch:
        scratch.execute("UPDATE round SET output = NULL")
    scratch.close()
    h.sites["birch"] = h._open("birch")
    start = h.session(1, attempt=2).coordinator.start()
    with pytest.raises(PrivacyError) as caught:
        h.sites["birch"].handle(start)
    assert caught.value.code == "privacy.output_lost"
    assert h.tasks["birch"].rounds == 1
    h.close()


def test_a_round_whose_sum_nobody_accepts_is_void(tmp_path):
    def deaf(leg, node, message_type, data):
        return None if leg == "reply" and message_type.endswith(".result") else data

    study = make_world(tmp_path, 3, rounds=1)
    outcome = study.run(wire=deaf, observer=Silent())
    assert outcome.records[0].void == "secagg.not_accepted"
    assert outcome.state.updates == 0


def test_a_model_is_released_with_the_accepts_of_t_sites_and_not_with_fewer():
    record = RoundRecord(number=1, kind="train", cohort=("a", "b", "c", "d"))
    outcome = StudyOutcome(state=initial_state(make_plan(4)), records=[record])
    for accepted in (("a",), ("a", "b"), ("a", "b", "c")):
        record.accepted = accepted
        assert outcome.releasable == (len(accepted) == 3)
