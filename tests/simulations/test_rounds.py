"""Whole rounds over the real grid, codec, sites and coordinator; only the training is known beforehand."""

import numpy as np
import pytest
from federations import make_known_site, update_of

from wardround_client.policy import SitePolicy
from wardround_client.site import open_ledger
from wardround_common.aggregate import Aggregation
from wardround_common.messages import EXCHANGES
from wardround_common.state import initial_state
from wardround_simulations.grid import FIRST_NODE


def ledger_of(world, site):
    federation = world.federation
    return open_ledger(
        federation.home(site),
        policy=SitePolicy(),
        simulation_id=federation.scenario.secrets.ledger_id(site),
    )


class Losing:
    """A wire that loses replies: (round, exchange) -> nodes. Rounds are counted by START."""

    def __init__(self, losses, *, leg="reply"):
        self.losses, self.leg, self.rounds, self.lost = losses, leg, 0, []
        self.seen = set()

    def __call__(self, leg, node, message_type, data):
        exchange = message_type.split(".")[1]
        if exchange == "start" and leg == "request" and node == FIRST_NODE:
            self.rounds += 1
        if leg == self.leg and node - FIRST_NODE in self.losses.get((self.rounds, exchange), ()):
            self.lost.append((self.rounds, exchange, node))
            return None
        return data


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
    outcome = small.run(wire=Losing({(1, exchange): dropped}, leg=leg))
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


def test_a_site_without_accept_sits_out_and_the_others_go_on(world):
    small = world(5)
    outcome = small.run(wire=Losing({(1, "confirms"): (1,)}))
    assert [record.void for record in outcome.records] == ["", "", "", ""]
    assert "birch" in outcome.records[0].survivors
    for record in outcome.records[1:]:
        assert record.survivors == ("alder", "cedar", "doum", "elm")
        assert ("start", str(FIRST_NODE + 1), "secagg.start_state") in record.refusals


@pytest.mark.parametrize("exchange", ["envelopes", "survivors", "confirms"])
def test_at_three_a_drop_between_masked_and_open_voids_the_round_and_the_run_goes_on(world, exchange):
    small = world(3)
    outcome = small.run(wire=Losing({(2, exchange): (1,)}))
    voids = [bool(record.void) for record in outcome.records]
    assert voids == [False, True, False, False]
    assert outcome.records[1].attempts == 1
    assert outcome.state.updates == 2
    for site in small.federation.names:
        ledger = ledger_of(small, site)
        assert [spend.round for spend in ledger.spends("test")] == [1, 2, 3, 4]
        assert ledger.verify() > 0
        ledger.shut()


@pytest.mark.parametrize("exchange", ["start", "cohort"])
def test_a_failure_before_masked_is_retried_with_the_same_update_and_one_spend(world, exchange):
    small = world(3, rounds=1)
    wire = Losing({(1, exchange): (1,)})
    outcome = small.run(wire=wire)
    record = outcome.records[0]
    assert (record.void, record.attempts) == ("", 2)
    state = initial_state(small.federation.plan)
    got = outcome.state.vector.astype(np.float64) - state.vector
    wanted = mean_of(small.federation.plan, state, small.federation.names)
    assert np.abs(got - wanted).max() < 1e-5
    ledger = ledger_of(small, "birch")
    assert [spend.round for spend in ledger.spends("test")] == [1, 2]
    ledger.shut()


def test_two_void_rounds_in_a_row_pause_the_study(world):
    small = world(3, rounds=5)
    outcome = small.run(wire=Losing({(2, "survivors"): (0,), (3, "survivors"): (2,)}))
    assert outcome.paused == "secagg.too_few_confirms"
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
