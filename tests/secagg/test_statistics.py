"""A masked upload cannot be told from uniform noise, and no mask is ever used twice.

Uploads come from production sessions; their secrets from fixed seeds, so that a result is the same each time.
Vectors are what shows most if a mask is weak: zeros, a constant, a slow ramp, and one like an update.
"""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from generators import BATTERY, worst
from scipy import stats

from wardround_client.secagg.keys import AttemptKeys, all_masks
from wardround_common.messages import Cohort, Hello
from wardround_common.secagg.masks import Mask, apply_masks
from wardround_common.secagg.quantiser import Quantiser
from wardround_common.streams import Stream, derive
from wardround_common.trust import COORDINATOR

SIZE = 1 << 17
REJECT = 1e-6
PLAIN = {
    "zeros": np.zeros(SIZE, dtype=np.uint32),
    "constant": np.full(SIZE, 0x01010101, dtype=np.uint32),
    "ramp": np.arange(SIZE, dtype=np.uint32),
    "update": Quantiser(sites=4, sizes=(SIZE,), clips=(2,)).encode(
        Stream(derive(b"u" * 32, "update")).normal(SIZE).astype(np.float32), weight=0.25
    ),
}
CONTEXTS = [
    {"plan_digest": plan * 32, "round": number, "kind": kind, "attempt": attempt}
    for plan, number, kind, attempt in product((b"p", b"q"), (1, 2), ("train", "evaluate"), (1, 2))
]


def uploads(world, vector, *, n=4, seed="", **context):
    """What leaves each site that is given ``vector``."""
    w = world(n, size=vector.size, seed=seed, context=context)
    w.vectors = dict.fromkeys(w.sites, vector)
    return {name: packet.array for name, packet in w.play("masked").replies.items()}


@pytest.mark.statistical
@pytest.mark.parametrize("plain", PLAIN)
def test_an_upload_cannot_be_told_from_uniform_words(world, plain):
    for name, upload in uploads(world, PLAIN[plain]).items():
        assert worst(upload) > REJECT, name


@pytest.mark.statistical
@pytest.mark.parametrize("plain", PLAIN)
def test_nor_can_the_difference_of_two_uploads_of_one_attempt_or_of_two(world, plain):
    """With the same one-attempt secrets in both, as if the operating system repeated its randomness."""
    first = uploads(world, PLAIN[plain])
    again = uploads(world, PLAIN[plain], attempt=2)
    for one, other in combinations(first, 2):
        assert worst(first[one] - first[other]) > REJECT, (one, other)
    for name in first:
        assert worst(first[name] - again[name]) > REJECT, name


@pytest.mark.statistical
def test_over_many_uploads_every_test_gives_uniform_p_values(world):
    found = {test: [] for test in BATTERY}
    for number in range(60):
        for upload in uploads(world, PLAIN["zeros"][: 1 << 14], n=3, seed=str(number)).values():
            for test in BATTERY:
                found[test].append(test(upload))
    for test, values in found.items():
        if test.__name__ != "spectral":  # its normal approximation is too coarse for this
            assert stats.kstest(values, "uniform").pvalue > 1e-4, test.__name__
        assert min(values) > REJECT


def self_masked(vector, *, key=b"s" * 32):
    masked = vector.copy()
    apply_masks(masked, [Mask(key=key, subtract=False)])
    return masked


def test_the_battery_accepts_a_good_stream():
    assert worst(self_masked(PLAIN["zeros"])) > REJECT


@pytest.mark.parametrize("plain", PLAIN)
def test_the_battery_rejects_an_unmasked_upload(plain):
    assert worst(PLAIN[plain]) < REJECT


@pytest.mark.parametrize(("one", "other"), list(combinations(PLAIN, 2)))
def test_the_battery_rejects_two_uploads_under_one_self_mask(one, other):
    first, second = self_masked(PLAIN[one]), self_masked(PLAIN[other])
    assert worst(first) > REJECT
    assert worst(first - second) < REJECT


def repeated(stream):
    """The counter starts anew with every piece of 2^14 words."""
    return np.tile(stream[: 1 << 14], SIZE >> 14)


DEFECTS = {
    "a mask of 31 bits": lambda stream: stream >> np.uint32(1),
    "a mask on the lower half": lambda stream: stream & np.uint32(0xFFFF),
    "one word in 64 left out": lambda stream: np.where(np.arange(SIZE) % 64 == 0, np.uint32(0), stream),
    "a counter that starts anew": repeated,
    "every word twice": lambda stream: np.repeat(stream[: SIZE // 2], 2),
    "one bit that is set in 52 of 100 words": lambda stream: (
        stream | (np.arange(SIZE) % 25 == 0).astype(np.uint32)
    ),
}  # fmt: skip


@pytest.mark.parametrize("defect", DEFECTS)
def test_the_battery_rejects_a_mask_with(defect):
    bad = np.ascontiguousarray(DEFECTS[defect](self_masked(PLAIN["zeros"])), dtype=np.uint32)
    assert worst(bad) < REJECT


def key_streams(world, contexts, *, n=5, words=64):
    """Every key stream of every site in every context, by context and owners; secrets are the same in all."""
    streams = {}
    for context in contexts:
        w = world(n, context=context).play("cohort")
        body = w.terms.wire.open(
            w.requests["a"].envelope, Cohort, transcript=w.terms.t0, sender=COORDINATOR
        ).body
        hellos = w.terms.wire.open_all(body.hellos, Hello, transcript=w.terms.t0)
        for site in w.sites:
            keys = AttemptKeys.generate(Stream(derive(b"e" * 32, "", site)).bytes)
            assert keys.mask.public == hellos[site].body.mask_key
            peers = [site, *(name for name in w.sites if name != site)]
            masks = all_masks(keys, w.terms.context, hellos, site=site, peers=peers[1:])
            for peer, mask in zip(peers, masks, strict=True):
                stream = np.zeros(words, dtype=np.uint32)
                apply_masks(stream, [Mask(key=mask.key, subtract=False)])
                owners = (*context.values(), *sorted({site, peer}))
                assert np.array_equal(streams.setdefault(owners, stream), stream)
    return streams


def blocks(streams):
    """All cipher blocks of some key streams."""
    return [
        stream.tobytes()[place : place + 16] for stream in streams for place in range(0, stream.nbytes, 16)
    ]


def test_no_two_pairs_sites_attempts_rounds_kinds_or_plans_share_any_block_of_a_mask(world):
    """Also where every secret is the same, which fresh keys per attempt rule out."""
    streams = key_streams(world, CONTEXTS)
    assert len(streams) == len(CONTEXTS) * (5 + 10)
    found = blocks(streams.values())
    assert len(set(found)) == len(found)


def test_the_comparison_notices_one_context_that_two_masks_share(world):
    streams = key_streams(world, CONTEXTS[:2])
    reused = [*streams.values(), next(iter(streams.values()))]
    assert len(set(blocks(reused))) < len(blocks(reused))


def test_no_two_uploads_of_the_same_vector_share_a_word_at_its_place(world):
    """All pairs of sites and contexts; 2^12 words agree by chance in one place of 2^20."""
    zeros = np.zeros(1 << 12, dtype=np.uint32)
    found = [upload for context in CONTEXTS for upload in uploads(world, zeros, **context).values()]
    assert len(found) == 64
    for one, other in combinations(found, 2):
        assert np.count_nonzero(one == other) <= 1
