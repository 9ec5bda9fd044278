import datetime

import pytest

from wardround_common.authority import Card
from wardround_common.authority.members import Membership, members_of
from wardround_common.errors import WardroundError
from wardround_common.identity import SigningKey
from wardround_common.trust import open_roster, sign_roster

AUTHORITY = SigningKey.from_seed(bytes([1]) * 32)
FRESH = SigningKey.from_seed(bytes([99]) * 32).public
TODAY = datetime.date(2026, 5, 10)


@pytest.fixture
def members(cards):
    return admitted(Membership(), *cards)


def admitted(before, *cards, replace=()):
    return before.admit(cards, replace=replace, authority_key=AUTHORITY.public)


def refusal(call, *arguments, **named):
    with pytest.raises(WardroundError) as caught:
        call(*arguments, **named)
    return caught.value.code


def test_the_roster_of_the_members_opens_at_a_site(members, keys):
    roster = members.roster(today=TODAY, days=30)
    assert open_roster(sign_roster(roster, AUTHORITY), authority_key=AUTHORITY.public, today=TODAY) == roster
    assert members_of(roster) == {name: key.public for name, key in keys.items()}
    assert (roster.version, roster.issued, roster.expires) == (1, "2026-05-10", "2026-06-09")


def test_members_whose_cards_are_not_shown_again_stay_and_the_version_rises(members):
    later = admitted(members, Card("dogwood", FRESH))
    assert later.version == 2
    assert later.keys == {**members.keys, "dogwood": FRESH}


def test_a_known_name_with_another_key_is_refused(members):
    assert refusal(admitted, members, Card("alder", FRESH)) == "authority.key_changed"
    assert refusal(admitted, members, Card("coordinator", FRESH)) == "authority.key_changed"


def test_a_replaced_key_never_comes_back(members, keys):
    later = admitted(members, Card("alder", FRESH), replace=["alder"])
    assert later.keys["alder"] == FRESH
    for name in ("alder", "dogwood"):
        old = Card(name, keys["alder"].public)
        assert refusal(admitted, later, old) == "authority.retired_key"
        assert refusal(admitted, later, old, replace=["alder"]) == "authority.retired_key"


def test_a_key_that_is_replaced_does_not_come_back_with_the_same_roster(members, keys):
    cards = Card("alder", FRESH), Card("dogwood", keys["alder"].public)
    assert refusal(admitted, members, *cards, replace=["alder"]) == "authority.retired_key"


def test_a_revoked_key_never_comes_back_under_no_name(members, keys):
    later = members.revoke("birch")
    assert "birch" not in later.keys
    for name in ("birch", "dogwood", "coordinator"):
        card = Card(name, keys["birch"].public)
        assert refusal(admitted, later, card, replace=["coordinator"]) == "authority.retired_key"
    assert admitted(later, Card("birch", FRESH)).keys["birch"] == FRESH
    assert refusal(admitted, admitted(later), Card("birch", keys["birch"].public)) == "authority.retired_key"


def test_two_sites_with_one_key_are_refused(members, keys):
    assert refusal(admitted, members, Card("dogwood", keys["alder"].public)) == "authority.key_twice"
    assert refusal(admitted, members, Card("dogwood", FRESH), Card("elm", FRESH)) == "authority.key_twice"


def test_lead_and_coordinator_share_no_key_with_anybody(members, keys):
    for name in ("coordinator", "lead"):
        card = Card("dogwood", keys[name].public)
        assert refusal(admitted, members, card) == "authority.key_twice"


def test_two_cards_of_one_name_are_refused_even_with_replace(members):
    other = SigningKey.from_seed(bytes([98]) * 32).public
    cards = Card("alder", FRESH), Card("alder", other)
    assert refusal(admitted, members, *cards, replace=["alder"]) == "authority.two_cards"


def test_the_authoritys_own_key_is_no_member(members):
    assert refusal(admitted, members, Card("dogwood", AUTHORITY.public)) == "authority.own_key"


def test_permission_to_replace_that_nothing_needs_is_refused(members, cards):
    assert refusal(admitted, members, replace=["alder"]) == "authority.replace_unused"
    assert refusal(admitted, members, *cards, replace=["alder"]) == "authority.replace_unused"
    assert refusal(admitted, members, Card("elm", FRESH), replace=["elm"]) == "authority.replace_unused"


@pytest.mark.parametrize("name", ["coordinator", "lead"])
def test_a_roster_without_coordinator_or_lead_is_not_signed(members, cards, name):
    assert refusal(members.revoke, name) == "authority.needs_replacement"
    few = admitted(Membership(), *(card for card in cards if card.name != name))
    assert refusal(few.roster, today=TODAY, days=30) == "authority.incomplete"


def test_the_last_site_and_strangers_cannot_be_revoked(members):
    one = members.revoke("birch").revoke("cedar")
    assert refusal(one.revoke, "alder") == "authority.needs_replacement"
    assert refusal(one.revoke, "zebra") == "authority.no_such_member"
    assert refusal(one.revoke, "birch") == "authority.no_such_member"


@pytest.mark.parametrize("days", [-1, 0, 31])
def test_a_roster_lasts_thirty_days_at_most(members, days):
    assert refusal(members.roster, today=TODAY, days=days) == "authority.days"
