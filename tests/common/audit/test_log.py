"""Writing an audit log: durable, append-only, and refused where it cannot go on from what there was."""

from __future__ import annotations

import datetime
import shutil
import sqlite3
from contextlib import closing

import msgspec
import pytest
from audits import OWNER, STRANGER, contents, entries, open_log, rows, sent, tampering, write_log

from wardround_common.audit import Happened, Opened, Refused, clean_code, clean_note, verify
from wardround_common.audit.rows import NOTE_LIMIT, ROW_LIMIT_BYTES
from wardround_common.errors import AuditError
from wardround_common.messages import Signer


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.sqlite"


def refused(call):
    with pytest.raises(AuditError) as caught:
        call()
    assert caught.value.remedy
    return caught.value.code


def test_rows_are_there_for_another_process_when_append_returns(path):
    moment = datetime.datetime(
        2026, 3, 1, 8, 30, 0, 123456, tzinfo=datetime.timezone(datetime.timedelta(hours=2))
    )
    with closing(open_log(path, clock=lambda: moment)) as log:
        log.append(sent(3), sent(4))
        first, *rest = contents(path)
    assert isinstance(first, Opened)
    assert (first.party, first.key) == ("birch", OWNER.public)
    assert [(row.round, row.at) for row in rest] == [(3, "2026-03-01T06:30:00.123Z"), (4, rest[0].at)]


def test_only_the_owner_may_read_the_file(path):
    write_log(path, 1)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("statement", ["UPDATE entry SET body = x'00'", "DELETE FROM entry"])
def test_rows_are_only_added(path, statement):
    write_log(path, 3)
    with closing(sqlite3.connect(path)) as database, pytest.raises(sqlite3.IntegrityError):
        database.execute(statement)


def test_a_log_goes_on_where_it_ended(path):
    write_log(path, 3, head=True)
    write_log(path, 3, head=True)
    assert verify(path, OWNER.public).rows == 7
    assert [type(row) for row in contents(path)].count(Opened) == 1


def test_two_writers_take_turns(path):
    with closing(open_log(path)) as one, closing(open_log(path)) as other:
        for number in range(5):
            one.append(sent(number))
            other.append(sent(number))
    assert verify(path, OWNER.public).rows == 11


def test_a_log_of_another_key_is_not_gone_on_with(path):
    write_log(path, 3)
    assert refused(lambda: open_log(path, signer=Signer("birch", STRANGER))) == "audit.broken"


def test_a_log_whose_newest_row_was_changed_is_not_gone_on_with(path):
    write_log(path, 3)
    with tampering(path) as database:
        database.execute("UPDATE entry SET signature = zeroblob(64) WHERE seq = 4")
    assert refused(lambda: open_log(path)) == "audit.broken"


def test_an_older_copy_put_back_is_noticed(path):
    write_log(path, 3, head=True)
    copy = shutil.copy(path, path.with_name("copy"))
    write_log(path, 3, head=True)
    shutil.copy(copy, path)
    assert refused(lambda: open_log(path, head=True)) == "audit.rolled_back"
    assert not verify(path, OWNER.public, head=bytes.fromhex(path.with_name("audit.head").read_text())).good


def test_a_log_that_was_removed_is_noticed(path):
    write_log(path, 3, head=True)
    path.unlink()
    assert refused(lambda: open_log(path, head=True)) == "audit.rolled_back"


def test_an_older_head_file_after_a_crash_is_accepted(path):
    write_log(path, 3, head=True)
    old = path.with_name("audit.head").read_text()
    write_log(path, 1, head=True)
    path.with_name("audit.head").write_text(old)
    open_log(path, head=True).close()


@pytest.mark.parametrize("text", ["", "no head", "ab" * 31, "ab" * 33, "ä"])
def test_a_damaged_head_file_is_refused(path, text):
    write_log(path, 1, head=True)
    path.with_name("audit.head").write_text(text)
    assert refused(lambda: open_log(path, head=True)) == "audit.head_file"


def test_a_file_of_something_else_is_not_written_into(path):
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE t (a)")
    before = path.read_bytes()
    assert refused(lambda: open_log(path)) == "audit.other_file"
    assert path.read_bytes() == before


def test_all_entries_of_one_call_are_written_or_none(path):
    with closing(open_log(path)) as log:
        too_long = Happened(event="settled", note="x" * (NOTE_LIMIT + 1))
        assert refused(lambda: log.append(sent(1), too_long)) == "audit.unreadable"
    assert verify(path, OWNER.public).rows == 1


def test_the_newest_rows_are_given_oldest_first(path):
    write_log(path, 9)
    with closing(open_log(path)) as log:
        everything = contents(path)
        for count in (0, 1, 4, 9, 10, 11):
            assert log.newest(count) == everything[len(everything) - min(count, 10) :]


def test_the_longest_row_is_within_the_limit(path):
    longest = Happened(
        event="settled", note="\N{MUSICAL SYMBOL G CLEF}" * NOTE_LIMIT, cohort=("x" * 40,) * 100
    )
    with closing(open_log(path)) as log:
        log.append(longest)
    assert max(len(row.body) for row in rows(path)) < ROW_LIMIT_BYTES


def test_what_comes_from_outside_has_no_control_characters():
    assert clean_code("secagg.start_state") == "secagg.start_state"
    assert {clean_code(code) for code in ("", "a b", "\x1b[2J", "é", "x" * 61, "a\n")} == {"unknown"}
    assert clean_note("one\ntwo \x1b[2J\x9b \u202e") == "one two  [2J   "
    assert len(clean_note("x" * 5000)) == NOTE_LIMIT


def test_a_row_with_control_characters_cannot_be_written(path):
    with closing(open_log(path)) as log:
        for bad in (
            Happened(event="settled", note="\x1b[2J"),
            Refused(code="\x1b", size=0, digest=b"d" * 32),
            sent(1, study="Two words"),
            sent(1, epsilon=-1.0),
            sent(1, digest=b"short"),
        ):
            assert refused(lambda bad=bad: log.append(bad)) == "audit.unreadable"


def test_what_is_written_is_what_is_read(path):
    write_log(path, 12)
    written = entries(12)
    for row, entry in zip(contents(path)[1:], written, strict=True):
        assert row == msgspec.structs.replace(entry, at=row.at)
