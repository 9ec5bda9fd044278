"""Masks: they cancel in pairs, differ everywhere else, and are plain AES-256-CTR."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from wardround_common.messages import RoundContext
from wardround_common.secagg.masks import Mask, apply_masks, pair_mask, self_mask

CONTEXT = RoundContext(plan_digest=b"p" * 32, round=1, kind="train", attempt=1)
SECRET = b"s" * 32


def test_a_mask_is_the_encryption_of_zeros_as_little_endian_words():
    for size in (1, 5, 65_536, 65_537, 200_003):
        vector = np.zeros(size, dtype=np.uint32)
        apply_masks(vector, [Mask(key=SECRET, subtract=False)])
        stream = Cipher(algorithms.AES(SECRET), modes.CTR(bytes(16))).encryptor().update(bytes(4 * size))
        assert np.array_equal(vector, np.frombuffer(stream, dtype="<u4"))


def test_the_masks_of_a_pair_cancel():
    one = np.arange(70_000, dtype=np.uint32)
    two = one * np.uint32(77)
    expected = one + two
    apply_masks(one, [pair_mask(SECRET, CONTEXT, site="a", peer="b")])
    apply_masks(two, [pair_mask(SECRET, CONTEXT, site="b", peer="a")])
    assert np.array_equal(one + two, expected)


def test_the_first_of_a_pair_adds_and_the_second_subtracts():
    assert not pair_mask(SECRET, CONTEXT, site="a", peer="b").subtract
    assert pair_mask(SECRET, CONTEXT, site="b", peer="a").subtract
    assert not self_mask(SECRET, CONTEXT, site="b").subtract


def test_a_removed_mask_leaves_what_was_there():
    vector = np.arange(1000, dtype=np.uint32)
    masks = [self_mask(SECRET, CONTEXT, site="a"), pair_mask(SECRET, CONTEXT, site="b", peer="a")]
    apply_masks(vector, masks)
    apply_masks(vector, [mask.removed for mask in masks])
    assert np.array_equal(vector, np.arange(1000))


@pytest.mark.parametrize(
    "change", [{"plan_digest": b"q" * 32}, {"round": 2}, {"kind": "evaluate"}, {"attempt": 2}]
)
def test_no_two_attempts_rounds_kinds_or_plans_share_a_mask(change):
    other = msgspec.structs.replace(CONTEXT, **change)
    assert pair_mask(SECRET, CONTEXT, site="a", peer="b") != pair_mask(SECRET, other, site="a", peer="b")
    assert self_mask(SECRET, CONTEXT, site="a") != self_mask(SECRET, other, site="a")


def test_two_pairs_with_one_secret_still_have_two_masks():
    """A site that copies another one's public key cannot make the masks of its victim's peer cancel."""
    keys = {pair_mask(SECRET, CONTEXT, site=site, peer=peer).key for site, peer in ("ab", "ac", "bc", "ba")}
    assert len(keys) == 3
    assert self_mask(SECRET, CONTEXT, site="a").key not in keys


def test_a_mask_does_not_print_its_key():
    assert "key" not in repr(Mask(key=SECRET, subtract=False))


def test_golden_keys():
    """Changing the derivation breaks studies in progress: raise messages.VERSION when this must change."""
    pair = pair_mask(SECRET, CONTEXT, site="a", peer="b").key.hex()
    own = self_mask(SECRET, CONTEXT, site="a").key.hex()
    assert (pair[:16], own[:16]) == ("038cd5c164e42615", "959cf49c089e645d")
