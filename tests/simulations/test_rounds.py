"""Whole rounds over the real grid, codec, sites and coordinator; only the training is known beforehand."""

import numpy as np
import pytest
from federations import make_known_site, update_of

from wardround_client.policy import SitePolicy
from wardround_client.site import open_ledger
from wardround_common.aggregate import Aggregation
from wardround_common.messages import EXCHANGES as ALL_EXCHANGES
from wardround_common.state import initial_state
from wardround_server.observer import Silent
from wardround_simulations.grid import FIRST_NODE

EXCHANGES = ALL_EXCHANGES[:6]


def ledger_of(world, site):
    federation = world.federation
    return open_ledger(
        federation.home(site),
        policy=SitePolicy(),
        simulation_id=federation.scenario.secrets.ledger_id(site),
    )


class Losing(Silent):
    """A wire that loses messages, and the observer that tells it where the study stands.

    ``losses``: (round, exchange) -> nodes, in the first attempt only; at most ``times`` each.
    """

    def __init__(self, losses, *, leg="reply", times=10**9, attempts=(1,)):
        self.losses, self.leg, self.attempts = losses, leg, attempts
        self.left = {(*where, node): times for where, nodes in losses.items() for node in nodes}
        self.record, self.started = None, []

    def exchange_began(self, record, exchange, sites):
        self.record = record

    def __call__(self, leg, node, message_type, data):
        where = (self.record.number, message_type.split(".")[1], node - FIRST_NODE)
        if leg == "request" and where[1] == "start":
            self.started.append((self.record.number, self.record.attempts, node - FIRST_NODE))
        if leg == self.leg and self.record.attempts in self.attempts and self.left.get(where, 0) > 0:
            self.left[where] -= 1
            return None
        return data

    def run(self, world):
        return world.run(wire=self, observer=self)


def mean_of(plan, state, sites):
    weights = {site: plan.weight(site) for site in sites}
    total = sum(weights[s] * update_of(plan, s, state.vector).astype(np.float64) for s in sites)
    return total / sum(weights.values())


def bound(plan, sites):
    return Aggregation(plan).mean_error(initial_state(plan), sites)


@pytest.mark.parametrize(("n", "max_colluders"), [(3, 1), (5, 2), (10, 3)])
def test_the_aggregate_is_the_weighted_mean_within_the_quantisers_bound(world, n, max_colluders):
    small = world(n, max_colluders=max_colluders, rounds=1)
    plan = small.federation.plan
    outcome = small.run()
    state = initial_state(plan)
    got = outcome.state.vector.astype(np.float64) - state.vector
    error = np.abs(got - mean_of(plan, state, small.federation.names)).max()
    float32 = np.abs(outcome.state.vector).max() * 2.0**-22
    assert error <= bound(plan, small.federation.names) + float32
    assert outcome.records[0].survivors == tuple(sorted(small.federation.names))


@pytest.mark.parametrize("leg", ["request", "reply"])
@pytest.mark.parametrize("exchange", EXCHANGES)
@pytest.mark.parametrize(("n", "max_colluders", "dropped"), [(5, 1, (1,)), (10, 3, (0, 4, 7))])
def test_drops_after_any_exchange_are_borne_within_the_round(world, n, max_colluders, dropped, exchange, leg):
    small = world(n, max_colluders=max_colluders, rounds=1)
    plan, names = small.federation.plan, small.federation.names
    outcome = Losing({(1, exchange): dropped}, leg=leg).run(small)
    record = outcome.records[0]
    assert record.void == ""
    if (n, exchange) == (10, "start"):  # seven sites of whom three may collude are refused by the sites
        assert ("cohort", "birch", "secagg.too_many_colluders") in record.refusals
        assert (record.attempts, record.survivors) == (2, tuple(sorted(names)))
        return
    assert record.attempts == 1
    gone = {names[i] for i in dropped}
    late = EXCHANGES.index(exchange) > EXCHANGES.index("envelopes")
    survivors = tuple(sorted(names if late else set(names) - gone))
    assert record.survivors == survivors
    assert set(record.accepted) == set(names) - gone
    state = initial_state(plan)
    got = outcome.state.vector.astype(np.float64) - state.vector
    error = np.abs(got - mean_of(plan, state, survivors)).max()
    assert error <= bound(plan, survivors) + np.abs(outcome.state.vector).max() * 2.0**-22


def spent_rounds(small, site):
    ledger = ledger_of(small, site)
    assert ledger.verify() > 0
    rounds = [spend.round for spend in ledger.spends("test")]
    ledger.shut()
    return rounds


def assert_sum_of_all(small, outcome):
    """One TRAIN round led to the mean of what all sites trained once."""
    plan, names = small.federation.plan, small.federation.names
    state = initial_state(plan)
    got = outcome.state.vector.astype(np.float64) - state.vector
    assert np.abs(got - mean_of(plan, state, names)).max() < 1e-5


def test_a_site_without_accept_is_led_back_by_links_and_takes_part_again(world):
    small = world(5)
    outcome = Losing({(1, "confirms"): (1,)}).run(small)
    assert [record.void for record in outcome.records] == ["", "", "", ""]
    assert outcome.records[0].accepted == ("alder", "cedar", "doum", "elm")
    for record in outcome.records[1:]:
        assert record.survivors == record.accepted == ("alder", "birch", "cedar", "doum", "elm")
        assert record.refusals == []


def test_a_site_that_was_away_for_rounds_is_led_back_over_all_of_them(world):
    small = world(5, rounds=4)
    wire = Losing({(2, "start"): (1,), (3, "start"): (1,)}, leg="request")
    outcome = wire.run(small)
    taking_part = [len(record.survivors) for record in outcome.records]
    assert taking_part == [5, 4, 4, 5, 5]
    assert spent_rounds(small, "birch") == [1, 4, 5]


@pytest.mark.parametrize("exchange", ["envelopes", "survivors"])
def test_at_three_a_site_silent_between_masked_and_open_comes_back_in_a_second_attempt(world, exchange):
    small = world(3, rounds=1)
    outcome = Losing({(1, exchange): (1,)}).run(small)
    assert [(record.void, record.attempts) for record in outcome.records] == [("", 2), ("", 1)]
    assert_sum_of_all(small, outcome)
    assert all(spent_rounds(small, site) == [1, 2] for site in small.federation.names)


@pytest.mark.parametrize("exchange", ["confirms", "result"])
def test_at_three_a_lost_open_or_accept_is_asked_for_again(world, exchange):
    small = world(3, rounds=1)
    outcome = Losing({(1, exchange): (1,)}, times=2).run(small)
    assert [(record.void, record.attempts) for record in outcome.records] == [("", 1), ("", 1)]
    assert outcome.records[0].accepted == small.federation.names
    assert_sum_of_all(small, outcome)


def test_at_three_an_open_that_never_comes_makes_the_round_void_and_the_run_goes_on(world):
    small = world(3)
    outcome = Losing({(2, "confirms"): (1,)}).run(small)
    assert [record.void for record in outcome.records] == ["", "secagg.too_few_opens", "", ""]
    assert outcome.records[1].attempts == 1
    assert outcome.state.updates == 2
    assert all(spent_rounds(small, site) == [1, 2, 3, 4] for site in small.federation.names)


def test_a_site_that_dies_for_good_is_waited_for_until_the_deadline_and_two_voids_pause(world):
    small = world(3, rounds=5)
    gone = {(2, "envelopes"): (1,), (2, "abandon"): (1,), (2, "start"): (1,), (3, "start"): (1,)}
    wire = Losing(gone, attempts=range(1, 9))
    wire.left[2, "start", 1] = 0
    original = wire.exchange_began

    def die(record, exchange, sites):
        if exchange == "envelopes" and record.number == 2:
            wire.left[2, "start", 1] = 10**9
        original(record, exchange, sites)

    wire.exchange_began = die
    outcome = wire.run(small)
    assert [record.void for record in outcome.records] == ["", *2 * ["secagg.cohort_too_small"]]
    assert [record.attempts for record in outcome.records] == [1, 2, 1]
    assert outcome.paused == "secagg.cohort_too_small"
    assert len([start for start in wire.started if start == (3, 1, 1)]) > 5
    assert outcome.releasable
    assert outcome.accepted_by == small.federation.names


def test_a_failed_attempt_that_too_few_abort_is_not_retried(world):
    small = world(3, rounds=1)
    wire = Losing({(1, "envelopes"): (1,), (1, "abandon"): (0, 1)})
    outcome = wire.run(small)
    assert (outcome.records[0].void, outcome.records[0].attempts) == ("secagg.too_few_aborts", 1)
    assert outcome.state.updates == 0
    assert not outcome.releasable


def test_a_site_whose_own_abort_is_missing_refuses_the_retry_and_is_asked_for_it(world):
    small = world(5, rounds=1)
    outcome = Losing({(1, "envelopes"): (1, 2), (1, "abandon"): (1, 2)}, times=1).run(small)
    record = outcome.records[0]
    assert (record.void, record.attempts, record.survivors) == ("", 3, small.federation.names)
    for site in ("birch", "cedar"):
        assert ("envelopes", site, "secagg.not_aborted") in record.refusals
    assert_sum_of_all(small, outcome)
    assert all(spent_rounds(small, site) == [1, 2] for site in small.federation.names)


def test_a_failure_before_masked_is_retried_with_the_same_update_and_one_spend(world):
    small = world(3, rounds=1)
    outcome = Losing({(1, "cohort"): (1,)}).run(small)
    assert (outcome.records[0].void, outcome.records[0].attempts) == ("", 2)
    assert_sum_of_all(small, outcome)
    assert spent_rounds(small, "birch") == [1, 2]


@pytest.mark.parametrize("leg", ["request", "reply"])
def test_a_missing_site_is_waited_for_within_the_first_attempt(world, leg):
    small = world(3, rounds=1)
    outcome = Losing({(1, "start"): (1,)}, times=4, leg=leg).run(small)
    assert (outcome.records[0].void, outcome.records[0].attempts) == ("", 1)
    assert_sum_of_all(small, outcome)
    assert spent_rounds(small, "birch") == [1, 2]


def test_a_cohort_that_sites_find_too_small_is_larger_in_the_next_attempt(world):
    small = world(10, max_colluders=3, rounds=1)
    outcome = Losing({(1, "start"): (0, 4, 7)}, times=3, attempts=(1, 2)).run(small)
    record = outcome.records[0]
    assert ("cohort", "birch", "secagg.too_many_colluders") in record.refusals
    assert (record.void, record.attempts, len(record.survivors)) == ("", 2, 10)


def test_two_void_rounds_in_a_row_pause_the_study(world):
    small = world(3, rounds=5)
    outcome = Losing({(2, "confirms"): (0,), (3, "confirms"): (2,)}).run(small)
    assert outcome.paused == "secagg.too_few_opens"
    assert [record.number for record in outcome.records] == [1, 2, 3]
    assert outcome.counts is None


def test_one_flipped_byte_in_transit_costs_that_message_and_nothing_else(world):
    for leg in ("request", "reply"):
        for exchange in EXCHANGES:
            small = world(5, rounds=1, out=f"{leg}-{exchange}")
            done = []

            def flip(way, node, message_type, data, done=done, leg=leg, exchange=exchange):
                if way == leg and message_type == f"query.{exchange}" and node == FIRST_NODE + 2 and not done:
                    done.append(node)
                    place = data.rindex(b"cedar" if leg == "reply" else b"coordinator") + 200
                    place = min(place, len(data) - 5)
                    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
                return data

            outcome = small.run(wire=flip)
            record = outcome.records[0]
            assert done
            assert record.void == ""
            assert [(e, code != "") for e, _, code in record.refusals] == [(exchange, True)], (leg, exchange)
            assert "cedar" not in record.accepted


def test_counts_of_the_evaluation_are_the_sum_over_the_sites_up_to_the_noise(world):
    small = world(3, patients={"alder": 200, "birch": 150, "cedar": 100}, rounds=1)
    outcome = small.run()
    levels = outcome.counts / 64
    assert outcome.counted_sites == small.federation.names
    assert abs(levels[0] - 0.15 * 450) < 35
    assert abs(levels[-1] - 0.15 * 450) < 35
    noise = levels[1:-1]
    assert 1.5 < noise.std() < 6.5
    assert not np.array_equal(noise, np.rint(noise))


def test_the_final_model_is_the_same_bits_with_one_two_and_no_worker_processes(world):
    digests = set()
    for workers in (0, 1, 2):
        small = world(3, out=f"w{workers}", workers=workers)
        digests.add(small.run(factory=make_known_site).state.digest)
    assert len(digests) == 1


@pytest.mark.parametrize("lost", [1, 6])
def test_a_round_of_which_every_accept_is_lost_is_asked_for_until_one_comes(world, lost):
    """The sites have recorded their ACCEPTs: given up by the coordinator, the study could not go on."""
    small = world(3, rounds=2)
    outcome = Losing({(1, "result"): (0, 1, 2)}, times=lost).run(small)
    assert [record.void for record in outcome.records] == ["", "", ""]
    assert outcome.records[0].accepted == tuple(sorted(small.federation.names))
    assert outcome.releasable
