import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wardround_common.authority.keyfile import KEY_LIMIT_BYTES, is_sealed, load, seal
from wardround_common.errors import WardroundError

PASSPHRASE = "correct horse battery staple"


@pytest.fixture(scope="module")
def key():
    return Ed25519PrivateKey.generate()


@pytest.fixture(scope="module")
def sealed(key):
    return seal(key, PASSPHRASE)


@pytest.fixture
def stored(tmp_path):
    def store(data, mode=0o600):
        path = tmp_path / "authority.key"
        path.write_bytes(data)
        path.chmod(mode)
        return path

    return store


def refusal(path, passphrase=PASSPHRASE):
    with pytest.raises(WardroundError) as caught:
        load(path, passphrase)
    assert PASSPHRASE not in str(caught.value) + caught.value.remedy
    return caught.value.code


def test_a_key_comes_back_with_its_passphrase_and_with_no_other(key, sealed, stored):
    path = stored(sealed)
    assert is_sealed(path)
    assert load(path, PASSPHRASE).public == key.public_key().public_bytes_raw()
    assert key.private_bytes_raw() not in sealed
    assert refusal(path, "correct horse battery stapler") == "authority.passphrase"
    assert refusal(path, None) == "authority.passphrase"


def test_a_key_without_passphrase_is_not_opened_with_one(key, stored):
    path = stored(seal(key, None))
    assert not is_sealed(path)
    assert load(path, None).public == key.public_key().public_bytes_raw()
    assert refusal(path) == "authority.no_passphrase_wanted"


def test_one_passphrase_gives_two_files_that_differ(key, sealed):
    assert seal(key, PASSPHRASE).splitlines()[0] != sealed.splitlines()[0]


def test_a_passphrase_that_is_quickly_tried_out_is_refused(key):
    with pytest.raises(WardroundError) as caught:
        seal(key, "hospital")
    assert caught.value.code == "authority.short_passphrase"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_key_that_others_may_read_is_refused(sealed, stored, mode):
    assert refusal(stored(sealed, mode)) == "files.exposed"


def test_a_key_whose_file_was_damaged_does_not_blame_the_passphrase(sealed, stored):
    lines = sealed.splitlines(keepends=True)
    lines[3] = lines[3][::-1]
    assert refusal(stored(b"".join(lines))) == "authority.bad_key"


def test_a_damaged_key_is_refused_with_a_remedy(sealed, stored):
    assert refusal(stored(sealed[:150])) == "authority.bad_key"
    assert refusal(stored(sealed.replace(b"salt=", b"salt=zz"))) == "authority.bad_key"
    assert refusal(stored(sealed.replace(b"salt=", b"salt=00"))) == "authority.bad_key"
    assert refusal(stored(b"no key"), None) == "authority.bad_key"
    assert refusal(stored(bytes(KEY_LIMIT_BYTES + 1)), None) == "files.too_long"
