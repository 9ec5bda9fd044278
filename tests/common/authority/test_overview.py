import datetime

import pytest

from wardround_common.authority.members import Membership
from wardround_common.authority.overview import Overview, describe, status
from wardround_common.identity import SigningKey

AUTHORITY = SigningKey.from_seed(bytes([1]) * 32)
ISSUED = datetime.date(2026, 5, 10)


@pytest.fixture
def roster(cards):
    return Membership().admit(cards, replace=(), authority_key=AUTHORITY.public).roster(today=ISSUED, days=30)


@pytest.mark.parametrize(
    ("day", "expected", "words"),
    [
        (-1, ("not yet valid", 31), "clock"),
        (0, ("current", 30), "30 days left"),
        (22, ("current", 8), "8 days left"),
        (23, ("expiring", 7), "EXPIRES in 7 days"),
        (29, ("expiring", 1), "EXPIRES in 1 day:"),
        (30, ("expiring", 0), "EXPIRES today"),
        (31, ("expired", -1), "EXPIRED 1 day ago"),
    ],
)
def test_expiry_is_announced_from_seven_days_before(roster, day, expected, words):
    today = ISSUED + datetime.timedelta(day)
    assert status(roster, today) == expected
    assert words in describe(roster, today)
    seen = Overview(authority=AUTHORITY.public, roster=roster, today=today)
    assert words in seen.as_text()
    assert seen.as_data()["roster"]["status"] == expected[0]
