"""A generator through whole rounds: the production sites, coordinator, ledgers and scratch databases."""

import sqlite3

import numpy as np
import pytest
import torch

from wardround_client.policy import SitePolicy
from wardround_client.scratch import Scratch
from wardround_client.site import SCRATCH, open_ledger
from wardround_client.tasks import load_task
from wardround_common.accounting import train_event
from wardround_common.aggregate import Aggregation
from wardround_common.canonical import decode
from wardround_common.errors import PrivacyError
from wardround_common.plan import ModelPlan, RecipePlan
from wardround_common.state import initial_state
from wardround_common.tasks.generation import GenerationPlan
from wardround_common.trust import plan_digest
from wardround_server.observer import Silent
from wardround_simulations.federation import consent, settle
from wardround_simulations.grid import FIRST_NODE
from wardround_simulations.sites import SPEC_LIMIT_BYTES, SiteSpec, make_site

ALDER = 0
VOID = ((2, "confirms"),)
"""A lost OPEN, which all three sites must send: the second round can neither end nor be tried again."""


def generation(**changes):
    """The fields of a small generation, for ``world``: four noisy steps a round, two of the generator."""
    task = {"latent": 4, "discriminator_steps": 2, "fakes": 3, "ema_decay": 0.9}
    return {
        "task": GenerationPlan(**(task | changes)),
        "model": ModelPlan(name="wavelet"),
        "recipe": RecipePlan(learning_rate=0.3, local_steps=4, sample_rate=0.3),
        "evaluation": None,
    }


class Recording:
    """The real task, and what went into it and came out of it, by site in the order of the calls."""

    def __init__(self):
        self.calls = []

    def train_round(self, plan, *, site, start, local_L, **rest):
        output = load_task("generation").train_round(plan, site=site, start=start, local_L=local_L, **rest)
        self.calls.append((site, start.copy(), local_L.copy(), output))
        return output

    def of(self, site):
        return [call[1:] for call in self.calls if call[0] == site]

    def site(self, spec):
        return make_site(spec, task=lambda name: self)


class States(Silent):
    """The state after each round."""

    def __init__(self):
        self.after = []

    def round_ended(self, record, state):
        self.after.append(state)


class Losing:
    """A wire that loses the reply to one exchange of one round at alder; rounds are counted by START."""

    def __init__(self, *losses):
        self.losses, self.round = losses, 0

    def __call__(self, leg, node, message_type, data):
        exchange = message_type.split(".")[1]
        if node - FIRST_NODE != ALDER:
            return data
        self.round += leg == "request" and exchange == "start"
        return None if leg == "reply" and (self.round, exchange) in self.losses else data


def ledger_of(world, site="alder"):
    federation = world.federation
    identifier = federation.scenario.secrets.ledger_id(site)
    return open_ledger(federation.home(site), policy=federation.policy, simulation_id=identifier)


def spends_of(world, site="alder"):
    ledger = ledger_of(world, site)
    spends = ledger.spends(world.federation.plan.study)
    ledger.shut()
    return spends


@pytest.fixture
def one_thread():
    """Sums of floats depend on the number of threads; a worker process has one, so has this process here."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("shared", ["both", "generator"])
def test_the_same_seed_and_plan_give_the_same_generator_bit_for_bit(world, shared):
    digests = set()
    for workers in (0, 0, 2):
        small = world(
            3, out=f"{len(digests)}-{workers}", workers=workers, rounds=2, **generation(shared=shared)
        )
        digests.add(small.run(factory=make_site).state.digest)
        for site in small.federation.names:
            assert len(spends_of(small, site)) == 2
    assert len(digests) == 1


def test_the_repetition_would_notice_another_plan_and_another_patient(world):
    digests = {
        world(3, out=name, rounds=1, **changes).run(factory=make_site).state.digest
        for name, changes in {
            "same": generation(),
            "fakes": generation(fakes=4),
            "prior": generation(label_prior=(0.6, 0.4)),
            "patients": generation() | {"salts": {"birch": 1}},
        }.items()
    }
    assert len(digests) == 4


def test_masked_and_unmasked_federation_agree_within_the_quantisers_bound(world):
    small, recording, states = world(3, **generation()), Recording(), States()
    plan = small.federation.plan
    small.run(factory=recording.site, observer=states)
    names = small.federation.names
    weight = sum(plan.weight(site) for site in names)
    before = initial_state(plan)
    bound = Aggregation(plan).mean_error(before, names)
    for number, after in enumerate(states.after):
        updates = {site: recording.of(site)[number][2].update_P.astype(np.float64) for site in names}
        unmasked = sum(plan.weight(site) * update for site, update in updates.items()) / weight
        masked = after.vector.astype(np.float64) - before.vector
        rounding = np.abs(after.vector).max() * 2.0**-22
        assert np.abs(masked - unmasked).max() <= bound + rounding
        assert np.abs(unmasked).max() > 100 * bound
        before = after
    assert len(states.after) == 3


@pytest.mark.parametrize(
    ("losses", "voids"),
    [((), 0), (((1, "cohort"),), 0), (((2, "survivors"),), 0), (VOID, 1)],
    ids=["nothing lost", "retried", "retried after the update had left", "void"],
)
def test_the_ledger_counts_the_noisy_steps_of_the_discriminator_that_were_taken(world, losses, voids):
    small, recording = world(3, **generation()), Recording()
    outcome = small.run(factory=recording.site, wire=Losing(*losses))
    plan = small.federation.plan
    assert sum(bool(record.void) for record in outcome.records) == voids
    for site in small.federation.names:
        taken = [output.noisy_steps for *_, output in recording.of(site)]
        charged = [spend.event.steps for spend in spends_of(small, site)]
        assert taken == charged == [plan.recipe.local_steps] * plan.rounds
        assert sum(charged) == train_event(plan, plan.steps).steps


def test_a_site_that_restarts_in_the_middle_of_a_round_is_charged_once_for_the_same_bits(world):
    """Its process ends after training; what starts anew answers the retry from what was stored."""
    small, recording = world(3, **generation()), Recording()
    restarts = []

    def restarting(spec):
        """Starts alder's process anew at every request that opens an attempt."""
        answers = [recording.site(spec)]
        name = decode(spec, SiteSpec, limit_bytes=SPEC_LIMIT_BYTES).name

        def answer(data):
            if name == "alder" and b"query.start" in data:
                restarts.append(len(recording.calls))
                answers[0] = recording.site(spec)
            return answers[0](data)

        return answer

    outcome = small.run(factory=restarting, wire=Losing((1, "cohort")))
    assert len(restarts) == 4
    assert [record.attempts for record in outcome.records] == [2, 1, 1]
    plan = small.federation.plan
    taken = [output.noisy_steps for *_, output in recording.of("alder")]
    assert sum(taken) == sum(spend.event.steps for spend in spends_of(small)) == plan.steps
    undisturbed = world(3, out="undisturbed", **generation()).run(factory=make_site)
    assert outcome.state.digest == undisturbed.state.digest


def test_a_discriminator_of_the_sites_own_goes_on_from_the_last_accepted_round(world):
    small, recording = world(3, **generation(shared="generator")), Recording()
    small.run(factory=recording.site)
    for site in small.federation.names:
        (_, first, one), (_, second, two), (_, third, _) = recording.of(site)
        assert first.size == 0
        assert np.array_equal(second, one.local_L)
        assert np.array_equal(third, two.local_L)
    heads = [recording.of(site)[0][2].local_L for site in small.federation.names]
    assert not np.array_equal(heads[0], heads[1])


def test_a_discriminator_of_the_sites_own_returns_to_it_when_a_round_is_void(world):
    small, recording = world(3, **generation(shared="generator")), Recording()
    outcome = small.run(factory=recording.site, wire=Losing(*VOID))
    assert [bool(record.void) for record in outcome.records] == [False, True, False]
    for site in small.federation.names:
        (_, _, one), (start, second, two), (again, third, _) = recording.of(site)
        assert np.array_equal(start, again)
        assert np.array_equal(second, one.local_L)
        assert np.array_equal(third, one.local_L)
        assert not np.array_equal(third, two.local_L)
        assert [spend.round for spend in spends_of(small, site)] == [1, 2, 3]


def test_a_discriminator_of_the_sites_own_is_part_of_what_a_spend_is_bound_to(world):
    """Everything else being equal, another kept discriminator gives another D, at that site alone."""

    def bound(out, change):
        small = world(3, out=out, rounds=2, **generation(shared="generator"))
        path = small.federation.home("alder") / SCRATCH / "scratch.sqlite"
        sealer = small.federation.scenario.secrets.site_key("alder").scratch()
        losing = Losing()

        def wire(leg, node, message_type, data):
            losing(leg, node, message_type, data)
            if losing.round == 2 and leg == "request" and message_type.endswith("start") and change:
                with sqlite3.connect(path) as database:
                    plan, digest, local = database.execute("SELECT plan, digest, local FROM state").fetchone()
                    place = ("state local", plan, digest)
                    other = sealer.seal(bytes(4) + sealer.open(local, *place)[4:], *place)
                    database.execute("UPDATE state SET local = ? WHERE digest = ?", (other, digest))
            return data

        small.run(factory=make_site, wire=wire)
        return {site: [spend.D for spend in spends_of(small, site)] for site in ("alder", "birch")}

    plain, changed = bound("plain", change=False), bound("changed", change=True)
    assert plain["alder"][0] == changed["alder"][0]
    assert plain["alder"][1] != changed["alder"][1]
    assert plain["birch"] == changed["birch"]


@pytest.mark.parametrize(("shared", "kept"), [("both", 0), ("generator", 9_186)])
def test_what_stays_at_a_site_is_what_the_plan_says(world, shared, kept):
    small = world(3, rounds=1, **generation(shared=shared))
    outcome = small.run(factory=make_site)
    path = small.federation.home("alder") / SCRATCH / "scratch.sqlite"
    scratch = Scratch(path, key=small.federation.scenario.secrets.site_key("alder"))
    assert scratch.local(plan_digest(small.federation.plan), outcome.state.digest).size == kept
    scratch.close()
    size = small.federation.plan.task.generator_layout(small.federation.plan).size
    assert outcome.state.vector.size == size + (9_186 if shared == "both" else 0)


def after_a_classifier(world, *, lifetime_epsilon):
    """A classifier's study on some patients, and a generation that would follow it on the same ledgers."""
    policy = SitePolicy(lifetime_epsilon=lifetime_epsilon)
    first = world(3, study="classifier")
    first.run()
    costs = settle(first.federation)["alder"]
    second = world(3, study="generator", policy=policy, **generation())
    return costs, second


def test_a_generation_that_would_overdraw_what_a_classifier_left_is_refused(world):
    alone = world(3, out="alone", study="generator", **generation())
    alone.run(factory=make_site)
    needed = settle(alone.federation)["alder"].lifetime_epsilon
    costs, second = after_a_classifier(world, lifetime_epsilon=1.01 * needed)
    assert costs.lifetime_epsilon > 0.1
    with pytest.raises(PrivacyError, match=r"site alder: .*lifetime") as caught:
        consent(second.federation)
    assert caught.value.code == "privacy.overdrawn"
    with pytest.raises(PrivacyError):  # a coordinator that goes on all the same meets the ledger itself
        second.run(factory=make_site)
    assert spends_of(second) == ()


def test_a_generation_that_the_budget_permits_adds_to_the_classifiers_spend(world):
    before, second = after_a_classifier(world, lifetime_epsilon=40.0)
    consent(second.federation)
    second.run(factory=make_site)
    after = settle(second.federation)["alder"]
    assert [(cost.study, cost.task) for cost in after.studies] == [
        ("classifier", "classification"),
        ("generator", "generation"),
    ]
    assert after.lifetime_epsilon > before.lifetime_epsilon
    assert after.studies[0] == before.studies[0]


def test_a_site_may_permit_classifiers_alone(world):
    small = world(3, policy=SitePolicy(tasks=("classification",)), **generation())
    with pytest.raises(Exception, match="does not permit the task 'generation'") as caught:
        consent(small.federation)
    assert caught.value.code == "consent.task"
