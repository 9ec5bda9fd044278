"""Tasks by name."""

import subprocess
import sys

import pytest

from wardround_client.tasks import load_task
from wardround_common.errors import ConfigError


def test_a_task_is_one_object_for_the_whole_process():
    assert load_task("classification") is load_task("classification")


def test_an_unknown_task_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError) as caught:
        load_task("segmentation")
    assert "classification" in caught.value.remedy


def test_torch_is_imported_when_a_task_is_asked_for_and_not_before():
    program = "import sys, wardround_client.tasks; print('torch' in sys.modules, 'opacus' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
