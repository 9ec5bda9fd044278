"""Somebody who can write to the file, but has not the key, changes a log: it shows."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tracemalloc
from contextlib import closing

import msgspec
import pytest
from audits import (
    OWNER,
    STRANGER,
    contents,
    forged,
    insert,
    open_log,
    rows,
    sent,
    tampering,
    write_log,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from wardround_common.audit import verify
from wardround_common.audit.chain import Row
from wardround_common.audit.check import PAGE_ROWS, read
from wardround_common.canonical import digest
from wardround_common.errors import AuditError
from wardround_common.messages import Signer

ROWS = 9


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "audit.sqlite"
    write_log(path, ROWS - 1)
    return path


@pytest.fixture
def log(whole, tmp_path):
    return shutil.copy(whole, tmp_path / "audit.sqlite")


def bad_row(path, key=OWNER.public, **options):
    verdict = verify(path, key, **options)
    assert bool(verdict.reason) == (verdict.bad_row is not None) == (not verdict.good)
    return verdict.bad_row


def test_a_log_that_nobody_touched_is_in_order(log):
    verdict = verify(log, OWNER.public)
    assert (verdict.bad_row, verdict.rows, verdict.party) == (None, ROWS, "birch")
    assert verdict.head == rows(log)[-1].hash
    assert verdict.first <= verdict.last


@settings(max_examples=200, deadline=None)
@given(
    seq=st.integers(1, ROWS),
    field=st.sampled_from(["body", "hash", "signature"]),
    where=st.integers(0, 10_000),
    flip=st.integers(1, 255),
)
def test_one_flipped_byte_of_any_field_of_any_row_is_found_at_its_row(
    whole, tmp_path_factory, seq, field, where, flip
):
    path = shutil.copy(whole, tmp_path_factory.mktemp("flip") / "audit.sqlite")
    value = bytearray(getattr(rows(path)[seq - 1], field))
    value[where % len(value)] ^= flip
    with tampering(path) as database:
        database.execute(f"UPDATE entry SET {field} = ? WHERE seq = ?", (bytes(value), seq))
    assert bad_row(path) == seq


@settings(max_examples=300, deadline=None)
@given(where=st.integers(0, 2**31), flip=st.integers(1, 255))
def test_one_flipped_byte_anywhere_in_the_file_changes_no_row_that_is_called_good(
    whole, tmp_path_factory, where, flip
):
    data = bytearray(whole.read_bytes())
    data[where % len(data)] ^= flip
    path = tmp_path_factory.mktemp("flip") / "audit.sqlite"
    path.write_bytes(data)
    head = rows(whole)[-1].hash
    with contextlib.suppress(AuditError):  # it is no audit log any more
        if verify(path, OWNER.public, head=head).good:  # the byte was in free space, or in SQLite's own
            assert contents(path) == contents(whole)


@pytest.mark.parametrize("seq", [1, 2, 5, ROWS - 1])
def test_a_removed_row_is_found(log, seq):
    with tampering(log) as database:
        database.execute("DELETE FROM entry WHERE seq = ?", (seq,))
    assert bad_row(log) == seq


@pytest.mark.parametrize("seq", [1, 2, 5, ROWS - 1])
def test_a_removed_row_is_found_where_later_ones_moved_up(log, seq):
    with tampering(log) as database:
        database.execute("DELETE FROM entry WHERE seq = ?", (seq,))
        database.execute("UPDATE entry SET seq = seq - 1 WHERE seq > ?", (seq,))
    assert bad_row(log) == seq


def test_two_rows_that_changed_places_are_found(log):
    with tampering(log) as database:
        for old, new in ((4, -1), (6, 4), (-1, 6)):
            database.execute("UPDATE entry SET seq = ? WHERE seq = ?", (new, old))
    assert bad_row(log) == 4


@pytest.mark.parametrize("seq", [0, -1, -(2**63)])
def test_a_row_before_the_first_is_found(log, seq):
    first = rows(log)[0]
    with tampering(log) as database:
        insert(database, numbered(first, seq=seq))
    assert bad_row(log) == 1


def test_an_inserted_row_is_found(log):
    before = rows(log)
    new = forged(sent(77), after=before[3], key=STRANGER)
    with tampering(log) as database:
        database.execute("UPDATE entry SET seq = -seq WHERE seq > 4")
        database.execute("UPDATE entry SET seq = 1 - seq WHERE seq < 0")
        insert(database, new)
    assert bad_row(log) == 5


def test_a_chain_that_was_computed_anew_from_a_changed_row_is_found_by_its_signatures(log):
    """Hashes need no key: whoever changes a row can make the chain fit again, but not the signatures."""
    before = rows(log)
    changed = [*before[:4]]
    for old in before[4:]:
        body = old.body if old.seq > 5 else before[1].body
        hash_ = digest("audit row", old.seq.to_bytes(8, "big"), changed[-1].hash, body)
        changed.append(Row(old.seq, body, hash_, old.signature))
    replace_all(log, changed)
    assert bad_row(log) == 5


def test_a_row_that_was_signed_again_with_another_key_is_found(log):
    before = rows(log)
    replace_all(log, [*before[:-1], forged(sent(77), after=before[-2], key=STRANGER)])
    assert bad_row(log) == ROWS


def test_rows_of_another_log_of_the_same_party_do_not_fit(log, tmp_path):
    write_log(tmp_path / "other.sqlite", ROWS - 1)
    replace_all(log, [*rows(log)[:5], *rows(tmp_path / "other.sqlite")[5:]])
    assert bad_row(log) == 6


def test_a_log_that_another_key_wrote_is_not_this_partys(log, tmp_path):
    path = tmp_path / "other.sqlite"
    with closing(open_log(path, signer=signer_of(STRANGER))) as other:
        other.append(sent(1))
    assert bad_row(path) == 1
    assert bad_row(path, STRANGER.public) is None
    assert bad_row(log, STRANGER.public) == 1


def test_a_first_row_that_names_another_key_than_it_is_signed_with_is_refused(log):
    opened = msgspec.structs.replace(contents(log)[0], key=STRANGER.public)
    replace_all(log, [forged(opened, after=Row(0, b"", bytes(32), b""), key=OWNER)])
    assert bad_row(log) == 1


def test_a_log_has_one_beginning(log):
    first = contents(log)[0]
    replace_all(log, [forged(sent(1), after=Row(0, b"", bytes(32), b""), key=OWNER)])
    assert bad_row(log) == 1
    write = rows(log)
    replace_all(log, [forged(first, after=Row(0, b"", bytes(32), b""), key=OWNER)])
    replace_all(log, [*rows(log), forged(first, after=rows(log)[0], key=OWNER)])
    assert (bad_row(log), len(write)) == (2, 1)


def test_rows_missing_at_the_end_show_by_a_remembered_head_and_not_without(log):
    head = rows(log)[-1].hash
    assert bad_row(log, head=head) is None
    with tampering(log) as database:
        database.execute("DELETE FROM entry WHERE seq > ?", (ROWS - 2,))
    assert bad_row(log) is None
    verdict = verify(log, OWNER.public, head=head)
    assert verdict.bad_row == ROWS - 1
    assert "newest rows are missing" in verdict.reason


def test_an_older_head_is_in_a_longer_log(log):
    assert bad_row(log, head=rows(log)[2].hash) is None
    assert bad_row(log, head=b"x" * 32) == ROWS + 1


def test_an_empty_log_is_not_in_order(log):
    replace_all(log, [])
    assert bad_row(log) == 1


def test_a_second_spelling_of_a_row_is_refused_although_its_party_signed_it(log):
    before, label = rows(log), "audit row"
    (fields,) = msgspec.msgpack.decode(before[-1].body)
    body = msgspec.msgpack.encode([dict(reversed(fields.items()))])
    hash_ = digest(label, before[-1].seq.to_bytes(8, "big"), before[-2].hash, body)
    replace_all(log, [*before[:-1], Row(ROWS, body, hash_, OWNER.sign("audit log", hash_))])
    assert bad_row(log) == ROWS


@pytest.mark.parametrize("value", ["text", b"\xff\xfe", 7, 1.5, None])
def test_a_value_of_another_type_is_refused(log, value):
    with closing(sqlite3.connect(log, isolation_level=None)) as database:
        sql = database.execute("SELECT sql FROM sqlite_schema WHERE name = 'entry'").fetchone()[0]
        loose = sql.replace("BLOB NOT NULL", "").replace("STRICT", "")
        database.execute("PRAGMA writable_schema = ON")
        database.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'entry'", (loose,))
    with tampering(log) as database:
        database.execute("UPDATE entry SET body = ? WHERE seq = 3", (value,))
        database.execute("UPDATE entry SET body = CAST(body AS TEXT) WHERE typeof(body) = 'blob' AND seq = 3")
    with closing(sqlite3.connect(log, isolation_level=None)) as database:
        database.execute("PRAGMA writable_schema = ON")
        database.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'entry'", (sql,))
    assert bad_row(log) == 3


def test_a_value_longer_than_a_row_can_be_is_not_read(log):
    with tampering(log) as database:
        database.execute("UPDATE entry SET body = zeroblob(50000000) WHERE seq = 3")
    tracemalloc.start()
    assert bad_row(log) == 1  # the page of rows that it is in
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_a_file_with_other_tables_is_refused(log):
    with closing(sqlite3.connect(log)) as database:
        database.execute("CREATE TABLE more (a)")
    with pytest.raises(AuditError) as caught:
        verify(log, OWNER.public)
    assert caught.value.code == "audit.other_file"


@pytest.mark.parametrize("pragma", ["application_id = 7", "user_version = 2"])
def test_a_log_of_another_program_or_version_is_refused(log, pragma):
    with closing(sqlite3.connect(log)) as database:
        database.execute(f"PRAGMA {pragma}")
    with pytest.raises(AuditError) as caught:
        verify(log, OWNER.public)
    assert caught.value.code == "audit.other_file"


def test_a_view_in_place_of_the_table_is_not_evaluated(log):
    with closing(sqlite3.connect(log, isolation_level=None)) as database:
        database.execute("ALTER TABLE entry RENAME TO hidden")
        database.execute("CREATE VIEW entry AS SELECT * FROM hidden")
    with pytest.raises(AuditError) as caught:
        verify(log, OWNER.public)
    assert caught.value.code == "audit.other_file"


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + bytes(500)])
def test_what_is_no_log_is_refused(tmp_path, content):
    (tmp_path / "audit.sqlite").write_bytes(content)
    with pytest.raises(AuditError) as caught:
        verify(tmp_path / "audit.sqlite", OWNER.public)
    assert caught.value.code in {"audit.unusable", "audit.other_file"}
    assert caught.value.remedy


def test_a_missing_file_is_refused_and_not_made(tmp_path):
    with pytest.raises(AuditError):
        verify(tmp_path / "audit.sqlite", OWNER.public)
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_a_power_cut_left_half_written_says_what_to_do(log, tmp_path):
    (tmp_path / "cut").mkdir()
    with closing(sqlite3.connect(log, isolation_level=None)) as database:
        database.execute("PRAGMA cache_size = 1")
        database.execute("BEGIN")
        for seq in range(100, 200):
            database.execute("INSERT INTO entry VALUES (?, zeroblob(5000), x'00', x'00')", (seq,))
        for name in ("audit.sqlite", "audit.sqlite-journal"):
            shutil.copy(tmp_path / name, tmp_path / "cut" / name)
        database.execute("ROLLBACK")
    with pytest.raises(AuditError) as caught:
        verify(tmp_path / "cut" / "audit.sqlite", OWNER.public)
    assert "that program once" in caught.value.remedy
    open_log(tmp_path / "cut" / "audit.sqlite").close()
    assert verify(tmp_path / "cut" / "audit.sqlite", OWNER.public).rows == ROWS


def test_verification_needs_no_more_memory_for_more_rows(tmp_path):
    path = tmp_path / "audit.sqlite"
    write_log(path, 8 * PAGE_ROWS)
    tracemalloc.start()
    assert verify(path, OWNER.public).rows == 8 * PAGE_ROWS + 1
    assert tracemalloc.get_traced_memory()[1] < path.stat().st_size / 2
    tracemalloc.stop()


def test_a_program_that_writes_is_not_held_up_by_one_that_reads(tmp_path):
    path = tmp_path / "audit.sqlite"
    write_log(path, 2 * PAGE_ROWS)
    with closing(open_log(path)) as log:
        reading = read(path, OWNER.public)
        next(reading)
        log.append(sent(1))
        assert sum(1 for _ in reading) == 2 * PAGE_ROWS + 1


def signer_of(key):
    return Signer("birch", key)


def numbered(row, *, seq):
    return Row(seq, row.body, row.hash, row.signature)


def replace_all(path, new):
    with tampering(path) as database:
        database.execute("DELETE FROM entry")
        for row in new:
            insert(database, row)
