"""Which ACCEPTs START shows to whom."""

import pytest
from msgspec import structs

from wardround_common.errors import StorageError
from wardround_common.identity import SigningKey
from wardround_common.messages import MAX_LINKS, Accept, RoundContext, Signer, Wire
from wardround_common.trust import Member, Roster
from wardround_server.history import History
from wardround_server.journal import RoundRow

KEYS = {name: SigningKey.from_seed(name.encode() * 32) for name in "abc"}
ROSTER = Roster(
    version=1,
    issued="2026-01-01",
    expires="2026-01-31",
    sites=tuple(Member(name, key.public) for name, key in KEYS.items()),
    lead=KEYS["a"].public,
    coordinator=KEYS["a"].public,
)


def digest(number):
    return bytes([number % 256]) * 32


def accept(number, site, *, outcome=None):
    context = RoundContext(plan_digest=b"p" * 32, round=number, kind="train", attempt=1)
    body = Accept(("a", "b", "c"), digest(number - 1), outcome or digest(number))
    wire = Wire(context, ROSTER, frozenset(KEYS))
    return wire.seal(body, transcript=b"t" * 32, signer=Signer(site, KEYS[site]))


def row(number, sites, **more):
    accepts = {site: accept(number, site) for site in sites}
    fields = {"number": number, "record": b"", "next": digest(number), "accepts": accepts}
    return RoundRow(**(fields | more))


def void(number):
    return RoundRow(number=number, record=b"", next=None, accepts={})


def test_before_the_first_accepted_round_there_is_nothing_to_tell():
    for history in (History([]), History([void(1)])):
        assert history.accepts(ROSTER) == ()
        assert history.missed("a", ROSTER) == history.missed(None, ROSTER) == ()


def test_a_site_that_accepted_the_last_round_missed_nothing():
    history = History([row(1, "abc"), void(2), row(3, "ac"), void(4)])
    assert history.missed("a", ROSTER) == ()
    assert history.accepts(ROSTER) == (accept(3, "a"), accept(3, "c"))


def test_a_site_gets_the_rounds_after_the_last_that_it_accepted_oldest_first():
    history = History([row(1, "abc"), row(2, "ac"), void(3), row(4, "bc"), row(5, "ac")])
    assert history.missed("b", ROSTER) == ((accept(5, "a"), accept(5, "c")),)
    history.add(row(6, "c"))
    assert history.missed("a", ROSTER) == ((accept(6, "c"),),)
    assert [len(link) for link in history.missed("b", ROSTER)] == [2, 1]
    assert [len(link) for link in history.missed(None, ROSTER)] == [3, 2, 2, 2, 1]
    assert history.missed("never-there", ROSTER) == history.missed(None, ROSTER)


def test_of_more_rounds_than_a_start_can_link_the_newest_are_linked():
    history = History(row(number, "a") for number in range(1, MAX_LINKS + 11))
    links = history.missed(None, ROSTER)
    assert len(links) == MAX_LINKS
    assert links[0] == (accept(11, "a"),)


@pytest.mark.parametrize(
    "members",
    [ROSTER.sites[:2], (*ROSTER.sites[:2], Member("c", SigningKey.from_seed(b"d" * 32).public))],
    ids=["left out", "with another key"],
)
def test_what_a_site_said_under_another_roster_is_not_shown(members):
    history = History([row(1, "abc"), row(2, "bc")])
    later = structs.replace(ROSTER, version=2, sites=members)
    assert history.accepts(later) == (accept(2, "b"),)
    assert history.missed(None, later) == ((accept(1, "a"), accept(1, "b")), (accept(2, "b"),))


@pytest.mark.parametrize(
    "bad",
    [
        {"accepts": {"a": b"\x00"}},
        {"accepts": {"b": accept(1, "a")}},
        {"accepts": {"a": accept(2, "a")}},
        {"accepts": {"a": accept(1, "a", outcome=b"x" * 32)}},
    ],
)
def test_an_accept_that_is_not_one_of_its_round_is_refused(bad):
    with pytest.raises(StorageError) as caught:
        History([row(1, "abc", **bad)])
    assert caught.value.code == "journal.corrupt"
