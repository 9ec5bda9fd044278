"""Sealed shares: only the recipient opens them, only in their attempt and direction."""

from __future__ import annotations

import dataclasses

import pytest

from wardround_common.errors import SecAggError
from wardround_common.secagg.agreement import AgreementKey, check_public
from wardround_common.secagg.channel import Channel, HeldShares

SHARES = HeldShares(b"m" * 33, b"s" * 33)
CHANNEL = Channel(secret=b"k" * 32, transcript=b"t" * 32, sender="a", recipient="b")


def test_shares_come_out_as_they_went_in():
    ciphertext = CHANNEL.seal(SHARES)
    assert len(ciphertext) == 82
    assert CHANNEL.open(ciphertext) == SHARES


@pytest.mark.parametrize(
    "other",
    [
        {"secret": b"j" * 32},
        {"transcript": b"u" * 32},
        {"sender": "b", "recipient": "a"},
        {"recipient": "c"},
        {"sender": "c"},
    ],
)
def test_another_secret_attempt_or_direction_does_not_open_them(other):
    with pytest.raises(SecAggError) as caught:
        dataclasses.replace(CHANNEL, **other).open(CHANNEL.seal(SHARES))
    assert caught.value.code == "secagg.bad_ciphertext"


def test_no_bit_of_a_ciphertext_can_be_flipped():
    honest = CHANNEL.seal(SHARES)
    for place in range(len(honest)):
        altered = bytearray(honest)
        altered[place] ^= 1 << (place % 8)
        with pytest.raises(SecAggError):
            CHANNEL.open(bytes(altered))


def test_both_directions_have_their_own_key():
    back = dataclasses.replace(CHANNEL, sender="b", recipient="a")
    assert CHANNEL.seal(SHARES)[:66] != back.seal(SHARES)[:66]


def test_two_keys_agree():
    a, b = AgreementKey(b"1" * 32), AgreementKey(b"2" * 32)
    assert a.agree(b.public, peer="b") == b.agree(a.public, peer="a")
    check_public(a.public, owner="a")


LOW_ORDER = (
    bytes(32),
    (1).to_bytes(32, "little"),
    (2**255 - 19).to_bytes(32, "little"),
    (2**255 - 18).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
)


@pytest.mark.parametrize("public", LOW_ORDER)
def test_keys_of_low_order_are_refused(public):
    for call in (
        lambda: check_public(public, owner="b"),
        lambda: AgreementKey(b"1" * 32).agree(public, peer="b"),
    ):
        with pytest.raises(SecAggError) as caught:
            call()
        assert caught.value.code == "secagg.weak_key"
        assert "b" in caught.value.message


def test_an_agreement_key_does_not_print_its_secret():
    key = AgreementKey(b"1" * 32)
    assert key.secret.hex() not in repr(key)
