import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardround_common.authority import CARD_LIMIT_BYTES, Card, make_card, open_card
from wardround_common.canonical import encode
from wardround_common.errors import ProtocolError
from wardround_common.identity import SigningKey, verify
from wardround_common.trust import Signed

ALDER = SigningKey.from_seed(bytes([1]) * 32)
THIEF = SigningKey.from_seed(bytes([2]) * 32)


def refusal(data):
    with pytest.raises(ProtocolError) as caught:
        open_card(data)
    return caught.value.code


@given(name=st.from_regex(r"\A[a-z][a-z0-9_-]{0,39}\Z"), seed=st.binary(min_size=32, max_size=32))
def test_a_card_opens_to_the_name_and_key_it_was_made_of(name, seed):
    key = SigningKey.from_seed(seed)
    card = make_card(name, key)
    assert open_card(card) == Card(name, key.public)
    assert seed not in card


def test_a_card_with_somebody_elses_key_is_refused():
    body = encode(Card("thief", ALDER.public))
    assert refusal(encode(Signed(body, THIEF.sign("card", body)))) == "identity.bad_signature"


def test_a_card_whose_name_was_changed_is_refused():
    body = encode(Card("alder", ALDER.public))
    other = encode(Card("birch", ALDER.public))
    assert refusal(encode(Signed(other, ALDER.sign("card", body)))) == "identity.bad_signature"


@pytest.mark.parametrize("label", ["roster", "plan", "authority register"])
def test_what_the_key_signed_for_another_purpose_is_no_card(label):
    body = encode(Card("alder", ALDER.public))
    assert refusal(encode(Signed(body, ALDER.sign(label, body)))) == "identity.bad_signature"


@pytest.mark.parametrize("sign_bit", [0, 0x80])
def test_a_key_that_everybody_can_sign_for_is_refused(sign_bit):
    """The neutral element, with a signature that holds for every text."""
    weak = b"\x01" + bytes(30) + bytes([sign_bit])
    forged = b"\x01" + bytes(31) + bytes(32)
    if not sign_bit:
        verify(weak, forged, "card", b"any text at all")
    assert refusal(encode(Signed(encode(Card("alder", weak)), forged))) == "card.weak_key"


def test_every_flipped_bit_of_a_card_is_refused():
    card = make_card("alder", ALDER)
    for at in range(len(card)):
        flipped = bytes([*card[:at], card[at] ^ 1, *card[at + 1 :]])
        with pytest.raises(ProtocolError):
            open_card(flipped)


@pytest.mark.parametrize("data", [b"", b"\xc0", b"alder", bytes(CARD_LIMIT_BYTES + 1)])
def test_what_is_no_card_is_refused(data):
    assert refusal(data) in {"message.malformed", "message.too_long"}


@pytest.mark.parametrize("name", ["", "Alder", "al der", "../alder", "a" * 41])
def test_a_card_is_not_made_for_a_name_that_no_plan_can_have(name):
    with pytest.raises(ProtocolError) as caught:
        make_card(name, ALDER)
    assert caught.value.code == "message.malformed"
