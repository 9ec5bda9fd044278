"""Rows as people read them."""

from __future__ import annotations

import pytest
from audits import sent

from wardround_common.audit import Certified, Happened, Refused, Taken, TurnedAway
from wardround_common.audit.show import HEADER, line


def cell(row, column, width):
    start = HEADER.index(column) + len(column) - width
    return line(row)[start : start + width].strip()


def refused(**changes):
    fields = {
        "peer": "alder",
        "message": "hello",
        "code": "message.malformed",
        "size": 0,
        "digest": b"d" * 32,
    }
    return Refused(**(fields | changes))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (sent(1), "sent MASKED + vector to coordinator"),
        (sent(1, array_size=0, array_digest=b"", repeated=True), "sent MASKED, again to coordinator"),
        (Taken(size=7, digest=b"d" * 32, peer="alder", message="hello"), "took HELLO of alder"),
        (refused(), "refused HELLO of alder: message.malformed"),
        (refused(message="", peer=""), "refused what came of somebody: message.malformed"),
        (
            TurnedAway(code="guard.flood", site="alder", address="192.0.2.7", count=9),
            "turned away alder at 192.0.2.7: guard.flood, 9 times",
        ),
        (TurnedAway(code="guard.clock", site="elm", seconds=-600), "elm: guard.clock, clock -600 s"),
        (TurnedAway(code="tls.plain_http", address="2001:db8::7"), "turned away 2001:db8::7: tls.plain_http"),
        (TurnedAway(code="tls.slow", count=2), "turned away others: tls.slow, 2 times"),
        (
            Certified(name="alder", fingerprint=b"\xab" * 32, until="2027-01-02T03:04:05.000Z"),
            "certified alder until 2027-01-02: abababababababab",
        ),
        (Happened(event="approved", study="test"), "approved the plan of test"),
        (Happened(event="paused", study="test", code="secagg.fork"), "paused test: secagg.fork"),
        (Happened(event="settled", study="test", note="By Dr. Ash."), "settled test: By Dr. Ash."),
        (Happened(event="resumed", study="test", note="By the lead."), "resumed test: By the lead."),
        (Happened(event="round_ended", cohort=("alder", "elm")), "round ended: accepted, alder elm"),
        (Happened(event="round_ended", code="secagg.bad_sum"), "round ended: secagg.bad_sum"),
    ],
)
def test_a_row_is_a_sentence(row, said):
    assert said in line(row)


@pytest.mark.parametrize(
    ("row", "size"),
    [(sent(1), "561"), (refused(left=17, size=300), "17"), (refused(size=300), "300"), (refused(), "")],
)
def test_bytes_are_those_that_left_and_else_those_that_came(row, size):
    assert cell(row, "bytes", 11) == size


def test_another_attempt_is_told_from_the_first():
    assert "  4 train  " in line(sent(4))
    assert "  4 train /2  " in line(sent(4, attempt=2))


def test_epsilon_is_shown_where_it_is_known():
    assert cell(sent(4), "epsilon", 8) == "1.0000"
    assert cell(sent(4, epsilon=None), "epsilon", 8) == ""
