"""The site key's file: where it lies, and who else may read it."""

from __future__ import annotations

import os
import struct
import sys

import pytest

from wardround_client.home import SiteHome
from wardround_common.errors import StorageError

SECRET = bytes(range(32))
CONFIG = 'name = "birch"\nhost = "coordinator.example"\nport = 8443\n'


@pytest.fixture
def home(tmp_path):
    path = tmp_path / "site"
    path.mkdir(mode=0o700)
    (path / "site.toml").write_text(CONFIG)
    keep(path / "site.key", SECRET)
    return SiteHome(path)


def keep(path, data, *, mode=0o600):
    path.write_bytes(data)
    path.chmod(mode)
    return path


def place(home, where):
    (home.path / "site.toml").write_text(f'{CONFIG}site_key = "{where}"\n')


def code_of(home):
    with pytest.raises(StorageError) as caught:
        home.site_key  # noqa: B018
    assert SECRET.hex() not in caught.value.message
    return caught.value.code


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_the_key_is_read_from_a_file_that_only_its_owner_may_use(home, mode):
    (home.path / "site.key").chmod(mode)
    assert home.site_key.secret == SECRET


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o440, 0o660, 0o602, 0o610])
def test_a_key_that_others_may_use_is_refused(home, mode):
    (home.path / "site.key").chmod(mode)
    assert code_of(home) == "files.exposed"


def test_a_key_that_is_missing_or_has_another_length_is_refused_with_a_remedy(home):
    for data in (b"", SECRET[:-1], SECRET + b"\n"):
        keep(home.path / "site.key", data)
        assert code_of(home) == "site_key.malformed"
    (home.path / "site.key").unlink()
    assert code_of(home) == "site_key.missing"


def test_the_key_may_lie_elsewhere_and_then_the_file_in_the_folder_is_not_used(home, tmp_path):
    other = keep(tmp_path / "credential", bytes(32), mode=0o400)
    place(home, other)
    assert home.site_key.secret == bytes(32)
    place(home, "../credential")
    assert home.site_key.secret == bytes(32)
    other.chmod(0o444)
    assert code_of(home) == "files.exposed"
    other.unlink()
    assert code_of(home) == "site_key.missing"


def access(*entries):
    """An access control list as Linux keeps it: tag, permissions, id."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


USER, NAMED_USER, GROUP, NAMED_GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
NONE = 0xFFFFFFFF
if sys.platform == "linux":
    ME = os.geteuid()
    LISTS = [
        ([(NAMED_USER, 4, ME), (GROUP, 0, NONE), (MASK, 4, NONE), (OTHER, 0, NONE)], True),
        ([(NAMED_USER, 4, ME + 7), (GROUP, 0, NONE), (MASK, 4, NONE), (OTHER, 0, NONE)], False),
        ([(NAMED_USER, 4, ME), (GROUP, 4, NONE), (MASK, 4, NONE), (OTHER, 0, NONE)], False),
        ([(GROUP, 0, NONE), (NAMED_GROUP, 4, 7), (MASK, 4, NONE), (OTHER, 0, NONE)], False),
        ([(NAMED_USER, 4, ME), (GROUP, 0, NONE), (MASK, 4, NONE), (OTHER, 4, NONE)], False),
    ]

    @pytest.mark.parametrize(("entries", "fine"), LISTS)
    def test_a_credential_of_systemd_is_fine_and_a_list_that_lets_in_others_is_not(home, entries, fine):
        os.setxattr(home.path / "site.key", "system.posix_acl_access", access((USER, 4, NONE), *entries))
        assert (home.path / "site.key").stat().st_mode & 0o040
        if fine:
            assert home.site_key.secret == SECRET
        else:
            assert code_of(home) == "files.exposed"
