"""The lies of a coordinator as a table: each is told to production sites, in the production codec and under
the coordinator's own valid signature, and ends in an error code that no other lie of the table ends in.
"""

from __future__ import annotations

import lies_about_members
import lies_about_rounds
import lies_about_sums
import pytest
from lies import AGAIN, LIES, Stage

from wardround_common.errors import WardroundError

MODULES = (lies_about_members, lies_about_rounds, lies_about_sums)


@pytest.fixture
def stage(world, make_record, tmp_path):
    made = Stage(world, make_record, tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("name", LIES | AGAIN)
def test_a_site_refuses(name, stage):
    code, story = (LIES | AGAIN)[name]
    act = story(stage)
    with pytest.raises(WardroundError) as caught:
        act()
    assert caught.value.code == code, caught.value


def test_there_are_at_least_25_lies_and_each_has_a_code_of_its_own():
    codes = [code for code, _ in LIES.values()]
    assert len(codes) >= 25
    assert len(set(codes)) == len(codes)
    assert {code for code, _ in AGAIN.values()} <= set(codes)


def test_every_lie_stands_in_one_of_the_three_modules():
    for name in LIES | AGAIN:
        assert sum(hasattr(module, name) for module in MODULES) == 1
