"""The durable record: nothing is said twice in two ways, not even after a restart."""

from __future__ import annotations

import sqlite3

import msgspec
import pytest
from keys import KEY

from wardround_client.scratch import Scratch
from wardround_client.sealing import Sealer
from wardround_client.secagg import AcceptedRound, ProtocolRecord, Vault
from wardround_client.secagg.rows import BegunAttempt, SentUpload
from wardround_common.errors import SecAggError, StorageError
from wardround_common.messages import Accept, Opened, RoundContext
from wardround_common.secagg.channel import HeldShares

STUDY = b"p" * 32
START = b"s" * 32
NEXT = b"n" * 32
ROUND = RoundContext(plan_digest=STUDY, round=4, kind="train", attempt=1)
COHORT = ("a", "b", "c", "d")
UPLOAD = SentUpload(cohort=COHORT, t=3, hellos=(b"h",) * 4, deals=(b"d",) * 4, message=b"masked")
HELD = {name: HeldShares(b"k" * 33, name.encode() * 33) for name in COHORT}


def at(**changes):
    return msgspec.structs.replace(ROUND, **changes)


def begin(record, context=ROUND, *, start=START):
    record.begin(context, start=start, roster=b"roster")


def mask(record, context=ROUND, *, upload=UPLOAD, aborts=None):
    record.masked(context, upload, held=HELD, aborts=aborts or {}, site="a", max_colluders=1)


def accept(record, context=ROUND, *, start=START, next_digest=NEXT, message=b"accept"):
    return record.accept(context, start=start, next_digest=next_digest, message=message)


def vault_of(key):
    return Vault(Sealer(key, b"the site"))


def open_record(path, *, study=STUDY, key=b"v" * 32, tip=None):
    return ProtocolRecord(path, study=study, vault=vault_of(key), tip=tip)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "protocol.sqlite"


@pytest.fixture
def record(path):
    return open_record(path)


@pytest.fixture(params=["same process", "after a restart"])
def later(request, path, record):
    """The record, as it is or opened again."""

    def reopen():
        if request.param == "same process":
            return record
        record.close()
        return open_record(path)

    return reopen


def code_of(call):
    with pytest.raises(SecAggError) as caught:
        call()
    return caught.value.code


def test_an_attempt_begins_once_and_only_upwards(record, later):
    begin(record, at(attempt=2))
    record = later()
    assert record.begun() == BegunAttempt(context=at(attempt=2), start=START, roster=b"roster")
    for context, code in (
        (at(attempt=2), "old_attempt"),
        (at(attempt=1), "old_attempt"),
        (at(round=3), "old_round"),
        (at(attempt=3, kind="evaluate"), "other_kind"),
    ):
        assert code_of(lambda context=context: begin(record, context)) == f"secagg.{code}"
    assert code_of(lambda: begin(record, at(attempt=3), start=b"o" * 32)) == "secagg.other_start"
    begin(record, at(attempt=3))
    begin(record, at(round=5, kind="evaluate"))


def test_a_masked_vector_leaves_once_per_attempt(record, later):
    begin(record)
    mask(record)
    record = later()
    assert code_of(lambda: mask(record)) == "secagg.masked_twice"
    assert record.sent(ROUND) == UPLOAD
    assert record.sent(at(attempt=2)) is None


def test_another_attempt_is_masked_only_when_enough_of_every_earlier_cohort_aborted(record, later):
    begin(record)
    mask(record)
    begin(record, at(attempt=2))
    record = later()
    enough = {"a", "b", "c"}  # n - t + 1 + c = 3
    for aborts in ({}, {1: {"a", "b"}}, {1: {"b", "c", "d"}}, {1: {"a", "b", "x"}}):
        refused = code_of(lambda aborts=aborts: mask(record, at(attempt=2), aborts=aborts))
        assert refused == "secagg.not_aborted"
    mask(record, at(attempt=2), aborts={1: enough})
    begin(record, at(attempt=3))
    assert code_of(lambda: mask(record, at(attempt=3), aborts={2: enough})) == "secagg.aborted_elsewhere"
    mask(record, at(attempt=3), aborts={1: enough, 2: enough})
    begin(record, at(round=5))
    mask(record, at(round=5))


def test_nothing_more_is_masked_or_begun_in_a_round_that_this_site_opened(record, later):
    begin(record)
    mask(record)
    record.release(ROUND, b"open")
    record = later()
    assert code_of(lambda: begin(record, at(attempt=2))) == "secagg.already_opened"
    begin(record, at(round=5))


def test_one_set_is_confirmed_per_attempt(record, later):
    begin(record)
    assert record.confirmed(ROUND) is None
    record.confirm(ROUND, (b"1", b"2"))
    record = later()
    record.confirm(ROUND, (b"1", b"2"))
    assert record.confirmed(ROUND) == (b"1", b"2")
    assert code_of(lambda: record.confirm(ROUND, (b"1", b"3"))) == "secagg.confirmed_otherwise"


def test_a_round_is_opened_once_with_exactly_the_recorded_bytes(record, later):
    begin(record)
    assert record.released(ROUND) is None
    assert record.release(ROUND, b"open") == b"open"
    record = later()
    assert record.release(ROUND, b"open") == b"open"
    assert record.released(ROUND) == b"open"
    assert code_of(lambda: record.release(ROUND, b"other")) == "secagg.opened_otherwise"
    assert code_of(lambda: record.release(at(attempt=2), b"other")) == "secagg.opened_otherwise"


def test_an_aborted_attempt_is_never_masked_confirmed_opened_or_begun(record, later):
    begin(record)
    assert record.abort(ROUND, b"abort") == b"abort"
    record.abort(at(attempt=2), b"abort of one that has not come yet")
    record = later()
    assert record.abort(ROUND, b"abort") == b"abort"
    assert code_of(lambda: mask(record)) == "secagg.aborted"
    assert code_of(lambda: record.confirm(ROUND, (b"1",))) == "secagg.aborted"
    assert code_of(lambda: record.release(ROUND, b"open")) == "secagg.aborted"
    assert code_of(lambda: begin(record, at(attempt=2))) == "secagg.aborted"
    begin(record, at(attempt=3))


def test_what_was_opened_or_accepted_is_not_aborted(record, later):
    begin(record)
    record.release(ROUND, b"open")
    record = later()
    assert code_of(lambda: record.abort(ROUND, b"abort")) == "secagg.abort_after_open"
    assert code_of(lambda: record.abort(at(attempt=2), b"abort")) == "secagg.abort_after_open"
    accept(record)
    begin(record, at(round=5), start=NEXT)
    accept(record, at(round=5), start=NEXT, message=b"2")
    assert code_of(lambda: record.abort(at(round=3), b"abort")) == "secagg.round_closed"


def test_a_round_is_accepted_once_and_not_begun_again(record, later):
    begin(record)
    accept(record)
    record = later()
    assert accept(record) == b"accept"
    assert code_of(lambda: accept(record, message=b"x")) == "secagg.accepted_otherwise"
    expected = AcceptedRound(round=4, kind="train", attempt=1, start=START, next=NEXT, message=b"accept")
    assert record.accepted(4) == expected
    assert code_of(lambda: begin(record, at(attempt=2), start=NEXT)) == "secagg.round_closed"


@pytest.mark.parametrize(
    "say",
    [
        mask,
        lambda r: r.confirm(ROUND, (b"1",)),
        lambda r: r.release(ROUND, b"open"),
        accept,
    ],
)
@pytest.mark.parametrize("begun", [None, at(attempt=2), at(round=5), at(round=3)])
def test_only_the_attempt_that_began_last_says_anything(record, later, say, begun):
    if begun is not None:
        begin(record, begun)
    record = later()
    assert code_of(lambda: say(record)) == "secagg.superseded"


def test_training_moves_the_state_and_evaluation_does_not(record):
    assert record.state() is None
    assert record.last_round() == 0
    begin(record)
    accept(record)
    assert record.state() == NEXT
    evaluation = at(round=5, kind="evaluate")
    assert code_of(lambda: begin(record, evaluation)) == "secagg.start_state"
    begin(record, evaluation, start=NEXT)
    accept(record, evaluation, start=NEXT, next_digest=b"c" * 32, message=b"2")
    assert record.state() == NEXT
    assert record.last_round() == 5
    begin(record, at(round=6), start=NEXT)


def test_an_adopted_state_is_the_one_to_start_from_until_a_later_round_is_accepted(record, later):
    begin(record)
    accept(record)
    record.adopt(9, state=b"9" * 32, links=((b"accept",),))
    record = later()
    assert (record.state(), record.last_round()) == (b"9" * 32, 9)
    assert code_of(lambda: begin(record, at(round=9), start=b"9" * 32)) == "secagg.round_closed"
    assert code_of(lambda: begin(record, at(round=10), start=NEXT)) == "secagg.start_state"
    begin(record, at(round=10), start=b"9" * 32)
    accept(record, at(round=10), start=b"9" * 32, next_digest=b"t" * 32, message=b"2")
    assert (record.state(), record.last_round()) == (b"t" * 32, 10)


def theirs(next_digest, *, sender="b", **context):
    body = Accept(("a", sender), START, next_digest)
    return Opened(sender, at(**context), body, b"accept of " + sender.encode())


def test_another_result_of_an_accepted_round_is_kept_and_stops_the_study(record, later):
    begin(record)
    accept(record, message=b"mine")
    record.compare(theirs(NEXT))
    record.compare(theirs(b"x" * 32, round=3))
    assert record.evidence() == ()
    assert code_of(lambda: record.compare(theirs(b"x" * 32))) == "secagg.fork"
    assert code_of(lambda: record.compare(theirs(b"x" * 32))) == "secagg.fork"
    record = later()
    assert record.evidence() == (b"accept of b",)
    assert code_of(lambda: begin(record, at(round=5), start=NEXT)) == "secagg.fork"
    assert code_of(lambda: record.compare(theirs(NEXT, sender="c", kind="evaluate"))) == "secagg.fork"
    assert record.evidence() == (b"accept of b", b"accept of c")


def test_a_person_settles_a_fork_and_the_evidence_stays(record, later):
    begin(record)
    accept(record)
    code_of(lambda: record.compare(theirs(b"x" * 32)))
    record.settle("Both sites were asked; ours is right.")
    record = later()
    record.compare(theirs(b"x" * 32))  # the coordinator may show it again
    begin(record, at(round=5), start=NEXT)
    assert record.evidence() == (b"accept of b",)
    accept(record, at(round=5), start=NEXT, message=b"2")
    assert code_of(lambda: record.compare(theirs(b"x" * 32, round=5))) == "secagg.fork"


def test_two_void_rounds_in_a_row_stop_the_study_until_a_person_settles_it(record, later):
    begin(record, at(round=1))
    accept(record, at(round=1))
    begin(record, at(round=2), start=NEXT)
    begin(record, at(round=3), start=NEXT)
    record = later()
    assert code_of(lambda: begin(record, at(round=4), start=NEXT)) == "secagg.two_void_rounds"
    record.settle("The network was down.")
    record = later()
    begin(record, at(round=4), start=NEXT)
    begin(record, at(round=5), start=NEXT)
    assert code_of(lambda: begin(record, at(round=6), start=NEXT)) == "secagg.two_void_rounds"


@pytest.mark.parametrize("closed_by", ["accept", "adopt"])
def test_void_rounds_with_an_accepted_one_between_them_stop_nothing(record, closed_by):
    begin(record, at(round=1))
    begin(record, at(round=2))
    if closed_by == "accept":
        accept(record, at(round=2))
    else:
        record.adopt(2, state=NEXT, links=())
    begin(record, at(round=3), start=NEXT)
    begin(record, at(round=4), start=NEXT)


def test_shares_can_be_read_again_in_their_attempt_only(record, later):
    begin(record)
    mask(record)
    record = later()
    assert record.held(ROUND) == HELD
    with pytest.raises(StorageError):
        record.held(at(attempt=2))


@pytest.mark.parametrize(
    "end",
    [
        lambda r: r.abort(ROUND, b"abort"),
        lambda r: r.release(ROUND, b"open"),
        accept,
        lambda r: begin(r, at(attempt=2)),
        lambda r: begin(r, at(round=5)),
    ],
)
def test_shares_are_erased_when_their_attempt_is_over(path, record, end):
    begin(record)
    mask(record)
    sealed = sqlite3.connect(path).execute("SELECT sealed FROM held").fetchone()[0]
    assert sealed[12:] in path.read_bytes()
    end(record)
    with pytest.raises(StorageError) as caught:
        record.held(ROUND)
    assert caught.value.code == "storage.shares_lost"
    record.close()
    left = path.read_bytes()
    assert all(sealed[place : place + 16] not in left for place in range(12, len(sealed) - 16, 16))


def test_shares_lie_in_the_file_only_sealed_and_open_under_their_key_and_attempt_alone(path, record):
    begin(record)
    mask(record)
    assert b"b" * 33 not in path.read_bytes()
    for other in (open_record(path, key=b"w" * 32).held,):
        with pytest.raises(StorageError):
            other(ROUND)
    vault = vault_of(b"v" * 32)
    sealed = vault.seal(HELD, ROUND)
    for lie in (sealed[:-1] + bytes([sealed[-1] ^ 1]), b""):
        with pytest.raises(StorageError):
            vault.open(lie, ROUND)
    with pytest.raises(StorageError):
        vault.open(sealed, at(attempt=2))


def test_the_newest_roster_is_remembered(record, later):
    assert record.newest_roster() == (0, b"")
    record.see_roster(7, b"seven")
    record.see_roster(9, b"nine")
    record.see_roster(9, b"nine")
    record = later()
    assert record.newest_roster() == (9, b"nine")


def test_a_record_that_was_restored_from_a_backup_is_noticed(tmp_path, path):
    scratch = Scratch(tmp_path / "scratch.sqlite", key=KEY)
    record = open_record(path, tip=scratch.tip(STUDY))
    begin(record)
    mask(record)
    record.close()
    backup = path.read_bytes()
    record = open_record(path, tip=scratch.tip(STUDY))  # nothing is missing
    record.confirm(ROUND, (b"1",))
    record.close()
    path.write_bytes(backup)
    with pytest.raises(StorageError) as caught:
        open_record(path, tip=scratch.tip(STUDY))
    assert caught.value.code == "storage.record_rolled_back"
    open_record(path, study=b"q" * 32, tip=scratch.tip(b"q" * 32))
    scratch.close()


def test_studies_in_one_file_do_not_meet(path, record):
    begin(record)
    other = open_record(path, study=b"q" * 32)
    begin(other, RoundContext(plan_digest=b"q" * 32, round=1, kind="evaluate", attempt=1))
    mask(record)
    assert other.sent(ROUND) is None
    begin(other, RoundContext(plan_digest=b"q" * 32, round=2, kind="train", attempt=1))
    assert record.held(ROUND) == HELD


def test_a_refused_statement_leaves_no_trace(record):
    begin(record)
    code_of(lambda: begin(record, at(round=3)))
    begin(record, at(attempt=2))


@pytest.mark.parametrize("statement", ["DELETE FROM begun", "UPDATE begun SET attempt = 0"])
def test_rows_are_only_added(path, record, statement):
    begin(record)
    with pytest.raises(sqlite3.IntegrityError, match="only added"):
        sqlite3.connect(path).execute(statement)


def test_every_commit_reaches_the_disk_and_stands_in_the_one_file(record):
    database = record._tables._db
    assert database.execute("PRAGMA synchronous").fetchone()[0] == 3
    assert database.execute("PRAGMA journal_mode").fetchone()[0] == "delete"
    assert database.execute("PRAGMA secure_delete").fetchone()[0] == 1


def test_a_file_that_cannot_be_used_is_a_storage_error(tmp_path, path):
    with pytest.raises(StorageError):
        open_record(tmp_path / "missing" / "protocol.sqlite")
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StorageError):
        open_record(path)
    closed = open_record(":memory:")
    closed.close()
    with pytest.raises(StorageError):
        closed.state()
