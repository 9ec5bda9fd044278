import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = (Path(__file__).resolve().parents[1] / "conftest.py").read_text()


@pytest.mark.parametrize(
    ("reason", "ci", "status"),
    [
        ("../shared is absent", "true", 0),
        ("gpu", "true", 0),
        ("dciodvfy is not installed", "true", 1),
        ("dciodvfy is not installed", "", 0),
    ],
)
def test_in_ci_only_the_permitted_skips_pass(tmp_path, reason, ci, status):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(
        f"import pytest\ndef test_it():\n    pytest.skip({reason!r})\ndef test_other():\n    pass\n"
    )
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        env=os.environ | {"CI": ci},
        capture_output=True,
        check=False,
        cwd=tmp_path,
    )
    assert result.returncode == status, result.stdout.decode()
