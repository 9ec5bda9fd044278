from functools import partial

import pytest
from federations import make_world


@pytest.fixture
def world(tmp_path):
    """Makes small federations in a folder of the test."""
    return partial(make_world, tmp_path)
