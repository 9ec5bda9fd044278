"""The program as a person at the authority uses it, and as somebody who cheats meets it."""

import contextlib
import datetime
import io
import itertools
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys

import pytest
from authorities import killed_at

from wardround_common.authority import make_card
from wardround_common.authority.folder import opened
from wardround_common.authority.main import main
from wardround_common.authority.records import open_undated, peek
from wardround_common.identity import SigningKey, fingerprint
from wardround_common.trust import open_roster, sign_roster

FRESH = SigningKey.from_seed(bytes([99]) * 32)
PASSPHRASE = "correct horse battery staple"


@pytest.fixture
def program(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments, answer=""):
        monkeypatch.setattr(sys, "argv", ["wardround-authority", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        with pytest.raises(SystemExit) as ended:
            main()
        output = capsys.readouterr()
        assert "Traceback" not in output.err
        return ended.value.code or 0, output.out, output.err

    return run


@pytest.fixture
def authority(program, tmp_path, keys):
    """An authority in ``home`` with every member's card beside it."""
    assert program("init", "home", "--no-passphrase")[0] == 0
    for name, key in keys.items():
        (tmp_path / f"{name}.card").write_bytes(make_card(name, key))
    return tmp_path


OFFLINE = """
import sys
def watch(event, arguments):
    if event.startswith("socket.") or event == "subprocess.Popen":
        sys.stderr.write(f"{event} {arguments}")
        sys.stderr.flush()
        import os; os._exit(99)
sys.addaudithook(watch)
from wardround_common.authority.main import main
main()
"""
FIRST = (
    *("sign-roster", "home", "--sites", "alder.card", "birch.card", "cedar.card"),
    *("--coordinator", "coordinator.card", "--lead", "lead.card", "--out", "roster.bin", "--yes"),
)
AGAIN = ("sign-roster", "home", "--out", "roster.bin", "--yes")


def refused(result, *wanted):
    code, _, err = result
    assert code == 1, err
    assert err.strip().splitlines()[-2].startswith("error: ")
    for text in wanted:
        assert text in err
    return True


def public_key(folder):
    return bytes.fromhex((folder / "home/authority.pub").read_text())


def test_from_the_key_to_a_roster_that_a_site_accepts(program, authority, keys):
    code, out, err = program(*FIRST)
    assert code == 0
    for key in keys.values():
        assert fingerprint(key.public) in err
    today = datetime.datetime.now(datetime.UTC).date()
    data = (authority / "roster.bin").read_bytes()
    roster = open_roster(data, authority_key=public_key(authority), today=today)
    assert [site.name for site in roster.sites] == ["alder", "birch", "cedar"]
    assert "version 1" in out


def test_init_shows_the_fingerprint_and_refuses_to_begin_anew(program, authority):
    key = (authority / "home/authority.key").read_bytes()
    assert refused(program("init", "home", "--no-passphrase"), "home exists")
    assert (authority / "home/authority.key").read_bytes() == key
    _, out, _ = program("init", "other", "--no-passphrase")
    public = bytes.fromhex((authority / "other/authority.pub").read_text())
    assert fingerprint(public) in out
    assert public.hex() in out


def test_nothing_is_signed_until_somebody_says_yes(program, authority):
    command = FIRST[:-1]
    for answer in ("", "n\n", "\n"):
        assert refused(program(*command, answer=answer), "nothing was signed")
        assert not (authority / "roster.bin").exists()
    code, _, err = program(*command, answer="y\n")
    assert code == 0
    assert "fingerprint" in err
    assert peek((authority / "roster.bin").read_bytes()).version == 1


def test_a_roster_without_cards_has_the_same_members_and_a_higher_version(program, authority):
    program(*FIRST)
    first = peek((authority / "roster.bin").read_bytes())
    assert program(*AGAIN, "--days", 7)[0] == 0
    second = peek((authority / "roster.bin").read_bytes())
    assert (second.version, second.sites, second.lead) == (2, first.sites, first.lead)
    assert second.expires < first.expires


def test_a_revoked_site_is_gone_and_its_key_refused_under_any_name(program, authority, keys):
    program(*FIRST)
    code, _, err = program("revoke", "home", "birch", "--out", "roster.bin", "--yes")
    assert code == 0
    assert "REVOKED" in err
    assert [site.name for site in peek((authority / "roster.bin").read_bytes()).sites] == ["alder", "cedar"]
    (authority / "new.card").write_bytes(make_card("dogwood", keys["birch"]))
    for card in ("birch.card", "new.card"):
        assert refused(program(*AGAIN, "--sites", card), "revoked with roster version 2", "birch")


def test_a_changed_key_needs_the_word_of_the_authority(program, authority):
    program(*FIRST)
    (authority / "alder.card").write_bytes(make_card("alder", FRESH))
    assert refused(program(*AGAIN, "--sites", "alder.card"), "--replace alder")
    code, _, err = program(*AGAIN, "--sites", "alder.card", "--replace", "alder")
    assert code == 0
    assert "NEW KEY" in err


def test_a_card_by_anybody_else_is_refused_by_its_file_name(program, authority, keys):
    forged = bytearray((authority / "alder.card").read_bytes())
    forged[-1] ^= 1
    (authority / "forged.card").write_bytes(forged)
    assert refused(program(*FIRST, "forged.card"), "forged.card", "make its card again")
    assert refused(program(*FIRST, "nothing.card"), "nothing.card")
    (authority / "long.card").write_bytes(bytes(5000))
    assert refused(program(*FIRST, "long.card"), "long.card")


@pytest.mark.parametrize("name", ["coordinator", "lead"])
def test_a_site_that_calls_itself_coordinator_or_lead_is_refused(program, authority, name):
    program(*FIRST)
    (authority / "liar.card").write_bytes(make_card(name, FRESH))
    for replace in ((), ("--replace", name)):
        assert refused(program(*AGAIN, "--sites", "liar.card", *replace), f"the card of {name}")
    assert refused(program(*AGAIN, f"--{name}", "alder.card"), "not of the")


def test_a_foreign_file_is_not_overwritten_and_no_version_is_used_up(program, authority, keys):
    program(*FIRST)
    other = sign_roster(peek((authority / "roster.bin").read_bytes()), FRESH)
    for data in (b"thesis", other):
        (authority / "roster.bin").write_bytes(data)
        assert refused(program(*AGAIN), "is no roster of this authority")
        assert (authority / "roster.bin").read_bytes() == data
    (authority / "link").symlink_to("home/rosters")
    for out in ("home/rosters/000001", "home/roster.bin", "link/000001"):
        assert refused(program("sign-roster", "home", "--out", out, "--yes"), "inside the authority's folder")
    assert refused(program("sign-roster", "home", "--out", "none/roster.bin", "--yes"), "none")
    assert program("sign-roster", "home", "--out", "next.bin", "--yes")[0] == 0
    assert peek((authority / "next.bin").read_bytes()).version == 2


def test_a_folder_from_an_old_backup_is_found_by_the_newest_roster(program, authority):
    program(*FIRST)
    shutil.copytree(authority / "home", authority / "backup")
    program("revoke", "home", "birch", "--out", "roster.bin", "--yes")
    shutil.rmtree(authority / "home")
    shutil.copytree(authority / "backup", authority / "home")
    assert refused(
        program(*AGAIN[:-2], "other.bin", "--yes", "--newest", "roster.bin"), "version 2 was issued", "backup"
    )
    assert refused(
        program("revoke", "home", "alder", "--out", "other.bin", "--yes", "--newest", "roster.bin"),
        "version 2 was issued",
    )


def test_the_passphrase_opens_the_key_and_is_never_shown(program, authority):
    secret, wrong, open_to_all = authority / "secret", authority / "wrong", authority / "open"
    for path, mode in ((secret, 0o600), (wrong, 0o600), (open_to_all, 0o644)):
        path.write_text(PASSPHRASE + "\n" if path != wrong else "something else\n")
        path.chmod(mode)
    shutil.rmtree(authority / "home")
    assert refused(program("init", "home", "--passphrase-file", open_to_all), "open to others")
    (authority / "empty").touch(mode=0o600)
    assert refused(program("init", "home", "--passphrase-file", "empty"), "no passphrase")
    assert refused(program("init", "home"), "no terminal")
    assert refused(program("init", "home", "--passphrase-file", secret, "--no-passphrase"), "contradict")
    assert not (authority / "home").exists()
    shown = [program("init", "home", "--passphrase-file", secret)]
    shown.append(program(*FIRST, "--passphrase-file", secret))
    assert [code for code, _, _ in shown] == [0, 0]
    shown.append(program(*AGAIN, "--passphrase-file", wrong))
    assert refused(shown[-1], "passphrase does not open")
    shown.append(program(*AGAIN))
    assert refused(shown[-1], "--passphrase-file")
    assert not any(PASSPHRASE in text for _, out, err in shown for text in (out, err))


INTERRUPT = "\x03"


def read(screen, *, again=b""):
    """What the screen shows next; a program that stays silent for a minute fails the test.

    ``again`` is typed every two seconds: readline drops what is typed while it takes the terminal over.
    """
    for _ in range(30):
        if select.select([screen], [], [], 2)[0]:
            return os.read(screen, 1024)
        os.write(screen, again)
    raise AssertionError("the program neither asks nor ends")


def at_a_terminal(*arguments, answers):
    """Run the program at a terminal of its own; (exit status, all that the screen showed)."""
    child, screen = pty.fork()
    if not child:
        signal.signal(
            signal.SIGINT, signal.SIG_DFL
        )  # a run in the background ignores it, and so would its child
        os.execv(sys.executable, [sys.executable, "-c", OFFLINE, *map(str, arguments)])
    shown = b""
    for question, answer in answers:
        while question not in shown:
            shown += read(screen)
        os.write(screen, answer.encode())
    with contextlib.suppress(OSError):  # how a closed terminal reads
        while more := read(screen, again=INTERRUPT.encode() if answers[-1][1] == INTERRUPT else b""):
            shown += more
    os.close(screen)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown.decode()


def test_a_passphrase_typed_at_a_terminal_is_asked_twice_and_not_echoed(authority):
    twice = [(b"New passphrase", PASSPHRASE + "\n"), (b"confirmation", PASSPHRASE + "\n")]
    code, shown = at_a_terminal("init", "typed", answers=twice)
    assert code == 0, shown
    assert PASSPHRASE not in shown
    sign = ("sign-roster", "typed", *FIRST[2:])
    code, shown = at_a_terminal(*sign, answers=[(b"Passphrase of the", PASSPHRASE + "\n")])
    assert code == 0, shown
    assert PASSPHRASE not in shown


def test_whoever_interrupts_a_question_has_signed_nothing(authority):
    code, shown = at_a_terminal(*FIRST[:-1], answers=[(b"[y/N]", INTERRUPT)])
    assert code == 130
    assert "stopped; what was issued is in the authority's folder" in shown
    assert not (authority / "roster.bin").exists()
    assert not list((authority / "home/rosters").iterdir())


def test_show_needs_no_passphrase_and_says_who_is_in_it(program, authority, keys):
    assert "none signed yet" in program("show", "home")[1]
    program(*FIRST)
    program("revoke", "home", "birch", "--out", "roster.bin", "--yes")
    code, out, _ = program("show", "home")
    assert code == 0
    for name, key in keys.items():
        assert name in out
        assert fingerprint(key.public) in out
    assert out.index("never come back") < out.index("birch")
    data = json.loads(program("show", "home", "--json")[1])
    assert data["signature"] == "valid"
    assert data["roster"]["version"] == 2
    assert data["roster"]["status"] == "current"
    assert {member["name"]: member["key"] for member in data["roster"]["members"]} == {
        name: key.public.hex() for name, key in keys.items() if name != "birch"
    }
    assert [(gone["name"], gone["why"]) for gone in data["retired"]] == [("birch", "revoked")]


def test_show_never_takes_an_unchecked_roster_for_a_checked_one(program, authority):
    program(*FIRST)
    forged = sign_roster(peek((authority / "roster.bin").read_bytes()), FRESH)
    (authority / "forged.bin").write_bytes(forged)
    for name in ("roster.bin", "forged.bin"):
        assert "NOT CHECKED" in program("show", name)[1]
        assert json.loads(program("show", name, "--json")[1])["signature"] == "not checked"
    key = public_key(authority).hex()
    for authority_key in (key, "home/authority.pub"):
        assert "NOT CHECKED" not in program("show", "roster.bin", "--authority", authority_key)[1]
        assert refused(program("show", "forged.bin", "--authority", authority_key), "not by the expected key")
    assert refused(program("show", "roster.bin", "--authority", key[:-2]), "64 hex digits")
    (authority / "torn.bin").write_bytes(forged[:-1])
    assert refused(program("show", "torn.bin"))


def test_a_tampered_copy_stops_everything_with_a_remedy(program, authority):
    program(*FIRST)
    copy = authority / "home/rosters/000001"
    data = copy.read_bytes()
    copy.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    for command in (AGAIN, ("show", "home"), ("revoke", "home", "birch", "--out", "r.bin", "--yes")):
        assert refused(program(*command), "000001", "backup")


def test_killed_at_any_moment_no_version_is_issued_twice(program, authority):
    """Whatever left before the kill and whatever is signed after it: one version, one roster."""
    program(*FIRST)
    base = authority / "base"
    shutil.copytree(authority / "home", base)
    out, next_out = authority / "out.bin", authority / "next.bin"

    def revoke():
        sys.argv = ["wardround-authority", "revoke", "home", "birch", "--out", str(out), "--yes"]
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123
        main()

    for point in itertools.count(1):
        shutil.rmtree(authority / "home")
        shutil.copytree(base, authority / "home")
        for path in (out, next_out):
            path.unlink(missing_ok=True)
        if not killed_at(point, revoke):
            break
        before = [path for path in (authority / "home/rosters").iterdir() if path.suffix == ""]
        left = [path.read_bytes() for path in before] + ([out.read_bytes()] if out.exists() else [])
        assert program("sign-roster", "home", "--out", next_out, "--yes")[0] == 0
        seen = {}
        for data in [*left, next_out.read_bytes()]:
            version = open_undated(data, public_key(authority)).version
            assert seen.setdefault(version, data) == data
        assert program("show", "home")[0] == 0, "the folder is whole again"
        if len(left) > 1:
            assert "birch" not in [site.name for site in peek(next_out.read_bytes()).sites]
    assert point > 6
    assert out.exists()


def test_a_clock_that_was_set_back_is_mentioned(program, authority):
    program(*FIRST)
    assert "clock" not in program(*AGAIN)[2]
    tomorrow = datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(1)
    with opened(authority / "home") as folder:
        after = folder.membership.admit((), replace=(), authority_key=folder.public)
        folder.issue(after.roster(today=tomorrow, days=30), after.retired, folder.unlock(None))
    code, _, err = program(*AGAIN)
    assert code == 0
    assert "is the clock right?" in err


def test_the_program_opens_no_connection(program, authority):
    for command in (
        FIRST,
        AGAIN,
        ("revoke", "home", "birch", "--out", "roster.bin", "--yes"),
        ("show", "home"),
    ):
        ran = subprocess.run(
            [sys.executable, "-c", OFFLINE, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("command", [(), ("init",), ("sign-roster",), ("revoke",), ("show",)])
def test_every_command_explains_itself(program, command):
    code, out, _ = program(*command, "--help")
    assert code == 0
    assert "wardround-authority" in out
