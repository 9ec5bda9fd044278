"""Whole studies in every ring, with every quantiser, cipher and way to set clips."""

import numpy as np
import pytest
from federations import make_plan, update_of

from wardround_common.aggregate import Aggregation
from wardround_common.models import layout_of
from wardround_common.plan import AggregationPlan
from wardround_common.state import initial_state
from wardround_server.observer import Silent

FLOAT32 = 2.0**-22


def mean_of(plan, start, sites, *, clips, sizes):
    limit = 2.0 ** np.repeat(clips, sizes)
    weights = {site: plan.weight(site) for site in sites}
    clipped = {
        site: np.clip(update_of(plan, site, start).astype(np.float64), -limit, limit) for site in sites
    }
    return sum(weights[site] * clipped[site] for site in sites) / sum(weights.values())


@pytest.mark.parametrize(
    "rules",
    [
        {"ring_bits": 16},
        {"ring_bits": 16, "clips": "last", "cipher": "chacha20"},
        {"quantiser": "fast", "clips": "last"},
        {"quantiser": "exact", "clips": "last", "cipher": "chacha20"},
    ],
)
def test_every_round_adds_the_mean_of_the_clipped_updates_within_the_stated_bound(world, rules):
    small = world(3, rounds=2, aggregation=AggregationPlan(exchange_timeout_s=60.0, **rules))
    plan, names, states = small.federation.plan, small.federation.names, []

    class Watching(Silent):
        def round_ended(self, record, state):
            states.append(state)

    outcome = small.run(observer=Watching())
    assert [record.void for record in outcome.records] == ["", "", ""]
    assert all(len(record.accepted) == 3 for record in outcome.records)
    sums, before = Aggregation(plan), initial_state(plan)
    sizes = [tensor.size for tensor in layout_of(plan).tensors]
    for after in states[:2]:
        got = after.vector.astype(np.float64) - before.vector
        wanted = mean_of(plan, before.vector, names, clips=before.clips, sizes=sizes)
        bound = sums.mean_error(before, names) + np.abs(after.vector).max() * FLOAT32
        assert np.abs(got - wanted).max() <= bound
        before = after
    assert states[-1].digest == states[-2].digest  # an evaluation changes nothing
    assert (set(states[0].clips) == {4}) == (rules.get("clips", "plan") == "plan")
    assert abs(outcome.counts[0] / 64 - 0.15 * 120) < 35  # counts have 32 bits in any ring


def test_sixteen_bits_halve_the_uploads(world):
    sizes = {}
    for bits in (16, 32):
        rules = AggregationPlan(exchange_timeout_s=60.0, ring_bits=bits)
        record = world(3, rounds=1, aggregation=rules, out=f"r{bits}").run().records[0]
        (size,) = {t.from_site_bytes for t in record.traffic if t.exchange == "envelopes"}
        sizes[bits] = size
    parameters = layout_of(make_plan(3)).size
    assert sizes[32] - sizes[16] == 2 * parameters
