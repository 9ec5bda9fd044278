"""The durable record: nothing is said twice in two ways, not even after a restart."""

from __future__ import annotations

import sqlite3

import msgspec
import pytest

from wardround_client.secagg import AcceptedRound, ProtocolRecord
from wardround_common.errors import SecAggError, StorageError
from wardround_common.messages import Accept, Opened, RoundContext

STUDY = b"p" * 32
START = b"s" * 32
ROUND = RoundContext(plan_digest=STUDY, round=4, kind="train", attempt=1)


def at(**changes):
    return msgspec.structs.replace(ROUND, **changes)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "protocol.sqlite"


@pytest.fixture
def record(path):
    return ProtocolRecord(path, study=STUDY)


@pytest.fixture(params=["same process", "after a restart"])
def later(request, path, record):
    """The record, as it is or opened again."""

    def reopen():
        if request.param == "same process":
            return record
        record.close()
        return ProtocolRecord(path, study=STUDY)

    return reopen


def code_of(call):
    with pytest.raises(SecAggError) as caught:
        call()
    return caught.value.code


def test_an_attempt_begins_once_and_only_upwards(record, later):
    record.begin(at(attempt=2), start=START)
    record = later()
    assert code_of(lambda: record.begin(at(attempt=2), start=START)) == "secagg.old_attempt"
    assert code_of(lambda: record.begin(at(attempt=1), start=START)) == "secagg.old_attempt"
    assert code_of(lambda: record.begin(at(round=3), start=START)) == "secagg.old_round"
    assert code_of(lambda: record.begin(at(attempt=3, kind="evaluate"), start=START)) == "secagg.other_kind"
    assert code_of(lambda: record.begin(at(attempt=3), start=b"o" * 32)) == "secagg.start_state"
    record.begin(at(attempt=3), start=START)
    record.begin(at(round=5, kind="evaluate"), start=START)


def test_a_masked_vector_leaves_once_per_round(record, later):
    record.begin(ROUND, start=START)
    record.masked(ROUND, transcript=b"t" * 32)
    record = later()
    assert code_of(lambda: record.masked(ROUND, transcript=b"t" * 32)) == "secagg.masked_twice"
    assert code_of(lambda: record.begin(at(attempt=2), start=START)) == "secagg.already_masked"
    record.begin(at(round=5), start=START)
    record.masked(at(round=5), transcript=b"t" * 32)


def test_one_set_is_confirmed_per_attempt(record, later):
    record.begin(ROUND, start=START)
    record.confirm(ROUND, transcript=b"t" * 32, survivors=("a", "b"))
    record = later()
    record.confirm(ROUND, transcript=b"t" * 32, survivors=("a", "b"))
    for other in ({"transcript": b"u" * 32}, {"survivors": ("a", "c")}):
        said = {"transcript": b"t" * 32, "survivors": ("a", "b"), **other}
        assert code_of(lambda said=said: record.confirm(ROUND, **said)) == "secagg.confirmed_otherwise"


def test_a_round_is_opened_once_with_exactly_the_recorded_bytes(record, later):
    record.begin(ROUND, start=START)
    assert record.released(4) is None
    assert record.release(ROUND, b"open") == b"open"
    record = later()
    assert record.release(ROUND, b"open") == b"open"
    assert record.released(4) == b"open"
    assert code_of(lambda: record.release(ROUND, b"other")) == "secagg.opened_otherwise"
    assert code_of(lambda: record.release(at(attempt=2), b"other")) == "secagg.opened_otherwise"


def test_a_round_is_accepted_once(record, later):
    record.begin(ROUND, start=START)
    content = {"start": START, "next_digest": b"n" * 32, "message": b"accept"}
    record.accept(ROUND, **content)
    record = later()
    assert record.accept(ROUND, **content) == b"accept"
    assert (
        code_of(lambda: record.accept(ROUND, **{**content, "message": b"x"})) == "secagg.accepted_otherwise"
    )
    expected = AcceptedRound(round=4, kind="train", start=START, next=b"n" * 32, message=b"accept")
    assert record.last_accept() == expected


@pytest.mark.parametrize(
    "say",
    [
        lambda r: r.masked(ROUND, transcript=b"t" * 32),
        lambda r: r.confirm(ROUND, transcript=b"t" * 32, survivors=("a",)),
        lambda r: r.release(ROUND, b"open"),
        lambda r: r.accept(ROUND, start=START, next_digest=b"n" * 32, message=b"accept"),
    ],
)
@pytest.mark.parametrize("begun", [None, at(attempt=2), at(round=5), at(round=3)])
def test_only_the_attempt_that_began_last_says_anything(record, later, say, begun):
    if begun is not None:
        record.begin(begun, start=START)
    record = later()
    assert code_of(lambda: say(record)) == "secagg.superseded"


def test_training_moves_the_state_and_evaluation_does_not(record):
    assert record.state() is None
    assert record.last_accept() is None
    record.begin(ROUND, start=START)
    record.accept(ROUND, start=START, next_digest=b"n" * 32, message=b"1")
    assert record.state() == b"n" * 32
    evaluation = at(round=5, kind="evaluate")
    assert code_of(lambda: record.begin(evaluation, start=START)) == "secagg.start_state"
    record.begin(evaluation, start=b"n" * 32)
    record.accept(evaluation, start=b"n" * 32, next_digest=b"c" * 32, message=b"2")
    assert record.state() == b"n" * 32
    record.begin(at(round=6), start=b"n" * 32)


def theirs(next_digest, *, sender="b", **context):
    body = Accept(("a", sender), START, next_digest)
    return Opened(sender, at(**context), body, b"accept of " + sender.encode())


def test_another_result_of_an_accepted_round_is_kept_and_stops_the_study(record, later):
    record.begin(ROUND, start=START)
    record.accept(ROUND, start=START, next_digest=b"n" * 32, message=b"mine")
    record.compare(theirs(b"n" * 32))
    record.compare(theirs(b"x" * 32, round=3))
    assert record.evidence() == ()
    assert code_of(lambda: record.compare(theirs(b"x" * 32))) == "secagg.fork"
    assert code_of(lambda: record.compare(theirs(b"x" * 32))) == "secagg.fork"
    record = later()
    assert record.evidence() == (b"accept of b",)
    assert code_of(lambda: record.begin(at(round=5), start=b"n" * 32)) == "secagg.fork"
    assert code_of(lambda: record.compare(theirs(b"n" * 32, sender="c", kind="evaluate"))) == "secagg.fork"
    assert record.evidence() == (b"accept of b", b"accept of c")


def test_studies_in_one_file_do_not_meet(path, record):
    record.begin(ROUND, start=START)
    other = ProtocolRecord(path, study=b"q" * 32)
    other.begin(RoundContext(plan_digest=b"q" * 32, round=1, kind="evaluate", attempt=1), start=b"o" * 32)
    record.masked(ROUND, transcript=b"t" * 32)


def test_a_refused_statement_leaves_no_trace(record):
    record.begin(ROUND, start=START)
    code_of(lambda: record.begin(at(round=3), start=START))
    record.begin(at(attempt=2), start=START)


@pytest.mark.parametrize("statement", ["DELETE FROM begun", "UPDATE begun SET attempt = 0"])
def test_rows_are_only_added(path, record, statement):
    record.begin(ROUND, start=START)
    with pytest.raises(sqlite3.IntegrityError, match="only added"):
        sqlite3.connect(path).execute(statement)


def test_every_commit_reaches_the_disk(record):
    assert record._db.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert record._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_a_file_that_cannot_be_used_is_a_storage_error(tmp_path, path):
    with pytest.raises(StorageError):
        ProtocolRecord(tmp_path / "missing" / "protocol.sqlite", study=STUDY)
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StorageError):
        ProtocolRecord(path, study=STUDY)
    closed = ProtocolRecord(":memory:", study=STUDY)
    closed.close()
    with pytest.raises(StorageError):
        closed.last_accept()
