"""Backups: what goes in, what comes out, and files of liars."""

import contextlib
import io
import os
import shutil
import sqlite3
import stat
import tarfile
import threading

import msgspec
import pytest
from backups import archive, block, changed, forged, member

from wardround_common.backup import Contents, Part, restore_backup, write_backup
from wardround_common.backup.archive import BLOCK, END, MANIFEST_LIMIT_BYTES, Manifest, header
from wardround_common.backup.writing import _copy, _plain
from wardround_common.durable import DurableFile, Sort
from wardround_common.errors import StorageError, WardroundError

DIGEST = "ab" * 32
CONTENTS = Contents(
    program="wardround-test",
    parts=(
        Part(place="main.toml", required=True),
        Part(place="studies/{name}/plan", limit_bytes=100),
        Part(place="plans/{digest}/data"),
        Part(place="ledger.sqlite", database=True, limit_bytes=1 << 30),
    ),
    left_out=("scratch/", "log.jsonl"),
    folders=("invitations",),
)
FILES = {"main.toml": b"name = 1\n", "studies/lung/plan": b"p" * 77, f"plans/{DIGEST}/data": b""}
SORT = Sort(
    noun="ledger",
    area="ledger",
    application=7,
    version=1,
    schema="CREATE TABLE entry (body TEXT) STRICT;",
    restore="Restore it.",
)


def code_of(call):
    with pytest.raises(WardroundError) as caught:
        call()
    assert caught.value.remedy.endswith(".")
    return caught.value.code


@pytest.fixture
def folder(tmp_path):
    home = tmp_path / "home"
    for name, data in FILES.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(data)
    return home


@pytest.fixture
def restore(tmp_path):
    def act(file, **options):
        return restore_backup(file, tmp_path / "restored", CONTENTS, **options)

    return act


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


# both ways


def test_what_is_restored_is_what_was_there_for_its_owner_only(folder, tmp_path, restore):
    (folder / "main.toml").chmod(0o644)
    written = write_backup(folder, tmp_path / "file", CONTENTS)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    restored = restore(tmp_path / "file")
    assert restored == written.manifest
    assert tree(tmp_path / "restored") == FILES
    assert (tmp_path / "restored" / "invitations").is_dir()
    for path in [tmp_path / "restored", *(tmp_path / "restored").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "home", "restored"]


def test_any_tar_can_read_it(folder, tmp_path):
    write_backup(folder, tmp_path / "file", CONTENTS)
    with tarfile.open(tmp_path / "file") as read:
        assert read.getnames() == ["manifest.json", *FILES]
        assert read.extractfile("studies/lung/plan").read() == FILES["studies/lung/plan"]


def test_only_what_is_named_goes_in_and_what_nobody_knows_is_said(folder, tmp_path):
    for name in (
        "scratch/secret",
        "log.jsonl",
        "main.toml.old",
        "studies/Lung/plan",
        "studies/lung/.plan.x1",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"secret")
    (folder / "elsewhere").symlink_to("/etc")
    written = write_backup(folder, tmp_path / "file", CONTENTS)
    assert [member.name for member in written.manifest.members] == list(FILES)
    assert written.unknown == ("elsewhere", "main.toml.old", "studies/Lung/plan")
    assert b"secret" not in (tmp_path / "file").read_bytes()


def test_a_backup_is_never_overwritten_and_never_in_its_own_folder(folder, tmp_path):
    (tmp_path / "file").write_bytes(b"older")
    assert code_of(lambda: write_backup(folder, tmp_path / "file", CONTENTS)) == "backup.exists"
    assert code_of(lambda: write_backup(folder, folder / "file", CONTENTS)) == "backup.inside"
    assert code_of(lambda: write_backup(folder, tmp_path / "no" / "file", CONTENTS)) == "files.unwritable"
    assert (tmp_path / "file").read_bytes() == b"older"


def test_another_folder_is_not_backed_up(tmp_path):
    (tmp_path / "home").mkdir()
    assert (
        code_of(lambda: write_backup(tmp_path / "home", tmp_path / "file", CONTENTS)) == "backup.incomplete"
    )
    assert (
        code_of(lambda: write_backup(tmp_path / "none", tmp_path / "file", CONTENTS)) == "backup.unreadable"
    )
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/etc/hostname"), os.mkfifo])
def test_what_is_no_plain_file_is_not_followed_or_read(folder, tmp_path, make):
    (folder / "main.toml").unlink()
    make(folder / "main.toml")
    assert code_of(lambda: write_backup(folder, tmp_path / "file", CONTENTS)) == "backup.not_a_file"


# databases


def test_a_database_is_copied_whole_while_rows_are_added(folder, tmp_path, restore):
    ledger = DurableFile(folder / "ledger.sqlite", SORT)
    stop, added = threading.Event(), []

    def add():
        while not stop.is_set():
            with ledger.transaction() as connection:  # two rows or none
                connection.executemany("INSERT INTO entry VALUES (?)", [("a",), ("b",)])
            added.append(2)

    thread = threading.Thread(target=add)
    thread.start()
    try:
        while not added:
            pass
        write_backup(folder, tmp_path / "file", CONTENTS)
    finally:
        stop.set()
        thread.join()
        ledger.close()
    restore(tmp_path / "file")
    with contextlib.closing(sqlite3.connect(tmp_path / "restored" / "ledger.sqlite")) as copy:
        (rows,) = copy.execute("SELECT count(*) FROM entry").fetchone()
        assert copy.execute("PRAGMA application_id").fetchone() == (SORT.application,)
    assert rows > 0
    assert rows % 2 == 0


def test_a_transaction_that_was_cut_off_is_undone_in_the_copy(folder, tmp_path, restore):
    """A copy of the file alone would have half of it: the other half lies in its journal."""
    path, killed = folder / "ledger.sqlite", tmp_path / "killed.sqlite"
    kept = [(f"kept {n}" + "." * 1000,) for n in range(50)]
    ledger = DurableFile(killed, SORT)
    with ledger.transaction() as connection:
        connection.executemany("INSERT INTO entry VALUES (?)", kept)
    with ledger.transaction() as connection:
        connection.execute("PRAGMA cache_size = 1")  # so that pages reach the file before the end
        connection.execute("UPDATE entry SET body = 'lost' || body")
        shutil.copy(killed, path)
        shutil.copy(killed.with_name("killed.sqlite-journal"), folder / "ledger.sqlite-journal")
    ledger.close()
    assert b"lost" in path.read_bytes()
    write_backup(folder, tmp_path / "file", CONTENTS)
    restore(tmp_path / "file")
    with contextlib.closing(sqlite3.connect(tmp_path / "restored" / "ledger.sqlite")) as copy:
        assert copy.execute("SELECT body FROM entry").fetchall() == kept


@pytest.mark.parametrize("now", [b"", b"dat", b"date", b"data and more"])
def test_a_file_that_changes_while_it_is_read_is_not_backed_up(now):
    assert code_of(lambda: _copy(io.BytesIO(now), io.BytesIO(), member("x", b"data"))) == "backup.changed"


def test_a_link_that_takes_the_place_of_a_file_meanwhile_is_not_followed(tmp_path):
    (tmp_path / "link").symlink_to("/etc/hostname")
    assert code_of(lambda: _plain("link", tmp_path / "link")) == "backup.unreadable"


@pytest.mark.parametrize("at", [0, 4096])
def test_a_damaged_database_is_noticed_before_it_replaces_good_backups(folder, tmp_path, at):
    ledger = DurableFile(folder / "ledger.sqlite", SORT)
    with ledger.transaction() as connection:
        connection.executemany("INSERT INTO entry VALUES (?)", [("row" * 100,)] * 100)
    ledger.close()
    damaged = bytearray((folder / "ledger.sqlite").read_bytes())
    damaged[at : at + 3000] = bytes(3000)
    (folder / "ledger.sqlite").write_bytes(damaged)
    assert code_of(lambda: write_backup(folder, tmp_path / "file", CONTENTS)) == "backup.damaged"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


# liars


def refused(tmp_path, restore, file, **options):
    code = code_of(lambda: restore(file, **options))
    assert not [path for path in tmp_path.iterdir() if "restored" in path.name]
    return code


@pytest.mark.parametrize(
    "name",
    [
        "../escaped",
        "studies/../main.toml",
        "studies/../../main.toml/plan",
        "/etc/passwd",
        "scratch/secret",
        "main.toml/",
        "./main.toml",
        "studies/lung/plan/x",
        "studies/.ssh/plan",
        f"plans/{DIGEST.upper()}/data",
        "site.key",
        "main.toml\n",
    ],
)
def test_a_member_that_the_allow_list_does_not_name_is_refused(tmp_path, restore, name):
    file = forged(tmp_path / "file", FILES | {name: b"x"}, program="wardround-test")
    assert refused(tmp_path, restore, file) == "backup.unknown_member"
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize(
    "lie",
    [
        {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
        {"type": tarfile.LNKTYPE, "linkname": "studies/lung/plan"},
        {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3},
        {"type": tarfile.FIFOTYPE},
        {"type": tarfile.DIRTYPE},
        {"type": tarfile.GNUTYPE_SPARSE},
        {"type": tarfile.XHDTYPE},
        {"mode": 0o4755},
        {"uid": 1},
        {"name": "../main.toml"},
        {"size": 8},
    ],
)
def test_a_member_with_any_other_header_is_refused(tmp_path, restore, lie):
    """The manifest says that all is well."""
    named = [(header(name, len(data)), data) for name, data in FILES.items()]
    named[0] = (block(**({"name": "main.toml", "size": 9} | lie)), FILES["main.toml"])
    honest = forged(tmp_path / "file", FILES, program="wardround-test").read_bytes()
    size = int(honest[124:135], 8)
    (tmp_path / "file").write_bytes(archive(honest[BLOCK : BLOCK + size], named))
    assert refused(tmp_path, restore, tmp_path / "file") == "backup.malformed"


def test_a_member_whose_bytes_were_altered_is_refused(folder, tmp_path, restore):
    write_backup(folder, tmp_path / "file", CONTENTS)
    data = (tmp_path / "file").read_bytes()
    assert data.count(b"p" * 77) == 1
    (tmp_path / "file").write_bytes(data.replace(b"p" * 77, b"p" * 76 + b"q"))
    assert refused(tmp_path, restore, tmp_path / "file") == "backup.differs"


def test_whoever_alters_the_digests_too_is_found_by_a_digest_that_was_kept(folder, tmp_path, restore):
    kept = write_backup(folder, tmp_path / "file", CONTENTS).manifest.digest
    forged(tmp_path / "forged", FILES | {"main.toml": b"name = 2\n"}, program="wardround-test")
    assert refused(tmp_path, restore, tmp_path / "forged", digest=kept) == "backup.other_digest"
    restore(tmp_path / "file", digest=kept.upper())


def test_every_shorter_file_and_every_longer_one_is_refused(folder, tmp_path, restore):
    write_backup(folder, tmp_path / "file", CONTENTS)
    data = (tmp_path / "file").read_bytes()
    for length in {0, 1, BLOCK, len(data) - BLOCK, len(data) - 1, *range(0, len(data), 97)}:
        (tmp_path / "file").write_bytes(data[:length])
        assert refused(tmp_path, restore, tmp_path / "file") == "backup.malformed"
    (tmp_path / "file").write_bytes(data + b"\0")
    assert refused(tmp_path, restore, tmp_path / "file") == "backup.malformed"


def test_a_kept_digest_finds_every_flipped_byte(folder, tmp_path, restore):
    kept = write_backup(folder, tmp_path / "file", CONTENTS).manifest.digest
    data = (tmp_path / "file").read_bytes()
    for place in range(0, len(data), 61):
        flipped = bytearray(data)
        flipped[place] ^= 1
        (tmp_path / "file").write_bytes(flipped)
        refused(tmp_path, restore, tmp_path / "file", digest=kept)


def test_something_between_the_members_is_refused(tmp_path, restore):
    file = forged(tmp_path / "file", FILES, program="wardround-test")
    data = bytearray(file.read_bytes())
    data[-len(END) - 1 - BLOCK - 1] = 7  # padding of the plan
    file.write_bytes(data)
    assert refused(tmp_path, restore, file) == "backup.malformed"


def test_a_member_that_is_longer_than_its_place_may_be_is_refused_unread(tmp_path, restore):
    file = forged(tmp_path / "file", FILES | {"studies/lung/plan": b"p" * 101}, program="wardround-test")
    assert refused(tmp_path, restore, file) == "backup.too_long"


def test_a_length_that_is_only_claimed_is_refused_before_anything_is_written(tmp_path, restore):
    database = FILES | {"ledger.sqlite": b"x"}
    file = forged(
        tmp_path / "file",
        database,
        program="wardround-test",
        lie=lambda manifest: changed(manifest, "ledger.sqlite", size=1 << 29),
    )
    assert refused(tmp_path, restore, file) == "backup.malformed"


def test_a_manifest_that_claims_to_be_endless_is_refused_unread(tmp_path, restore):
    size = MANIFEST_LIMIT_BYTES + 1
    (tmp_path / "file").write_bytes(header("manifest.json", size))
    os.truncate(tmp_path / "file", 2 * size)
    with pytest.raises(StorageError, match="does not begin with a manifest"):
        restore(tmp_path / "file")


def test_a_member_that_comes_twice_is_refused(tmp_path, restore):
    twice = [*FILES.items(), ("main.toml", b"other")]
    members = tuple(member(name, data) for name, data in twice)
    manifest = Manifest(program="wardround-test", version="0", made="now", members=members)
    named = [(header(name, len(data)), data) for name, data in twice]
    (tmp_path / "file").write_bytes(archive(manifest.encoded, named))
    assert refused(tmp_path, restore, tmp_path / "file") == "backup.malformed"


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        (lambda m: msgspec.structs.replace(m, members=(*m.members, m.members[0])), "backup.malformed"),
        (lambda m: msgspec.structs.replace(m, members=m.members[1:]), "backup.incomplete"),
        (lambda m: msgspec.structs.replace(m, program="wardround-other"), "backup.other_program"),
        (lambda m: changed(m, "main.toml", sha256=member("x", b"other").sha256), "backup.differs"),
        (lambda m: m.encoded.replace(b'"format": 1', b'"format": 2'), "backup.malformed"),
        (lambda m: m.encoded.replace(b"{", b'{"more": 1, ', 1), "backup.malformed"),
        (lambda m: m.encoded + b" ", "backup.malformed"),
        (lambda m: b"[" * 100_000, "backup.malformed"),
        (lambda m: b"\xff", "backup.malformed"),
    ],
)
def test_a_manifest_that_lies_is_refused(tmp_path, restore, lie, code):
    file = forged(tmp_path / "file", FILES, program="wardround-test", lie=lie)
    assert refused(tmp_path, restore, file) == code


def test_what_is_there_is_never_replaced(folder, tmp_path, restore):
    write_backup(folder, tmp_path / "file", CONTENTS)
    target = tmp_path / "restored"
    target.symlink_to(tmp_path / "nowhere")
    assert code_of(lambda: restore(tmp_path / "file")) == "backup.target_exists"
    target.unlink()
    target.mkdir()
    assert code_of(lambda: restore(tmp_path / "file")) == "backup.target_exists"
    assert not list(target.iterdir())


def test_a_file_that_is_not_there_is_said_to_be_so(tmp_path, restore):
    assert refused(tmp_path, restore, tmp_path / "none") == "backup.unreadable"
