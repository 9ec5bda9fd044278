"""``audit verify`` and ``audit show``, as a privacy officer uses them."""

from __future__ import annotations

import json

import pytest
from audits import OWNER, STRANGER, tampering, write_log
from typer.testing import CliRunner

from wardround_client.main import app as site_app
from wardround_common.errors import AuditError, ConfigError
from wardround_server.main import app as coordinator_app

KEY = ["--key", OWNER.public.hex()]


@pytest.fixture
def home(tmp_path):
    (tmp_path / "scratch").mkdir()
    write_log(tmp_path / "audit.sqlite", 7, head=True)
    (tmp_path / "audit.head").rename(tmp_path / "scratch" / "audit.head")
    return tmp_path


def run(*arguments, app=site_app):
    result = CliRunner().invoke(app, ["audit", *map(str, arguments)], prog_name="wardround-site")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def refused(kind, *arguments):
    with pytest.raises(kind) as caught:
        run(*arguments)
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize("app", [site_app, coordinator_app])
def test_a_good_log_is_in_order_and_its_head_is_shown(home, app):
    for where in (home, home / "audit.sqlite"):
        said = run("verify", where, *KEY, app=app)
        assert "8 rows of birch" in said
        assert (home / "scratch" / "audit.head").read_text().strip() in said
        assert "nothing that was there by then is missing" in said


def test_a_changed_row_is_named(home):
    with tampering(home / "audit.sqlite") as database:
        database.execute("UPDATE entry SET body = CAST(body || x'00' AS BLOB) WHERE seq = 5")
    error = refused(AuditError, "verify", home, *KEY)
    assert error.code == "audit.broken"
    assert "at row 5" in error.message


def test_the_head_file_shows_that_rows_are_missing_and_so_does_a_head_that_was_written_down(home):
    path, head_path = home / "audit.sqlite", home / "scratch" / "audit.head"
    head = head_path.read_text().strip()
    with tampering(path) as database:
        database.execute("DELETE FROM entry WHERE seq > 6")
    assert "at row 7" in refused(AuditError, "verify", home, *KEY).message
    head_path.unlink()
    assert "do not show" in run("verify", home, *KEY)
    assert "at row 7" in refused(AuditError, "verify", home, *KEY, "--head", head).message


def test_another_key_is_told(home):
    error = refused(AuditError, "verify", home, "--key", STRANGER.public.hex())
    assert "not signed with this key" in error.message


@pytest.mark.parametrize("key", ["", "12", "x" * 64, "a" * 66])
def test_what_is_no_key_is_told(home, key):
    assert refused(ConfigError, "verify", home, "--key", key).code == "config.hex"


def test_a_folder_without_a_log_is_told(tmp_path):
    assert refused(ConfigError, "show", tmp_path).code == "config.no_audit_log"
    assert refused(ConfigError, "verify", tmp_path / "nothing", *KEY).code == "config.no_audit_log"


def test_the_table_says_what_left_how_large_in_which_round_at_which_cost(home):
    said = run("show", home)
    row = next(line for line in said.splitlines() if "sent MASKED" in line)
    assert row.split()[2:6] == ["sent", "MASKED", "+", "vector"]
    assert "561" in row.split()
    assert "3 train" in row
    assert row.endswith("0.7500")
    assert "refused START of somebody: secagg.start_state" in said
    assert "2 messages were sent and 3 refused; 1176 bytes left." in said
    assert f"wardround-site audit verify {home} --key {OWNER.public.hex()}" in said


def test_the_table_of_one_study_and_for_scripts(home):
    lines = [json.loads(line) for line in run("show", home, "--json").splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, 9))
    assert [line["what"] for line in lines[:4]] == ["opened", "sent", "refused", "happened"] or len(
        lines
    ) == 8
    assert {line["what"] for line in lines} == {"opened", "sent", "refused", "happened"}
    mine = [json.loads(line) for line in run("show", home, "--json", "--study", "test").splitlines()]
    assert mine == [line for line in lines if line.get("study") == "test"]
    assert run("show", home, "--json", "--study", "other") == ""


def test_the_table_ends_at_a_bad_row(home):
    with tampering(home / "audit.sqlite") as database:
        database.execute("UPDATE entry SET signature = zeroblob(64) WHERE seq = 4")
    assert "at row 4" in refused(AuditError, "show", home).message
    with tampering(home / "audit.sqlite") as database:
        database.execute("UPDATE entry SET signature = zeroblob(64) WHERE seq = 1")
    assert "at row 1" in refused(AuditError, "show", home).message
    with tampering(home / "audit.sqlite") as database:
        database.execute("DELETE FROM entry WHERE seq = 1")
    assert "at row 1" in refused(AuditError, "show", home).message
