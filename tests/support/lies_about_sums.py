"""Lies of a coordinator about shares, survivors and sums; see ``lies``."""

from __future__ import annotations

import msgspec
import numpy as np
from hospitals import SECRETS
from lies import AGAIN, covers, lie

from wardround_common.canonical import decode
from wardround_common.messages import (
    Confirm,
    Confirms,
    Deal,
    Envelope,
    Envelopes,
    Masked,
    Packet,
    Result,
    Signer,
    Survivors,
)
from wardround_common.secagg import transcript
from wardround_common.secagg.ring import vector_digest
from wardround_common.trust import COORDINATOR

replace = msgspec.structs.replace
BIG = 2**31 - 1

# shares


def masking(stage, change, n=4, **options):
    w = stage.world(n, **options).play("envelopes")
    return lambda: w.sessions["a"].masked(w.reseal(w.requests["a"], change), w.vectors["a"].copy())


@lie("secagg.ciphertext_altered")
def an_altered_ciphertext(stage):
    return masking(stage, lambda body: replace(body, ciphertexts=(bytes(82), *body.ciphertexts[1:])))


@lie("secagg.ciphertext_count")
def a_ciphertext_withheld(stage):
    return masking(stage, lambda body: replace(body, ciphertexts=body.ciphertexts[1:]))


@lie("secagg.own_deal")
def ones_own_deal_left_out(stage):
    return masking(stage, lambda body: Envelopes(body.deals[1:], body.ciphertexts))


@lie("secagg.too_few_dealers")
def fewer_dealers_than_the_threshold(stage):
    return masking(stage, lambda body: Envelopes(body.deals[:3], body.ciphertexts[:2]), n=5)


@lie("secagg.not_in_cohort")
def a_dealer_outside_the_cohort(stage):
    w = stage.world(5).play("envelopes", silent={"e": "hello"})
    stranger = w.say(
        Deal(bytes(32), (bytes(32),) * 4, (bytes(32),) * 4, (bytes(32),) * 3),
        covers(w.requests["a"]),
        by="e",
    )
    request = w.reseal(
        w.requests["a"], lambda b: Envelopes((*b.deals, stranger), (*b.ciphertexts, bytes(82)))
    )
    return lambda: w.sessions["a"].masked(request, w.vectors["a"].copy())


@lie("secagg.dealers_split")
def dealers_so_few_that_the_mask_graph_may_fall_apart(stage):
    w = stage.world(14, degree=4).play("envelopes", silent=dict.fromkeys("lmn", "deal"))
    return lambda: w.sessions["a"].masked(w.requests["a"], w.vectors["a"].copy())


# survivors


def confirming(stage, change, n=5, **options):
    w = stage.world(n).play("survivors", **options)
    return lambda: w.sessions["a"].confirm(w.reseal(w.requests["a"], change(w)))


@lie("secagg.own_upload")
def ones_own_upload_left_out(stage):
    return confirming(stage, lambda w: lambda body: Survivors(body.uploads[1:]))


@lie("secagg.not_a_dealer")
def a_survivor_that_did_not_deal(stage):
    def change(w):
        stranger = w.say(Masked(40, bytes(32)), covers(w.requests["a"]), by="e")
        return lambda body: Survivors((*body.uploads, stranger))

    return confirming(stage, change, silent={"e": "deal"})


@lie("secagg.peer_size")
def a_survivor_with_a_shorter_vector(stage):
    def change(w):
        short = w.reseal(w.packets["masked"]["e"], lambda body: Masked(39, body.digest)).envelope
        return lambda body: Survivors((*body.uploads[:4], short))

    return confirming(stage, change)


@lie("secagg.too_few_uploads")
def a_lowered_threshold(stage):
    return confirming(stage, lambda w: lambda body: Survivors(body.uploads[:3]))


@lie("secagg.survivors_split")
def survivors_so_few_that_the_mask_graph_may_fall_apart(stage):
    w = stage.world(14, degree=4).play("survivors", silent=dict.fromkeys("lmn", "masked"))
    return lambda: w.sessions["a"].confirm(w.requests["a"])


@lie("secagg.confirmed_otherwise")
def two_sets_of_survivors(stage):
    w = stage.world(5).play("confirm")
    other = w.reseal(w.packets["survivors"]["a"], lambda body: Survivors(body.uploads[:4]))
    return lambda: w.sessions["a"].confirm(other)


@lie("secagg.confirmed_otherwise", AGAIN)
def two_confirms_across_a_restart(stage):
    h = stage.hospitals(5)
    play = h.session(1).until("confirm")
    h.restart("alder")
    envelope = decode(play.requests["alder"].envelope, Envelope, limit_bytes=1 << 26)
    body = decode(envelope.body, Survivors, limit_bytes=1 << 26)

    signer = Signer(COORDINATOR, SECRETS.key(COORDINATOR))
    other = play.terms.wire.seal(Survivors(body.uploads[:4]), transcript=envelope.transcript, signer=signer)
    return lambda: h.sites["alder"].handle(Packet(other))


@lie("secagg.too_few_confirms")
def both_shares_of_a_site_by_two_sets(stage):
    """One colluder of four signs both sets; the second set still lacks a signature."""
    w = stage.world(4).play("survivors")
    uploads = [w.packets["masked"][name].envelope for name in w.sites]
    t2 = covers(w.requests["a"])
    opened = w.terms.wire.open_all(uploads[:3], Masked, transcript=t2)
    t3 = transcript.t3(t2, opened)
    confirms = [w.sessions["b"].confirm(w.reseal(w.requests["b"], lambda b: Survivors(b.uploads[:3])))]
    w.sessions["a"].confirm(w.requests["a"])
    confirms.append(Packet(w.say(Confirm(), t3, by="c")))
    request = Packet(w.say(Confirms(tuple(packet.envelope for packet in confirms)), t3))
    return lambda: w.sessions["b"].open(request)


@lie("message.other_transcript", AGAIN)
def a_confirmation_of_the_other_set(stage):
    w = stage.world(4).play("survivors")
    by_a = w.sessions["a"].confirm(w.requests["a"]).envelope
    other = w.reseal(w.requests["b"], lambda body: Survivors(body.uploads[:3]))
    t3 = covers(w.sessions["b"].confirm(other))
    rest = [w.say(Confirm(), t3, by=name) for name in "bc"]
    return lambda: w.sessions["b"].open(Packet(w.say(Confirms((by_a, *rest)), t3)))


@lie("secagg.not_a_survivor")
def a_confirmation_by_a_site_that_did_not_survive(stage):
    w = stage.world(5).play("confirms", silent={"e": "masked"})
    stranger = w.say(Confirm(), covers(w.requests["a"]), by="e")
    request = w.reseal(w.requests["a"], lambda body: Confirms((*body.confirms[:3], stranger)))
    return lambda: w.sessions["a"].open(request)


# the sum


def summed(stage, change, *, full=False, bound=BIG, n=4, **options):
    w = stage.world(n, verify_full=full).play("result", **options)
    return lambda: w.sessions["a"].result(change(w, w.requests["a"]), bound=bound)


@lie("secagg.result_digest")
def another_sum_than_the_signed_one(stage):
    def change(w, honest):
        total = honest.array.copy()
        total[0] += 1
        return Packet(honest.envelope, total)

    return summed(stage, change)


@lie("secagg.result_size")
def a_sum_of_another_length(stage):
    return summed(stage, lambda w, honest: w.reseal(honest, lambda b: replace(b, size=b.size + 1)))


@lie("secagg.opens_unasked")
def opens_that_nobody_asked_for(stage):
    return summed(stage, lambda w, honest: w.reseal(honest, lambda b: replace(b, opens=(b"",))))


@lie("secagg.sum_out_of_range")
def a_sum_that_no_honest_updates_make(stage):
    def change(w, honest):
        total = np.full(40, 1001, dtype=np.uint32)
        return Packet(w.say(Result(40, vector_digest(total), ()), covers(honest)), total)

    return summed(stage, change, bound=1000)


@lie("secagg.sum_differs")
def an_altered_sum_where_the_site_adds_up_itself(stage):
    def change(w, honest):
        other = w.coordinator.aggregate().copy()
        other[3] += 1
        return w.reseal(honest, lambda body: replace(body, digest=vector_digest(other)))

    return summed(stage, change, full=True)


@lie("secagg.upload_altered")
def an_upload_other_than_the_signed_one(stage):
    def change(w, honest):
        altered = honest.array.copy()
        altered[47] ^= 1
        return Packet(honest.envelope, altered)

    return summed(stage, change, full=True)


@lie("secagg.uploads_size")
def an_upload_withheld(stage):
    return summed(stage, lambda w, honest: Packet(honest.envelope, honest.array[:-40]), full=True)


@lie("secagg.too_few_opens_shown")
def fewer_opens_than_the_threshold(stage):
    return summed(
        stage, lambda w, honest: w.reseal(honest, lambda b: replace(b, opens=b.opens[:2])), full=True
    )


@lie("secagg.not_an_opener")
def an_open_of_a_site_that_did_not_survive(stage):
    def change(w, honest):
        stranger = w.reseal(w.packets["open"]["d"], sender="e").envelope
        return w.reseal(honest, lambda body: replace(body, opens=(*body.opens, stranger)))

    return summed(stage, change, full=True, n=5, silent={"e": "masked"})


@lie("secagg.wrong_opened_share")
def an_open_with_another_share(stage):
    def change(w, honest):
        wrong = w.reseal(
            w.packets["open"]["d"],
            lambda body: replace(body, seed_shares=(bytes(33), *body.seed_shares[1:])),
        ).envelope
        return w.reseal(honest, lambda body: replace(body, opens=(*body.opens[:3], wrong)))

    return summed(stage, change, full=True)


@lie("secagg.accepted_otherwise")
def a_second_outcome_of_one_round(stage):
    w = stage.world(3).play("accept")
    return lambda: w.sessions["a"].accept(b"m" * 32)
