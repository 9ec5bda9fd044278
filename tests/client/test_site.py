"""The site's guard against plans that nobody approved and coordinators that lie about where to start."""

import datetime
from dataclasses import replace as dataclass_replace

import msgspec
import numpy as np
import pytest
from federations import SEED, KnownTask, catalogue_of, make_plan

from wardround_client.policy import SitePolicy
from wardround_client.site import Site, check_consent
from wardround_common.aggregate import Aggregation
from wardround_common.errors import ConsentError, PrivacyError, ProtocolError
from wardround_common.messages import Packet, RoundContext, Signer
from wardround_common.state import initial_state
from wardround_common.trust import (
    COORDINATOR,
    Member,
    Roster,
    open_roster,
    plan_digest,
    sign_plan,
    sign_roster,
)
from wardround_server.secagg import CoordinatorSession
from wardround_simulations.secrets import Secrets

SECRETS = Secrets(SEED)
PLAN = make_plan(3)
OAK = msgspec.structs.replace(PLAN.sites[1], name="oak")
TODAY = datetime.date.today()


def roster(**changes):
    fields = {
        "version": 5,
        "issued": TODAY.isoformat(),
        "expires": (TODAY + datetime.timedelta(20)).isoformat(),
        "sites": tuple(Member(site.name, SECRETS.key(site.name).public) for site in PLAN.sites),
        "lead": SECRETS.key("lead").public,
        "coordinator": SECRETS.key(COORDINATOR).public,
    }
    return sign_roster(Roster(**(fields | changes)), SECRETS.key(changes.pop("by", "authority")))


def start(*, plan=PLAN, number=1, attempt=1, kind="train", state=None, signed=None, by=COORDINATOR):
    signed = signed or roster()
    authority = bytes.fromhex(plan.authority_key)
    terms = Aggregation(plan).terms(
        RoundContext(plan_digest=plan_digest(plan), round=number, kind=kind, attempt=attempt),
        roster=open_roster(signed, authority_key=authority, today=TODAY),
        state=state or initial_state(plan).digest,
    )
    return CoordinatorSession(terms, signer=Signer(COORDINATOR, SECRETS.key(by)), roster=signed).start()


class CountingTask(KnownTask):
    def __init__(self):
        self.rounds = 0

    def train_round(self, plan, **rest):
        self.rounds += 1
        return super().train_round(plan, **rest)


@pytest.fixture
def task():
    return CountingTask()


@pytest.fixture
def make_site(tmp_path, task):
    sites = []

    def make(**options):
        site = Site(
            tmp_path / "home",
            signer=Signer("birch", SECRETS.key("birch")),
            key=SECRETS.site_key("birch"),
            task=lambda name: task,
            **options,
        )
        sites.append(site)
        return site

    yield make
    for site in sites:
        site.close()


@pytest.fixture
def site(make_site):
    site = make_site()
    site.approve(sign_plan(PLAN, SECRETS.key("lead")), catalogue_of("birch"))
    return site


def refused(site, packet):
    with pytest.raises((ProtocolError, ConsentError, PrivacyError)) as caught:
        site.handle(packet)
    return caught.value.code


def test_a_start_of_the_approved_plan_is_answered_with_hello(site, task):
    assert site.handle(start()).array is None
    assert task.rounds == 1


def test_a_request_that_comes_twice_gets_the_same_reply_and_trains_once(site, task):
    packet = start()
    assert site.handle(packet).envelope == site.handle(packet).envelope
    assert task.rounds == 1


def test_a_plan_that_was_not_approved_is_refused_and_trains_nothing(site, task):
    other = make_plan(3, rounds=4)
    assert refused(site, start(plan=other)) == "consent.not_approved"
    assert task.rounds == 0


def test_a_message_that_no_attempt_waits_for_is_refused(site):
    envelope = msgspec.msgpack.decode(start().envelope)
    envelope[5] = "cohort"
    assert refused(site, Packet(msgspec.msgpack.encode(envelope))) == "round.not_open"


def test_a_start_state_that_is_not_the_computed_one_is_refused(site, task):
    lie = dataclass_replace(initial_state(PLAN), vector=initial_state(PLAN).vector + np.float32(1))
    assert refused(site, start(state=lie.digest)) in {"message.other_transcript", "secagg.start_state"}
    assert task.rounds == 0


def test_a_roster_of_another_authority_or_an_older_one_is_refused(site, task):
    forged = sign_roster(
        open_roster(roster(), authority_key=SECRETS.key("authority").public, today=TODAY), SECRETS.key("lead")
    )
    authority = msgspec.structs.replace(PLAN, authority_key=SECRETS.key("lead").public.hex())
    packet = start(signed=roster())
    body = start(plan=authority, signed=forged)
    envelope = msgspec.msgpack.decode(body.envelope)
    envelope[1] = plan_digest(PLAN)
    assert refused(site, Packet(msgspec.msgpack.encode(envelope))) == "identity.bad_signature"
    site.handle(packet)
    assert refused(site, start(attempt=2, signed=roster(version=4))) == "trust.roster_stale"
    assert task.rounds == 1


def test_a_start_by_anybody_but_the_coordinator_is_refused(site, task):
    assert refused(site, start(by="alder")) == "identity.bad_signature"
    assert task.rounds == 0


def test_a_second_attempt_resends_the_same_output_without_training_or_spending_again(site, task, tmp_path):
    first = site.handle(start())
    second = site.handle(start(attempt=2))
    assert first.envelope != second.envelope
    assert task.rounds == 1


def test_a_round_that_was_passed_is_refused(site, task):
    site.handle(start(number=2))
    assert refused(site, start(number=1)) == "secagg.old_round"
    assert task.rounds == 1


def test_more_rounds_than_the_plan_has_are_refused(site, task):
    for number in (1, 2, 3):
        site.handle(start(number=number))
        site.settle(PLAN, "The rounds come to nothing on purpose.")
    assert refused(site, start(number=4)) == "privacy.overdrawn"
    assert task.rounds == 3


def test_after_a_restart_the_finished_output_is_used_again_and_a_lost_one_is_not_recomputed(
    make_site, site, task, tmp_path
):
    site.handle(start())
    site.close()
    again = make_site()
    again.approve(sign_plan(PLAN, SECRETS.key("lead")), catalogue_of("birch"))
    again.handle(start(attempt=2))
    assert task.rounds == 1
    again.close()
    (tmp_path / "home" / "scratch" / "scratch.sqlite").unlink()
    third = make_site()
    third.approve(sign_plan(PLAN, SECRETS.key("lead")), catalogue_of("birch"))
    assert refused(third, start(attempt=3)) in {"privacy.rerun_differs", "privacy.output_lost"}
    assert task.rounds == 1


def test_a_rerun_on_other_data_is_refused(make_site, site, task):
    site.handle(start())
    site.close()
    again = make_site()
    again.approve(sign_plan(PLAN, SECRETS.key("lead")), catalogue_of("birch", salt=7))
    assert refused(again, start(attempt=2)) == "privacy.rerun_differs"
    assert task.rounds == 1


class LazyTask(KnownTask):
    """Takes one noisy step fewer than the ledger was charged for."""

    def train_round(self, plan, **rest):
        return dataclass_replace(super().train_round(plan, **rest), noisy_steps=plan.recipe.local_steps - 1)


def test_an_output_of_other_than_the_accounted_noisy_steps_is_refused(make_site, task):
    site = make_site()
    site._task = lambda name: LazyTask()
    site.approve(sign_plan(PLAN, SECRETS.key("lead")), catalogue_of("birch"))
    assert refused(site, start()) == "privacy.step_count"


@pytest.mark.parametrize(
    ("plan", "policy", "code"),
    [
        (make_plan(3), {"tasks": ()}, "consent.task"),
        (make_plan(3), {"minimum_cohort": 4}, "consent.minimum_cohort"),
        (make_plan(3, sites=(PLAN.sites[0], OAK, PLAN.sites[2])), {}, "consent.not_named"),
    ],
)
def test_a_site_refuses_what_its_policy_does_not_permit(plan, policy, code):
    with pytest.raises(ConsentError) as caught:
        check_consent(plan, name="birch", policy=SitePolicy(**policy))
    assert caught.value.code == code


def test_a_plan_above_the_sites_largest_epsilon_is_refused(make_site):
    site = make_site(policy=SitePolicy(largest_epsilon=0.5))
    with pytest.raises(PrivacyError) as caught:
        site.approve(sign_plan(PLAN, SECRETS.key("lead")), catalogue_of("birch"))
    assert caught.value.code == "privacy.overdrawn"


def test_a_plan_whose_noise_is_less_than_it_promises_is_refused(make_site):
    liar = make_plan(3, privacy=msgspec.structs.replace(PLAN.privacy, target_epsilon=0.1))
    site = make_site()
    with pytest.raises(PrivacyError) as caught:
        site.approve(sign_plan(liar, SECRETS.key("lead")), catalogue_of("birch"))
    assert caught.value.code == "privacy.overdrawn"


def test_a_plan_that_its_lead_did_not_sign_is_refused(make_site):
    with pytest.raises(ProtocolError) as caught:
        make_site().approve(sign_plan(PLAN, SECRETS.key("alder")), catalogue_of("birch"))
    assert caught.value.code == "identity.bad_signature"
