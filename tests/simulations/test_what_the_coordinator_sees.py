"""Two datasets of one site look alike to the coordinator.

With keys and secrets fixed, messages are identical but for the fields in ``MAY_DIFFER``; with fresh ones,
number, order and sizes of all messages are equal.
"""

import contextlib
from functools import partial

import numpy as np
import pytest
from federations import SEED, catalogue_of, make_plan

from wardround_client.app import make_client_app
from wardround_client.site import Site
from wardround_client.tasks.interface import TrainOutput
from wardround_common.canonical import decode
from wardround_common.errors import ProtocolError
from wardround_common.messages import (
    Accept,
    Confirm,
    Deal,
    DealParcel,
    Envelope,
    Hello,
    Masked,
    Open,
    Packet,
    Signer,
)
from wardround_common.models import layout_of
from wardround_common.streams import rounded_normal
from wardround_common.trust import sign_plan
from wardround_simulations.grid import FIRST_NODE, answer
from wardround_simulations.secrets import Secrets
from wardround_simulations.sites import SPEC_LIMIT_BYTES, SiteSpec

BODIES = {
    "hello": Hello,
    "deal": Deal,
    "masked": Masked,
    "confirm": Confirm,
    "open": Open,
    "accept": Accept,
}
MAY_DIFFER = {
    ("hello", "ledger_head"): "the head of the site's ledger, a hash",
    ("deal", "ciphertexts"): "shares, encrypted under a transcript that covers the ledger's head",
    ("deal", "key_shares"): "commitments that cover the same transcript",
    ("deal", "seed_shares"): "commitments that cover the same transcript",
    ("deal", "seed_commitment"): "a commitment that covers the same transcript",
    ("masked", "digest"): "the digest of the masked array",
    ("accept", "next"): "computed from the sum",
    ("accept", "start"): "computed from the sum of the round before",
    ("hello", "state"): "computed from the sum of the round before",
}


class MeanTask:
    """Training whose result depends on the site's images, noised as the plan says."""

    def train_round(self, plan, *, site, start, local_L, data, streams, flags):
        size = layout_of(plan).size
        update = np.full(size, data.images_NCHW.sum() / 1000)
        for step in range(plan.recipe.local_steps):
            update += 0.01 * rounded_normal(streams("noise", step), size, sd=20.0)
        return TrainOutput(update_P=update.astype(np.float32), noisy_steps=plan.recipe.local_steps)

    def evaluate(self, plan, *, vector, validation, test):
        counts = np.zeros(plan.task.cells, np.int64)
        counts[3] = len(validation.patient_keys)
        return counts


def replies(tmp_path, world_run, *, salt, patients, fixed, task=MeanTask):
    """All replies of all sites in order, with the site "birch" holding another dataset per ``salt``."""
    secrets = Secrets(SEED)
    plan = make_plan(3, rounds=2)
    signed = sign_plan(plan, secrets.key("lead"))
    seen = []

    def factory(node_spec):
        spec = decode(node_spec, SiteSpec, limit_bytes=SPEC_LIMIT_BYTES)
        name = spec.name
        mine = name == "birch"
        sources = {}
        if fixed:
            sources = {
                "round_secret": partial(secrets.round_secret, name),
                "entropy": secrets.entropy(name, b"study"),
                "simulation_id": secrets.ledger_id(name),
            }
        site = Site(
            tmp_path / f"{salt}-{fixed}-{name}",
            signer=Signer(name, secrets.key(name)),
            key=secrets.site_key(name),
            task=lambda _: task(),
            **sources,
        )
        data = catalogue_of(name, patients=patients if mine else 40, salt=salt if mine else 0)
        site.approve(signed, data)

        def handle(packet: Packet) -> Packet:
            reply = site.handle(packet)
            seen.append((name, reply))
            return reply

        return partial(answer, make_client_app(handle), FIRST_NODE + [s.name for s in plan.sites].index(name))

    outcome = world_run(factory)
    assert [record.void for record in outcome.records] == ["", "", ""]
    return seen


def opened(packet):
    data = packet.envelope
    with contextlib.suppress(ProtocolError):  # only a DEAL travels in a parcel
        data = decode(data, DealParcel, limit_bytes=10**6).envelope
    envelope = decode(data, Envelope, limit_bytes=10**6)
    return envelope, decode(envelope.body, BODIES[envelope.type], limit_bytes=10**6)


@pytest.fixture
def run(world):
    def make(out):
        small = world(3, rounds=2, out=out)
        return lambda factory: small.run(factory=factory)

    return make


def test_with_fixed_keys_two_datasets_give_identical_messages_but_for_the_listed_fields(tmp_path, run):
    first = replies(tmp_path, run("a"), salt=1, patients=40, fixed=True)
    second = replies(tmp_path, run("b"), salt=2, patients=90, fixed=True)
    assert [name for name, _ in first] == [name for name, _ in second]
    differing = set()
    for (name, one), (_, other) in zip(first, second, strict=True):
        (a, body_a), (b, body_b) = opened(one), opened(other)
        same = ("version", "plan_digest", "round", "kind", "attempt", "type", "sender")
        assert [getattr(a, field) for field in same] == [getattr(b, field) for field in same]
        assert (one.array is None) == (other.array is None)
        for field in body_a.__struct_fields__:
            if getattr(body_a, field) != getattr(body_b, field):
                differing.add((a.type, field))
        if name == "birch" and a.type == "hello":
            assert body_a.channel_key == body_b.channel_key
            assert body_a.mask_key == body_b.mask_key
    assert differing <= set(MAY_DIFFER), differing - set(MAY_DIFFER)
    assert ("hello", "ledger_head") in differing


def test_with_fresh_keys_number_order_and_sizes_of_messages_are_equal(tmp_path, run):
    def shape(seen):
        return [
            (name, opened(packet)[0].type, len(packet.envelope), None if a is None else a.nbytes)
            for name, packet in seen
            for a in (packet.array,)
        ]

    first = replies(tmp_path, run("a"), salt=1, patients=12, fixed=False)
    second = replies(tmp_path, run("b"), salt=2, patients=120, fixed=False)
    assert shape(first) == shape(second)
