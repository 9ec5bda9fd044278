"""The journal: what is written is read back as it was, and a file that is not the study's own is refused."""

import sqlite3
from contextlib import contextmanager

import numpy as np
import pytest

from wardround_common.errors import StorageError
from wardround_common.messages import Packet, RoundContext
from wardround_server.journal import Ended, Journal, RoundRow

PLAN = b"p" * 32


def context(attempt=1, number=1):
    return RoundContext(plan_digest=PLAN, round=number, kind="train", attempt=attempt)


def words(*numbers, dtype=np.uint32):
    return np.array(numbers, dtype=dtype)


@contextmanager
def refused(code):
    with pytest.raises(StorageError) as caught:
        yield
    assert caught.value.code == code, caught.value
    assert caught.value.remedy


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


@pytest.fixture
def reopened(path):
    """Opens the file anew, as a coordinator that is started again does."""
    opened = []

    def reopen(**more):
        for journal in opened:
            journal.close()
        opened.append(Journal(path, plan=PLAN, **more))
        return opened[-1]

    yield reopen
    for journal in opened:
        journal.close()


def ended(number, *, digest=b"n" * 32, **more):
    row = RoundRow(number=number, record=b"record", next=digest, accepts={"a": b"A", "b": b"B"})
    return Ended(**({"row": row, "evidence": {}} | more))


def test_a_round_is_read_back_as_it_ended(reopened):
    reopened().end(ended(1, state=words(1, 2, 3), evidence={"c": b"other"}, pause="secagg.fork"))
    journal = reopened()
    assert journal.rounds() == (ended(1).row,)
    assert journal.state().tolist() == [1, 2, 3]
    assert journal.counts() is None
    assert journal.evidence() == {(1, "c"): b"other"}
    assert (journal.paused(), journal.last_pause()) == ("secagg.fork", 1)


def test_a_pause_lasts_until_somebody_ends_it_with_a_note(reopened, path):
    reopened().end(ended(1, pause="secagg.fork"))
    assert reopened().paused() == "secagg.fork"
    reopened().resume("the lead looked at it")
    journal = reopened()
    assert journal.paused() == ""
    assert journal.last_pause() == 1
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT note FROM pause").fetchall() == [("the lead looked at it",)]


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_vectors_longer_than_a_piece_come_back_bit_for_bit(reopened, monkeypatch, dtype):
    monkeypatch.setattr("wardround_server.journal.vectors._PIECE_BYTES", 64)
    vector = np.random.default_rng(1).integers(0, 2**16, 1001).astype(dtype)
    log = reopened().begin(context(), roster=b"r")
    log.take("envelopes", site="a", node=2, packet=Packet(b"masked", vector))
    found = reopened().attempt(1).vector("a")
    assert found.dtype == dtype
    assert np.array_equal(found, vector)


def test_replies_come_back_in_the_order_in_which_they_were_taken(reopened):
    log = reopened().begin(context(), roster=b"r")
    for site, node in (("b", 3), ("a", 2)):
        log.take("start", site=site, node=node, packet=Packet(site.encode()))
    assert not log.is_closed("start")
    log.close("start")
    log = reopened().attempt(1)
    assert [(r.site, r.node, r.packet.envelope) for r in log.replies("start")] == [
        ("b", 3, b"b"),
        ("a", 2, b"a"),
    ]
    assert log.is_closed("start")
    assert not log.is_closed("cohort")


def test_the_last_hello_of_a_site_outlives_its_round(reopened):
    journal = reopened()
    for number in (1, 2):
        log = journal.begin(context(number), roster=b"r")
        log.take("start", site="a", node=6 + number, packet=Packet(b"hello %d" % number))
    journal.end(ended(1))
    voice = reopened().voices()["a"]
    assert (voice.node, voice.hello) == (8, b"hello 2")


def test_when_a_round_ends_what_was_kept_for_it_alone_is_forgotten(reopened, path):
    journal = reopened()
    log = journal.begin(context(), roster=b"r")
    log.take("envelopes", site="a", node=2, packet=Packet(b"masked", words(7)))
    log.close_with_sum({"b": b"masked"}, words(8))
    assert log.total().tolist() == [8]
    journal.end(ended(1, state=words(1)))
    journal = reopened()
    assert journal.attempts(context(number=2)) == ()
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT name FROM vector").fetchall() == [("state",)]
        for table in ("attempt", "reply", "closed"):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_an_attempt_that_failed_keeps_its_members_and_not_its_vectors(reopened):
    log = reopened().begin(context(), roster=b"r")
    log.take("start", site="a", node=2, packet=Packet(b"hello"))
    log.take("envelopes", site="a", node=2, packet=Packet(b"masked", words(7)))
    log.fail("secagg.too_few_uploads", masked=True)
    row = reopened().attempts(context())[0]
    assert (row.number, row.failed, row.masked, row.members) == (1, "secagg.too_few_uploads", True, ("a",))
    assert reopened().attempt(1).vector("a") is None


def test_a_transaction_that_is_stopped_before_it_is_durable_has_not_happened(reopened):
    class Stopped(BaseException):
        pass

    stop, told = "before close 1 start", []

    def hook(name):
        told.append(name)
        if name == stop:
            raise Stopped

    log = reopened(hook=hook).begin(context(), roster=b"r")
    with pytest.raises(Stopped):
        log.close("start")
    assert not reopened().attempt(1).is_closed("start")
    assert told == ["before new journal", "after new journal", "before begin 1", "after begin 1", stop]


def test_the_journal_of_another_plan_is_refused(path):
    Journal(path, plan=PLAN).close()
    with refused("journal.other_plan"):
        Journal(path, plan=b"q" * 32)


def test_a_database_of_another_program_is_refused(path):
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE study (plan BLOB)")
    with refused("journal.other_file"):
        Journal(path, plan=PLAN)


def test_a_file_that_is_no_database_is_refused(path):
    path.write_bytes(b"no database" * 1000)
    with refused("journal.corrupt"):
        Journal(path, plan=PLAN)


def test_a_folder_that_is_missing_is_an_error_with_a_remedy(tmp_path):
    with refused("journal.unusable"):
        Journal(tmp_path / "missing" / "journal.sqlite", plan=PLAN)


def test_a_vector_that_was_altered_or_cut_is_refused(reopened, path):
    reopened().end(ended(1, state=words(*range(100))))
    for change in (
        "UPDATE piece SET data = zeroblob(400)",
        "DELETE FROM piece",
        "UPDATE vector SET type = 'uint16'",
        "UPDATE vector SET size = 99",
    ):
        with sqlite3.connect(path) as db:
            kept = db.execute("SELECT * FROM piece").fetchall(), db.execute("SELECT * FROM vector").fetchall()
            db.execute(change)
        with refused("journal.corrupt"):
            reopened().state()
        with sqlite3.connect(path) as db:
            db.execute("DELETE FROM piece")
            db.execute("DELETE FROM vector")
            db.executemany("INSERT INTO piece VALUES (?, ?, ?)", kept[0])
            db.executemany("INSERT INTO vector VALUES (?, ?, ?, ?)", kept[1])
    assert reopened().state().tolist() == list(range(100))


def test_a_missing_round_is_refused(reopened, path):
    for number in (1, 2):
        reopened().end(ended(number))
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM accept WHERE round = 1")
        db.execute("DELETE FROM round WHERE number = 1")
    with refused("journal.corrupt"):
        reopened().rounds()


def test_attempts_of_another_round_are_refused(reopened):
    reopened().begin(context(), roster=b"r")
    with refused("journal.corrupt"):
        reopened().attempts(context(number=2))


def test_an_exchange_that_does_not_exist_is_refused(reopened, path):
    reopened().begin(context(), roster=b"r").close("start")
    with sqlite3.connect(path) as db:
        db.execute("UPDATE closed SET exchange = 'finish'")
    with refused("journal.corrupt"):
        reopened().attempts(context())


def test_the_file_is_readable_by_its_owner_only(reopened, path):
    reopened()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("node", [0, 1, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_node_is_read_back_by_the_name_that_flower_gave_it(reopened, node):
    log = reopened().begin(context(), roster=b"roster")
    log.take("start", site="a", node=node, packet=Packet(b"hello"))
    journal = reopened()
    assert [one.node for one in journal.attempt(1).replies("start")] == [node]
    assert journal.voices()["a"].node == node
