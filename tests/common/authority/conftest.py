import pytest
from authorities import MEMBERS, TODAY

from wardround_common.authority import make_card, open_card
from wardround_common.authority.folder import create, opened
from wardround_common.identity import SigningKey


@pytest.fixture
def keys() -> dict[str, SigningKey]:
    return {name: SigningKey.from_seed(bytes([20 + i]) * 32) for i, name in enumerate(MEMBERS)}


@pytest.fixture
def cards(keys):
    return [open_card(make_card(name, key)) for name, key in keys.items()]


@pytest.fixture
def home(tmp_path):
    create(tmp_path / "authority", None)
    return tmp_path / "authority"


@pytest.fixture
def issue(home, cards):
    """Signs a roster in the folder: all members at first, later the same or without ``revoke``."""

    def issue(*, revoke=None):
        with opened(home) as folder:
            before = folder.membership
            after = (
                before.revoke(revoke)
                if revoke
                else before.admit([] if before.version else cards, replace=(), authority_key=folder.public)
            )
            return folder.issue(after.roster(today=TODAY, days=30), after.retired, folder.unlock(None))

    return issue
