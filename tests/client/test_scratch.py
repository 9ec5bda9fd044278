"""The scratch database: secrets, outputs in their ring, states."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import numpy as np
import pytest
from keys import KEY

from wardround_client.scratch import Output, Scratch
from wardround_client.sealing import SiteKey
from wardround_common.errors import StorageError
from wardround_common.secagg.ring import WORDS
from wardround_common.state import StudyState

PLAN = b"p" * 32
V = np.arange(4, dtype=np.float32)


@pytest.fixture
def scratch(tmp_path):
    opened = Scratch(tmp_path / "scratch.sqlite", key=KEY)
    yield opened
    opened.close()


def begin(scratch, kind):
    return scratch.secret(PLAN, 1, kind, make=lambda: bytes(32))


@pytest.mark.parametrize("word", WORDS.values())
def test_an_output_comes_back_in_its_ring_writable_and_once(scratch, word):
    begin(scratch, "train")
    words, local = np.arange(7).astype(word) * word.type(9000), np.array([1.5, -2], np.float32)
    scratch.keep_output(PLAN, 1, "train", Output(words_P=words, local_L=local))
    scratch.keep_output(PLAN, 1, "train", Output(words_P=words[:2], local_L=local))
    found = scratch.output(PLAN, 1, "train", word=word)
    assert found.words_P.dtype == word
    assert np.array_equal(found.words_P, words)
    assert np.array_equal(found.local_L, local)
    assert found.words_P.flags.writeable
    assert scratch.output(PLAN, 1, "evaluate", word=word) is None


def test_a_secret_is_made_once(scratch):
    first = scratch.secret(PLAN, 1, "train", make=lambda: b"1" * 32)
    assert scratch.secret(PLAN, 1, "train", make=lambda: b"2" * 32) == first == b"1" * 32
    assert scratch.secret(PLAN, 2, "train", make=lambda: b"2" * 32) == b"2" * 32


def test_a_state_comes_back_as_it_was_with_what_the_site_keeps_beside_it(scratch):
    states = [StudyState(updates=n, vector=V + n, average=V, momentum=V, clips=(n - 5, 2)) for n in range(3)]
    for number, state in enumerate(states):
        beside = states[max(number - 1, 0)].digest
        scratch.keep_state(PLAN, state, local_L=np.full(2, number, np.float32), beside=beside)
    assert scratch.state(PLAN, states[0].digest) is None
    for number in (1, 2):
        assert np.array_equal(scratch.state(PLAN, states[number].digest), states[number].pack())
        assert scratch.local(PLAN, states[number].digest).tolist() == [number, number]
    assert scratch.state(b"q" * 32, states[2].digest) is None
    assert scratch.local(PLAN, states[0].digest).size == 0


PLACES = [
    ("round", "secret"),
    ("round", "output"),
    ("round", "local"),
    ("vault", "key"),
    ("state", "packed"),
    ("state", "local"),
    ("lock", "sealed"),
]
"""Every column that holds a value."""
STATES = [StudyState(updates=n, vector=V + n, average=V, momentum=V, clips=(n, 2)) for n in range(2)]


def filled(path):
    """A scratch database with two of everything."""
    scratch = Scratch(path, key=KEY)
    for plan in (PLAN, b"q" * 32):
        for number in (1, 2):
            for kind in ("train", "evaluate"):
                scratch.secret(plan, number, kind, make=lambda: b"1" * 32)
                words = np.full(4, number, np.uint32)
                scratch.keep_output(plan, number, kind, Output(words_P=words, local_L=V))
        for state in STATES:
            scratch.keep_state(plan, state, local_L=V, beside=STATES[0].digest)
        scratch.vault(plan)
    scratch.close()
    return path


def read_all(path, *, key=KEY):
    """Read every value of the first plan."""
    scratch = Scratch(path, key=key)
    try:
        for number in (1, 2):
            for kind in ("train", "evaluate"):
                scratch.secret(PLAN, number, kind, make=lambda: bytes(32))
                scratch.output(PLAN, number, kind, word=WORDS[32])
        for state in STATES:
            scratch.state(PLAN, state.digest)
            scratch.local(PLAN, state.digest)
        scratch.vault(PLAN)
    finally:
        scratch.close()


def code_of(path, **options):
    with pytest.raises(StorageError) as caught:
        read_all(path, **options)
    return caught.value.code


def write(path, statement, *values):
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement, values).rowcount > 0


def test_every_column_that_holds_a_value_is_looked_at(tmp_path):
    path = filled(tmp_path / "scratch.sqlite")
    read_all(path)
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        columns = {(t, c[1]) for (t,) in tables for c in connection.execute(f"PRAGMA table_info({t})")}
    in_clear = {("round", name) for name in ("plan", "round", "kind")}
    in_clear |= {("state", "plan"), ("state", "digest"), ("vault", "plan"), ("lock", "one")}
    in_clear |= {("tip", "plan"), ("tip", "length")}
    assert columns - in_clear == set(PLACES)


@pytest.mark.parametrize(("table", "column"), PLACES)
def test_no_byte_of_a_value_can_be_changed_and_none_can_be_cut_or_taken_away(tmp_path, table, column):
    path = filled(tmp_path / "scratch.sqlite")
    with closing(sqlite3.connect(path)) as connection:
        row, sealed = connection.execute(f"SELECT rowid, {column} FROM {table}").fetchone()
    lies = [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in range(len(sealed))]
    for lie in (*lies, sealed[:-1], b""):
        write(path, f"UPDATE {table} SET {column} = ? WHERE rowid = ?", lie, row)
        assert code_of(path) in {"storage.altered", "storage.other_key"}
    write(path, f"UPDATE {table} SET {column} = ? WHERE rowid = ?", sealed, row)
    read_all(path)


KEYS = {"round": ("plan", "round", "kind"), "state": ("plan", "digest"), "vault": ("plan",)}
"""What a row is looked up by."""


@pytest.mark.parametrize(
    ("table", "column", "key"),
    [(table, column, key) for table, column in PLACES for key in KEYS.get(table, ())],
)
def test_a_value_is_refused_in_a_place_that_differs_in_one_thing_only(tmp_path, table, column, key):
    path = filled(tmp_path / "scratch.sqlite")
    same = "".join(f" AND theirs.{other} = {table}.{other}" for other in KEYS[table] if other != key)
    taken = f"SELECT {column} FROM theirs WHERE theirs.{key} <> {table}.{key}{same}"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TEMP TABLE theirs AS SELECT * FROM {table}")
        changed = connection.execute(f"UPDATE {table} SET {column} = ({taken})").rowcount
    assert changed >= 2
    assert code_of(path) == "storage.altered"


@pytest.mark.parametrize(
    ("table", "one", "other"),
    [("round", "output", "local"), ("round", "secret", "local"), ("state", "packed", "local")],
)
def test_a_value_is_refused_in_another_column(tmp_path, table, one, other):
    path = filled(tmp_path / "scratch.sqlite")
    write(path, f"UPDATE {table} SET {one} = {other}")
    assert code_of(path) == "storage.altered"


def test_what_the_task_keeps_cannot_be_taken_away_from_an_output(tmp_path):
    path = filled(tmp_path / "scratch.sqlite")
    write(path, "UPDATE round SET local = NULL")
    assert code_of(path) == "storage.altered"


def test_another_site_key_is_refused_when_the_file_is_opened_and_changes_nothing(tmp_path):
    path = filled(tmp_path / "scratch.sqlite")
    before = path.read_bytes()
    with pytest.raises(StorageError) as caught:
        Scratch(path, key=SiteKey(b"t" * 32))
    assert caught.value.code == "storage.other_key"
    assert path.read_bytes() == before
    read_all(path)


def test_the_key_of_peers_shares_is_fresh_per_study_and_kept(tmp_path):
    path = filled(tmp_path / "scratch.sqlite")
    with closing(Scratch(path, key=KEY)) as scratch:
        keys = {scratch.vault(plan).key for plan in (PLAN, b"q" * 32, b"r" * 32)}
        assert len(keys) == 3
        assert scratch.vault(PLAN).key in keys
