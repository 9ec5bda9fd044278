import shutil
import sqlite3
import stat

import pytest

from wardround_client.ledger import TRAIN, Ledger
from wardround_common.errors import StorageError

PEOPLE_ROW = 2  # the first row opens the ledger, the second registers the patients
TABLES = ("entry", "snapshot", "patient", "member")


def refused(code):
    """A context that expects a StorageError with ``code`` and a remedy."""
    return pytest.raises(StorageError, check=lambda found: found.code == code and bool(found.remedy))


@pytest.fixture
def used(site, plan, snapshot):
    """A ledger of nine rows and more: opened, registered, reserved, then spends and outputs."""
    site.run(plan, snapshot)
    return site


def tamper(site, *statements: str) -> None:
    """Change the closed file as somebody with write access could, triggers removed."""
    site.ledger.shut()
    connection = sqlite3.connect(site.path)
    for table in TABLES:
        for event in ("update", "delete"):
            connection.execute(f"DROP TRIGGER {table}_{event}")
    connection.execute("PRAGMA foreign_keys = OFF")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_an_untouched_ledger_is_verified_row_by_row(used):
    rows = used.ledger.verify()
    connection = sqlite3.connect(used.path)
    assert rows == connection.execute("SELECT count(*) FROM entry").fetchone()[0] == 13
    connection.close()


def test_a_ledger_whose_triggers_alone_were_removed_still_opens(used):
    tamper(used)
    assert used.open(head_path=None).verify() == 13


@pytest.mark.parametrize(
    ("statement", "first_bad"),
    [
        ("UPDATE entry SET body = replace(body, '\"steps\":5', '\"steps\":4') WHERE seq = 6", 6),
        ("UPDATE entry SET hash = zeroblob(32) WHERE seq = 4", 4),
        ("UPDATE entry SET previous = zeroblob(32) WHERE seq = 7", 7),
        ("DELETE FROM entry WHERE seq = 5", 5),
        ("DELETE FROM entry WHERE seq = 1", 1),
        ("INSERT INTO entry SELECT 14, body, previous, zeroblob(32) FROM entry WHERE seq = 2", 14),
        ("DELETE FROM member WHERE patient = 1", PEOPLE_ROW),
        ("UPDATE patient SET side = 2 WHERE id = 1", PEOPLE_ROW),
        ("UPDATE patient SET key = zeroblob(32) WHERE id = 1", PEOPLE_ROW),
        ("UPDATE snapshot SET digest = zeroblob(32)", PEOPLE_ROW),
    ],
)
def test_a_changed_removed_or_inserted_row_is_named_when_the_ledger_is_opened(used, statement, first_bad):
    tamper(used, statement)
    with refused("ledger.broken") as error:
        used.open(head_path=None)
    assert f"row {first_bad}:" in error.value.message


def test_two_rows_that_changed_places_are_named(used):
    tamper(
        used,
        "UPDATE entry SET seq = 99 WHERE seq = 4",
        "UPDATE entry SET seq = 4 WHERE seq = 6",
        "UPDATE entry SET seq = 6 WHERE seq = 99",
    )
    with refused("ledger.broken") as error:
        used.open(head_path=None)
    assert "row 4:" in error.value.message


def test_a_row_changed_behind_the_back_of_an_open_ledger_is_named(used):
    connection = sqlite3.connect(used.path)
    connection.execute("DROP TRIGGER entry_update")
    connection.execute("UPDATE entry SET body = replace(body, 'chest', 'brain') WHERE seq = 6")
    connection.commit()
    connection.close()
    with refused("ledger.broken") as error:
        used.ledger.verify()
    assert "row 6:" in error.value.message


def test_rows_cut_off_behind_the_back_of_an_open_ledger_are_missed(used):
    connection = sqlite3.connect(used.path)
    connection.execute("DROP TRIGGER entry_delete")
    connection.execute("DELETE FROM entry WHERE seq > 10")
    connection.commit()
    connection.close()
    with refused("ledger.broken") as error:
        used.ledger.verify()
    assert "row 11:" in error.value.message


@pytest.mark.parametrize("statement", [f"DELETE FROM {table}" for table in TABLES])
def test_rows_cannot_be_deleted_by_accident(used, statement):
    connection = sqlite3.connect(used.path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()


def test_an_older_copy_is_a_valid_chain_that_only_the_head_file_can_tell(site, plan, snapshot, tmp_path):
    site.approve(plan, snapshot)
    site.ledger.shut()
    shutil.copy(site.path, tmp_path / "backup")
    site.ledger = site.open()
    site.spend(plan, 1, snapshot)
    head = site.ledger.head()
    site.ledger.shut()
    shutil.copy(tmp_path / "backup", site.path)
    with refused("ledger.rolled_back"):
        site.open()
    site.ledger = site.open(head_path=None)
    assert not site.ledger.knows_head(head)


def test_a_ledger_that_was_replaced_by_a_new_one_is_noticed(used):
    used.ledger.shut()
    used.path.unlink()
    with refused("ledger.rolled_back"):
        used.open()


def test_a_ledger_knows_all_its_heads_and_no_others(site, plan, snapshot):
    before = site.ledger.head()
    site.approve(plan, snapshot)
    assert site.ledger.head() != before
    assert site.ledger.knows_head(before)
    assert site.ledger.knows_head(site.ledger.head())
    assert not site.ledger.knows_head(bytes(32))


def test_an_older_head_file_after_a_crash_is_accepted(site, plan, snapshot):
    old = site.head_path.read_text()
    site.approve(plan, snapshot)
    assert site.head_path.read_text() != old
    site.head_path.write_text(old)
    assert site.reopen().knows_head(bytes.fromhex(old))


@pytest.mark.parametrize("text", ["", "no hex", "00" * 31])
def test_a_damaged_head_file_is_refused(site, text):
    site.head_path.write_text(text)
    with refused("ledger.head_file"):
        site.reopen()


def test_two_new_ledgers_have_heads_that_nobody_can_guess(site, tmp_path):
    other = Ledger(tmp_path / "other.sqlite", limits=site.limits)
    assert other.head() != site.ledger.head()
    other.shut()


def test_a_simulated_ledger_is_reproducible_and_says_what_it_is(site, tmp_path):
    heads = []
    for name in ("a", "b"):
        ledger = Ledger(tmp_path / name, limits=site.limits, simulation_id=bytes(32))
        heads.append(ledger.head())
        ledger.shut()
    assert heads[0] == heads[1]
    with refused("ledger.other_sort"):
        Ledger(tmp_path / "a", limits=site.limits)
    with refused("ledger.other_sort"):
        site.reopen(simulation_id=bytes(32))


def test_the_file_is_durable_in_one_piece_and_its_owners_alone(used):
    connection = used.ledger._book._database._connection
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "delete"
    assert connection.execute("PRAGMA synchronous").fetchone()[0] == 3
    assert stat.S_IMODE(used.path.stat().st_mode) == 0o600
    assert {path.name for path in used.path.parent.iterdir()} == {"ledger.sqlite", "head"}


def test_a_person_can_read_spends_and_outputs_with_any_sqlite_tool(used):
    connection = sqlite3.connect(used.path)
    rows = connection.execute("SELECT study, round, kind FROM spend ORDER BY seq").fetchall()
    assert rows[0] == ("chest", 1, "train")
    assert rows[-1] == ("chest", 5, "evaluate")
    joined = "SELECT count(*) FROM output JOIN spend ON spend.seq = output.spend_seq"
    assert connection.execute(joined).fetchone()[0] == 4
    connection.close()


def test_a_full_disk_refuses_the_spend_and_loses_nothing(site, plan, snapshot):
    site.approve(plan, snapshot)
    connection = site.ledger._book._database._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    head, many = site.ledger.head(), site.people(*[TRAIN] * 2000, first=10_000)
    with refused("ledger.unusable") as error:
        site.ledger.register(site.digest(5), many)
    assert "Free space" in error.value.remedy
    assert site.ledger.head() == head
    connection.execute("PRAGMA max_page_count = 1000000")
    site.ledger.register(site.digest(5), many)


def test_a_ledger_that_cannot_be_written_refuses_the_spend(site, plan, snapshot):
    site.approve(plan, snapshot)
    site.ledger._book._database._connection.execute("PRAGMA query_only = ON")
    with refused("ledger.unusable") as error:
        site.spend(plan, 1, snapshot)
    assert "write" in error.value.remedy


def test_a_missing_folder_is_refused(site, tmp_path):
    with refused("ledger.unusable"):
        Ledger(tmp_path / "absent" / "ledger.sqlite", limits=site.limits)


def test_a_file_that_is_no_database_is_refused(site, tmp_path):
    (tmp_path / "text").write_text("not a database, but long enough to be read as one\n" * 100)
    with refused("ledger.unusable") as error:
        Ledger(tmp_path / "text", limits=site.limits)
    assert "backup" in error.value.remedy


def test_a_database_of_something_else_is_refused_and_left_alone(site, tmp_path):
    path = tmp_path / "other"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE notes (text TEXT)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with refused("ledger.other_file"):
        Ledger(path, limits=site.limits)
    assert path.read_bytes() == before


def test_a_ledger_of_another_version_is_refused(used):
    tamper(used, "PRAGMA user_version = 2")
    with refused("ledger.other_file"):
        used.open()


def test_a_damaged_page_is_refused(used):
    used.ledger.shut()
    data = bytearray(used.path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    used.path.write_bytes(data)
    with refused("ledger.unusable"):
        used.open()


def test_a_ledger_held_by_another_program_can_be_tried_again(site, plan, snapshot):
    site.approve(plan, snapshot)
    site.ledger._book._database._connection.execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(site.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError) as error:
        site.spend(plan, 1, snapshot)
    assert error.value.retryable
    other.execute("ROLLBACK")
    site.spend(plan, 1, snapshot)
    other.close()
