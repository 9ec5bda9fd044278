"""A dealer that lies: shares, commitments and ciphertexts that do not fit, and shares opened wrongly.

Every test is one lie, and names the one check that stands against it by its code.
"""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from wardround_common.canonical import decode, encode
from wardround_common.messages import Deal, DealParcel, Envelopes, Masked, Open, Packet
from wardround_common.secagg.agreement import AgreementKey
from wardround_common.secagg.channel import HeldShares
from wardround_common.secagg.masks import apply_masks, pair_mask, self_mask
from wardround_common.secagg.ring import vector_digest

replace = msgspec.structs.replace
HEAD = b"l" * 32


def covers(packet):
    return msgspec.msgpack.decode(packet.envelope)[7]


def finish_without(w, gone):
    """The exchanges from MASKED to OPEN without the site ``gone``."""
    for step in ("masked", "confirm", "open"):
        if step != "masked":
            w.requests = w.ask({"confirm": "survivors", "open": "confirms"}[step])
        for name, request in w.requests.items():
            if name != gone:
                w.take(step, name, w.answer(step, name, request))


def test_an_altered_ciphertext_beside_a_deal_is_refused(world, refused):
    w = world(3).play("cohort")
    parcel = decode(w.sessions["a"].deal(w.requests["a"]).envelope, DealParcel, limit_bytes=1 << 20)
    for lie in (parcel.ciphertexts[::-1], parcel.ciphertexts[:1], (*parcel.ciphertexts, bytes(82))):
        with refused("secagg.ciphertext_altered", naming="a"):
            w.coordinator.take_deal(Packet(encode(replace(parcel, ciphertexts=lie))), site="a")


@pytest.mark.parametrize("field", ["key_shares", "seed_shares", "ciphertexts"])
def test_a_deal_for_another_number_of_sites_is_refused_by_both(world, refused, field):
    w = world(4).play("cohort")
    deal = w.sessions["b"].deal(w.requests["b"])
    lie = w.reseal(deal, lambda body: replace(body, **{field: getattr(body, field)[:-1]}))
    with refused("secagg.deal_shape", naming="b"):
        w.coordinator.take_deal(lie, site="b")
    parcels = {name: w.sessions[name].deal(w.requests[name]) for name in "acd"} | {"b": lie}
    parts = {name: decode(parcels[name].envelope, DealParcel, limit_bytes=1 << 20) for name in "abcd"}
    body = Envelopes(tuple(part.envelope for part in parts.values()), (bytes(82),) * 3)
    with refused("secagg.deal_shape", naming="b"):
        w.sessions["a"].masked(
            Packet(w.say(body, covers(Packet(parts["a"].envelope)))), w.vectors["a"].copy()
        )


def test_a_dealer_outside_the_cohort_is_refused_by_sites(world, refused):
    w = world(5).play("envelopes", silent={"e": "hello"})
    t1 = covers(w.requests["a"])
    stranger = w.say(Deal(bytes(32), (bytes(32),) * 4, (bytes(32),) * 4, (bytes(32),) * 3), t1, by="e")
    lie = w.reseal(
        w.requests["a"],
        lambda body: Envelopes((*body.deals, stranger), (*body.ciphertexts, bytes(82))),
    )
    with refused("secagg.not_in_cohort", naming="e"):
        w.sessions["a"].masked(lie, w.vectors["a"].copy())


def test_a_ciphertext_that_its_recipient_cannot_open_names_the_dealer(world, refused, lying_dealer):
    liar = lying_dealer(world(4))
    true = liar.channel
    liar.join()
    liar.channel = AgreementKey(b"\x07" * 32)  # not the one in HELLO
    lie = liar.deal()
    liar.channel = true
    w = liar.w
    for name in w.sites:
        w.coordinator.take_deal(lie if name == "b" else w.sessions[name].deal(w.requests[name]), site=name)
    w.requests = w.ask("envelopes")
    for name in "acd":
        with refused("secagg.bad_ciphertext", naming="b"):
            w.sessions[name].masked(w.requests[name], w.vectors[name].copy())


@pytest.mark.parametrize("field", ["mask_key", "seed"])
@pytest.mark.parametrize("wrong", [bytes(33), b"\xff" * 33])
def test_a_share_that_does_not_open_its_commitment_names_the_dealer(
    world, refused, field, wrong, lying_dealer
):
    def cheat_c(shares):
        held = {"mask_key": shares["c"].mask_key, "seed": shares["c"].seed, field: wrong}
        return {**shares, "c": HeldShares(**held)}

    liar = lying_dealer(world(4))
    requests = liar.finish_dealing(sealed=cheat_c)
    w = liar.w
    with refused("secagg.wrong_share", naming="b"):
        w.sessions["c"].masked(requests["c"], w.vectors["c"].copy())
    w.sessions["a"].masked(requests["a"], w.vectors["a"].copy())


@pytest.mark.parametrize("field", ["mask_key", "seed"])
def test_a_committed_share_that_is_no_number_below_the_prime_names_the_dealer(
    world, refused, field, lying_dealer
):
    def cheat_c(shares):
        held = {"mask_key": shares["c"].mask_key, "seed": shares["c"].seed, field: b"\xff" * 33}
        return {**shares, "c": HeldShares(**held)}

    liar = lying_dealer(world(4))
    requests = liar.finish_dealing(committed=cheat_c)
    with refused("secagg.wrong_share", naming="b"):
        liar.w.sessions["c"].masked(requests["c"], liar.w.vectors["c"].copy())


def test_a_wrong_share_in_an_open_names_the_site_and_the_sum_comes_out_without_it(world, refused):
    w = world(5).play("confirms", silent={"e": "masked"})
    t3 = covers(w.requests["a"])
    opens = {name: w.answer("open", name, w.requests[name]) for name in "abcd"}
    body = w.terms.wire.open(opens["a"].envelope, Open, transcript=t3).body
    wrong = bytes(33)
    lies = {
        "seed": replace(body, seed_shares=(wrong, *body.seed_shares[1:])),
        "mask key": replace(body, key_shares=(wrong,)),
    }
    for lie in lies.values():
        with refused("secagg.wrong_opened_share", naming="a opened"):
            w.coordinator.take_open(Packet(w.say(lie, t3, by="a")), site="a")
    for lie in (replace(body, seed_shares=body.seed_shares[1:]), replace(body, key_shares=())):
        with refused("secagg.open_shape", naming="a"):
            w.coordinator.take_open(Packet(w.say(lie, t3, by="a")), site="a")
    for name, packet in opens.items():
        w.take("open", name, packet)
    assert np.array_equal(w.coordinator.aggregate(), w.expected(tuple("abcd")))


@pytest.mark.parametrize("survives", [True, False])
def test_a_dealer_of_shares_that_do_not_fit_together_is_named_and_other_shares_are_tried(
    world, survives, lying_dealer
):
    def cheat_a(shares):
        return {**shares, "a": HeldShares(bytes(33), bytes(33))}

    liar = lying_dealer(world(7))
    w = liar.w
    liar.finish_dealing(committed=cheat_a)
    if not survives:
        finish_without(w, "b")
        assert np.array_equal(w.coordinator.aggregate(), w.expected(tuple("acdefg")))
        assert w.coordinator.blamed == {"b": "secagg.wrong_share"}
        return
    vector = w.vectors["b"].copy()
    hellos, context = w.coordinator._hellos, w.terms.context
    apply_masks(vector, [self_mask(liar.seed, context, site="b")])
    for peer in w.sites:
        if peer != "b":
            secret = liar.mask.agree(hellos[peer].body.mask_key, peer=peer)
            apply_masks(vector, [pair_mask(secret, context, site="b", peer=peer)])
    upload = w.say(Masked(40, vector_digest(vector)), w.coordinator._t2, by="b")
    w.coordinator.take_masked(Packet(upload, vector), site="b")
    finish_without(w, "b")
    assert np.array_equal(w.coordinator.aggregate(), w.expected(w.sites))
    assert w.coordinator.blamed == {"b": "secagg.wrong_share"}


def test_a_dealer_whose_shares_give_no_secret_ends_the_round_and_is_named(world, refused, lying_dealer):
    def cheat_all(shares):
        noise = {name: (i + 5).to_bytes(33, "big") for i, name in enumerate(shares)}
        return {name: HeldShares(noise[name], shares[name].seed) for name in shares}

    liar = lying_dealer(world(5))
    liar.finish_dealing(committed=cheat_all)
    finish_without(liar.w, "b")
    with refused("secagg.unrecoverable", naming="b", retryable=False):
        liar.w.coordinator.aggregate()
    assert liar.w.coordinator.blamed == {"b": "secagg.wrong_share"}
