"""Masks: they cancel in pairs, differ everywhere else, and are plain key streams."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from wardround_common.messages import RoundContext
from wardround_common.secagg.masks import Mask, apply_masks, pair_mask, self_mask
from wardround_common.secagg.ring import WORDS

CONTEXT = RoundContext(plan_digest=b"p" * 32, round=1, kind="train", attempt=1)
SECRET = b"s" * 32


def test_a_mask_is_the_encryption_of_zeros_as_little_endian_words():
    for size in (1, 5, 65_536, 65_537, 200_003):
        vector = np.zeros(size, dtype=np.uint32)
        apply_masks(vector, [Mask(key=SECRET, subtract=False)])
        stream = Cipher(algorithms.AES(SECRET), modes.CTR(bytes(16))).encryptor().update(bytes(4 * size))
        assert np.array_equal(vector, np.frombuffer(stream, dtype="<u4"))


@pytest.mark.parametrize("word", WORDS.values())
def test_a_mask_of_either_cipher_is_its_key_stream_in_words_of_the_ring(word):
    ciphers = {
        "aes-256-ctr": Cipher(algorithms.AES(SECRET), modes.CTR(bytes(16))),
        "chacha20": Cipher(algorithms.ChaCha20(SECRET, bytes(16)), None),
    }
    for name, cipher in ciphers.items():
        vector = np.zeros(150_001, dtype=word)
        apply_masks(vector, [Mask(key=SECRET, subtract=False)], cipher=name)
        stream = cipher.encryptor().update(bytes(vector.nbytes))
        assert np.array_equal(vector, np.frombuffer(stream, dtype=word.newbyteorder("<")))


def test_chacha20_is_that_of_the_standard():
    """RFC 8439, appendix A.1, test vectors 1 and 2: key and nonce zero, blocks 0 and 1."""
    vector = np.zeros(32, dtype=np.uint32)
    apply_masks(vector, [Mask(key=bytes(32), subtract=False)], cipher="chacha20")
    assert vector.astype("<u4").tobytes().hex().startswith("76b8e0ada0f13d90405d6ae55386bd28")
    assert vector[16:].astype("<u4").tobytes().hex().startswith("9f07e7be5551387a98ba977c732d080d")


@pytest.mark.parametrize("cipher", ["aes-256-ctr", "chacha20"])
@pytest.mark.parametrize("word", WORDS.values())
@pytest.mark.parametrize("size", [0, 1, 40_000, 65_536, 300_007])
def test_threads_change_nothing(cipher, word, size):
    masks = [self_mask(SECRET, CONTEXT, site="a"), pair_mask(SECRET, CONTEXT, site="b", peer="a")]
    start = np.arange(size).astype(word)
    expected = start.copy()
    apply_masks(expected, masks, cipher=cipher)
    assert size < 2 or not np.array_equal(expected, start)
    for threads in (2, 3, 16):
        vector = start.copy()
        apply_masks(vector, masks, cipher=cipher, threads=threads)
        assert np.array_equal(vector, expected)


@pytest.mark.parametrize("cipher", ["aes-256-ctr", "chacha20"])
@pytest.mark.parametrize("word", WORDS.values())
def test_the_masks_of_a_pair_cancel(cipher, word):
    one = np.arange(70_000).astype(word)
    two = one * word.type(77)
    expected = one + two
    apply_masks(one, [pair_mask(SECRET, CONTEXT, site="a", peer="b")], cipher=cipher)
    apply_masks(two, [pair_mask(SECRET, CONTEXT, site="b", peer="a")], cipher=cipher)
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
