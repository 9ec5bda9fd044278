"""A roster that is replaced while a study runs: the next attempt has it, here and at the sites."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from types import SimpleNamespace

from federations import SEED, make_known_site, make_plan
from hospitals import SECRETS, signed_roster

from wardround_common.aggregate import Aggregation
from wardround_common.messages import RoundContext, Signer
from wardround_common.state import initial_state
from wardround_common.trust import plan_digest, recorded_roster
from wardround_server.app import make_server_app
from wardround_server.clock import SystemClock
from wardround_server.course import Course, RoundSetup
from wardround_server.history import Welcome
from wardround_server.journal import Journal
from wardround_server.observer import Silent
from wardround_simulations.federation import make_study, make_workers
from wardround_simulations.grid import LocalGrid, run_server_app

assert SEED  # the keys of ``signed_roster`` are those of the small federations


class Authority(Silent):
    """Hands out a roster, and another one once a round has ended."""

    def __init__(self, before, after, *, ended):
        self.signed, self._after, self._ended = before, after, ended

    def newest(self):
        return self.signed

    def round_ended(self, record, state):
        if record.number == self._ended:
            self.signed = self._after


def run(world, authority):
    study = make_study(world.federation, authority, roster=authority.newest)
    with closing(make_workers(world.federation, make_known_site)) as workers:
        run_server_app(make_server_app(study.run, poll_s=0.0), LocalGrid(workers))
    return study.outcome


def test_a_site_that_a_roster_leaves_out_is_in_no_round_after_it(world):
    made = world(4, rounds=2)
    names = made.federation.names
    authority = Authority(signed_roster(names, version=1), signed_roster(names[:3], version=2), ended=1)
    outcome = run(made, authority)
    assert [record.survivors for record in outcome.records] == [names, names[:3], names[:3]]
    assert not outcome.paused
    assert outcome.accepted_by == names[:3]


def test_a_site_that_a_roster_adds_is_in_the_next_round(world):
    made = world(4, rounds=3)
    names = made.federation.names
    authority = Authority(signed_roster(names[:3], version=1), signed_roster(names, version=2), ended=1)
    outcome = run(made, authority)
    assert [record.survivors for record in outcome.records][:2] == [names[:3], names]


def test_sites_have_seen_the_newer_roster_and_go_back_to_no_older_one(world):
    made = world(4, rounds=2)
    names = made.federation.names
    authority = Authority(signed_roster(names, version=2), signed_roster(names, version=1), ended=1)
    outcome = run(made, authority)
    assert [bool(record.void) for record in outcome.records] == [False, True, True]
    assert {code for _, _, code in outcome.records[1].refusals} == {"trust.roster_stale"}


def test_an_attempt_that_was_begun_keeps_its_roster_and_the_next_one_has_the_newest():
    plan = make_plan(4)
    names = tuple(site.name for site in plan.sites)
    old, new = signed_roster(names, version=1), signed_roster(names[:3], version=2)
    sums, state = Aggregation(plan), initial_state(plan)

    def course(signed, journal):
        setup = RoundSetup(
            terms=lambda context, roster: sums.terms(
                context, roster=recorded_roster(roster), state=state.digest
            ),
            context=RoundContext(plan_digest=plan_digest(plan), round=1, kind="train", attempt=1),
            signer=Signer("coordinator", SECRETS.key("coordinator")),
            roster=lambda: signed,
            accepts=lambda roster: (),
            welcome=lambda site, everything, roster: Welcome(),
            outcome=partial(bytes),
            max_attempts=3,
            deadline_s=60.0,
        )
        return Course(setup, SimpleNamespace(journal=journal, clock=SystemClock()))

    journal = Journal(None, plan=plan_digest(plan))
    assert course(old, journal).begin(1).terms.roster.version == 1
    again = course(new, journal)  # after a restart
    assert again.begin(1).terms.roster.version == 1
    assert again.begin(2).terms.roster.version == 2
    journal.close()
