import datetime

import msgspec
import pytest

from wardround_common.canonical import decode, encode
from wardround_common.errors import ConsentError, ProtocolError
from wardround_common.identity import SigningKey, fingerprint, verify
from wardround_common.trust import (
    Member,
    Roster,
    Signed,
    open_plan,
    open_roster,
    plan_digest,
    sign_plan,
    sign_roster,
)

AUTHORITY = SigningKey.from_seed(bytes([1]) * 32)
LEAD = SigningKey.from_seed(bytes([2]) * 32)
OTHER = SigningKey.from_seed(bytes([9]) * 32)
TODAY = datetime.date(2026, 5, 10)


def roster(**changes):
    fields = {
        "version": 3,
        "issued": "2026-05-01",
        "expires": "2026-05-31",
        "sites": (Member("alder", OTHER.public), Member("birch", bytes(32))),
        "lead": LEAD.public,
        "coordinator": bytes([7]) * 32,
    }
    return Roster(**(fields | changes))


def opened(data, **changes):
    return open_roster(data, **({"authority_key": AUTHORITY.public, "today": TODAY} | changes))


def test_a_roster_signed_by_the_authority_opens():
    assert opened(sign_roster(roster(), AUTHORITY)) == roster()


def test_a_roster_signed_by_anybody_else_is_refused():
    with pytest.raises(ProtocolError) as caught:
        opened(sign_roster(roster(), OTHER))
    assert caught.value.code == "identity.bad_signature"


def test_a_roster_altered_after_signing_is_refused():
    signed = decode(sign_roster(roster(), AUTHORITY), Signed, limit_bytes=10_000)
    with pytest.raises(ProtocolError) as caught:
        opened(encode(Signed(encode(roster(version=4)), signed.signature)))
    assert caught.value.code == "identity.bad_signature"


@pytest.mark.parametrize(
    ("issued", "expires"),
    [("2026-04-01", "2026-05-09"), ("2026-05-01", "2026-06-30"), ("2026-05-12", "2026-05-31")],
)
def test_a_roster_that_is_not_current_or_lasts_too_long_is_refused(issued, expires):
    with pytest.raises(ConsentError) as caught:
        opened(sign_roster(roster(issued=issued, expires=expires), AUTHORITY))
    assert caught.value.code == "trust.roster_expired"


def test_a_roster_older_than_one_seen_before_is_refused():
    with pytest.raises(ConsentError) as caught:
        opened(sign_roster(roster(), AUTHORITY), newest=4)
    assert caught.value.code == "trust.roster_stale"


@pytest.mark.parametrize(
    "sites",
    [
        (Member("alder", bytes(32)), Member("alder", OTHER.public)),
        (Member("alder", bytes(32)), Member("birch", bytes(32))),
        (Member("alder", bytes([7]) * 32), Member("birch", bytes(32))),
        (Member("coordinator", bytes(32)), Member("birch", OTHER.public)),
    ],
)
def test_a_roster_with_a_name_or_key_twice_is_refused(sites):
    with pytest.raises(ProtocolError) as caught:
        opened(sign_roster(roster(sites=sites), AUTHORITY))
    assert caught.value.code == "trust.roster_ambiguous"


def test_a_roster_knows_its_members_and_no_strangers():
    assert roster().key_of("alder") == OTHER.public
    assert roster().key_of("coordinator") == bytes([7]) * 32
    with pytest.raises(ProtocolError) as caught:
        roster().key_of("zebra")
    assert caught.value.code == "trust.stranger"


def test_a_plan_signed_by_its_lead_opens_and_one_by_another_does_not(plan):
    assert open_plan(sign_plan(plan, LEAD), today=TODAY) == plan
    with pytest.raises(ProtocolError) as caught:
        open_plan(sign_plan(plan, OTHER), today=TODAY)
    assert caught.value.code == "identity.bad_signature"


def test_an_expired_plan_is_refused(plan):
    old = msgspec.structs.replace(plan, expires="2026-05-09")
    with pytest.raises(ConsentError) as caught:
        open_plan(sign_plan(old, LEAD), today=TODAY)
    assert caught.value.code == "trust.plan_expired"


def test_a_signature_for_one_purpose_is_not_valid_for_another():
    signature = LEAD.sign("plan", b"x")
    verify(LEAD.public, signature, "plan", b"x")
    with pytest.raises(ProtocolError):
        verify(LEAD.public, signature, "roster", b"x")


def test_a_fingerprint_is_eight_groups_that_differ_by_key():
    assert len(fingerprint(LEAD.public).split()) == 8
    assert fingerprint(LEAD.public) != fingerprint(OTHER.public)


def test_the_digest_of_a_plan_changes_with_every_field(plan):
    assert plan_digest(plan) != plan_digest(msgspec.structs.replace(plan, rounds=17))
    assert len(plan_digest(plan)) == 32
