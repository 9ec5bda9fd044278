import shutil
import stat

import pytest
from authorities import TODAY, killed_at

from wardround_common.authority.folder import check_newest, create, opened
from wardround_common.authority.records import Register, open_undated, sign_register
from wardround_common.canonical import decode, encode
from wardround_common.errors import WardroundError
from wardround_common.identity import SigningKey
from wardround_common.trust import Signed

OTHER = SigningKey.from_seed(bytes([9]) * 32)


def refusal(home):
    with pytest.raises(WardroundError) as caught, opened(home):
        pass
    return caught.value.code


def test_the_key_and_its_folder_are_for_their_owner_alone(home):
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "authority.key").stat().st_mode) == 0o600


def test_an_authority_is_never_overwritten(home, tmp_path):
    before = (home / "authority.key").read_bytes()
    file = tmp_path / "file"
    file.write_text("mine")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    for path in (home, file, link):
        with pytest.raises(WardroundError) as caught:
            create(path, None)
        assert caught.value.code == "authority.exists"
    assert (home / "authority.key").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["authority", "file", "link"]


def test_an_authority_without_a_place_is_one_clear_error(tmp_path):
    with pytest.raises(WardroundError) as caught:
        create(tmp_path / "none" / "authority", None)
    assert caught.value.code == "files.unwritable"
    assert refusal(tmp_path) == "authority.absent"


def test_versions_rise_and_every_roster_is_kept(home, issue):
    rosters = [issue(), issue(), issue(revoke="birch")]
    with opened(home) as folder:
        assert [open_undated(data, folder.public).version for data in rosters] == [1, 2, 3]
        assert [folder.copy_of(version).read_bytes() for version in (1, 2, 3)] == rosters
        assert [gone.name for gone in folder.register.retired] == ["birch"]


def test_two_programs_do_not_issue_at_once(home, issue):
    with opened(home):
        assert refusal(home) == "authority.busy"
    with opened(home, change=False), opened(home, change=False):
        assert refusal(home) == "authority.busy"
    issue()


@pytest.mark.parametrize("name", ["authority.key", "authority.pub", "register", "rosters"])
def test_a_folder_that_lacks_a_part_is_refused(home, issue, name):
    issue()
    path = home / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(WardroundError) as caught:
        issue()
    assert caught.value.remedy


@pytest.mark.parametrize("name", ["register", "rosters/000001", "rosters/000002", "authority.pub"])
def test_a_flipped_bit_is_found(home, issue, name):
    issue(), issue()
    data = bytearray((home / name).read_bytes())
    data[len(data) // 2] ^= 1
    (home / name).write_bytes(data)
    assert refusal(home) == "authority.damaged"


def test_a_register_without_its_revocations_is_refused(home, issue):
    """A thief of the folder has no key: it can only sign with another."""
    issue(), issue(revoke="birch")
    signed = decode((home / "register").read_bytes(), Signed, limit_bytes=1 << 20)
    register = decode(signed.body, Register, limit_bytes=1 << 20)
    forged = Register(roster=register.roster)
    (home / "register").write_bytes(encode(Signed(encode(forged), signed.signature)))
    assert refusal(home) == "authority.damaged"
    (home / "register").write_bytes(sign_register(forged, OTHER))
    assert refusal(home) == "authority.damaged"


def test_a_folder_made_over_to_another_key_does_not_sign(home, issue):
    issue()
    shutil.rmtree(home / "rosters")
    (home / "rosters").mkdir()
    (home / "authority.pub").write_text(OTHER.public.hex() + "\n")
    (home / "register").write_bytes(sign_register(Register(), OTHER))
    with pytest.raises(WardroundError) as caught:
        issue()
    assert caught.value.code == "authority.other_key"


def test_a_register_that_was_rolled_back_is_found_by_the_copies(home, issue):
    issue()
    old = (home / "register").read_bytes()
    issue(revoke="birch")
    (home / "register").write_bytes(old)
    assert refusal(home) == "authority.rolled_back"


def test_a_copy_that_is_missing_or_was_exchanged_is_found(home, issue):
    issue(), issue(), issue()
    first, second = home / "rosters/000001", home / "rosters/000002"
    kept = first.read_bytes()
    first.unlink()
    assert refusal(home) == "authority.copy_missing"
    first.write_bytes(second.read_bytes())
    assert refusal(home) == "authority.damaged"
    first.write_bytes(kept)
    (home / "rosters/notes.txt").write_text("mine")
    assert refusal(home) == "authority.damaged"


def test_a_folder_restored_from_an_old_backup_is_found_by_the_newest_roster(home, issue, tmp_path):
    first = issue()
    shutil.copytree(home, tmp_path / "backup")
    newest = issue(revoke="birch")
    with opened(home) as folder:
        check_newest(folder, first)
        check_newest(folder, newest)
    with opened(tmp_path / "backup") as folder:
        check_newest(folder, first)
        with pytest.raises(WardroundError) as caught:
            check_newest(folder, newest)
        assert caught.value.code == "authority.rolled_back"


def test_a_version_issued_twice_is_found_by_the_other_roster(home, issue, tmp_path):
    issue()
    shutil.copytree(home, tmp_path / "twin")
    issue()
    with opened(tmp_path / "twin") as twin:
        before = twin.membership.revoke("birch")
        roster = before.roster(today=TODAY, days=30)
        other = twin.issue(roster, before.retired, twin.unlock(None))
    with opened(home) as folder, pytest.raises(WardroundError) as caught:
        check_newest(folder, other)
    assert caught.value.code == "authority.rolled_back"
    (home / "rosters/000002").write_bytes(other)
    assert refusal(home) == "authority.damaged"


def test_a_key_folder_open_to_others_does_not_sign(home, issue):
    home.chmod(0o755)
    with pytest.raises(WardroundError) as caught:
        issue()
    assert caught.value.code == "files.exposed"


def test_init_killed_at_any_moment_leaves_no_half_authority(tmp_path):
    point = 1
    while killed_at(point, lambda: create(tmp_path / "authority", None)):
        if (tmp_path / "authority").exists():
            with opened(tmp_path / "authority"):
                pass
            shutil.rmtree(tmp_path / "authority")
        point += 1
    assert point > 5
