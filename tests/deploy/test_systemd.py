"""The units: systemd's own verdicts, and the programs under the filters that the units ask for."""

import json
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from deployments import DEPLOY
from filtered import settings

from wardround_server.home import CoordinatorConfig

FOLDER = DEPLOY / "systemd"
UNITS = {
    "wardround-coordinator.service": "wardround-coordinator.service",
    "wardround-job@.service": "wardround-job@lung-nodules.service",
    "wardround-site.service": "wardround-site.service",
}
EXPOSURE = 15
"""The most that `systemd-analyze security` may say, in tenths: 1.5 of 10, which it calls OK."""
FILTERED = Path(__file__).parents[1] / "support" / "filtered.py"
PROGRAMS = Path(sys.executable).parent


@pytest.fixture
def analyze():
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed; see deploy/system-packages.txt")

    def run(*words):
        return subprocess.run(
            [program, "--no-pager", *map(str, words)], check=False, capture_output=True, text=True
        )

    return run


@pytest.fixture
def installed(tmp_path):
    """The units, with the programs where they are on this machine."""

    def put(name, change=lambda text: text):
        text = (FOLDER / name).read_text().replace("/opt/wardround/bin", str(PROGRAMS))
        (tmp_path / name).write_text(change(text))
        instance = tmp_path / UNITS[name]
        if instance.name != name:
            shutil.copy(tmp_path / name, instance)
        return instance

    return put


def test_these_are_all_units():
    assert {path.name for path in FOLDER.glob("*.service")} == set(UNITS)


@pytest.mark.parametrize("name", UNITS)
def test_systemd_understands_every_line(analyze, installed, name):
    result = analyze("verify", "--man=no", installed(name))
    assert (result.returncode, result.stderr) == (0, "")


def test_a_misspelt_line_is_noticed(analyze, installed):
    path = installed("wardround-site.service", lambda text: text.replace("ProtectHome=", "ProtectedHome="))
    assert "ProtectedHome" in analyze("verify", "--man=no", path).stderr


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_exposes_no_more_than_is_stated(analyze, installed, name):
    result = analyze("security", "--offline=true", f"--threshold={EXPOSURE}", installed(name))
    assert result.returncode == 0, result.stdout[-200:]


def test_a_unit_that_exposes_more_is_noticed(analyze, installed):
    path = installed(
        "wardround-site.service", lambda text: re.sub(r"^System.*\n|^Restrict.*\n", "", text, flags=re.M)
    )
    assert analyze("security", "--offline=true", f"--threshold={EXPOSURE}", path).returncode != 0


@pytest.mark.parametrize("name", UNITS)
def test_what_a_unit_must_not_lose(name):
    said = settings(FOLDER / name)
    for key, value in {
        "UMask": "0077",
        "LimitCORE": "0",
        "CapabilityBoundingSet": "",
        "ProtectSystem": "strict",
        "PrivateDevices": "yes",
        "MemoryDenyWriteExecute": "no" if "site" in name else "yes",
        "StateDirectoryMode": "0700",
        "SocketBindDeny": "any",
        "StartLimitIntervalSec": "0",
    }.items():
        assert said[key] == [value]
    assert said["User"] == said["Group"] != ["root"]
    (state,), (command,) = said["StateDirectory"], said["ExecStart"]
    assert f"/var/lib/{state}/" in command
    assert said["Restart"] == ["on-failure" if "@" in name else "always"]


def test_the_service_may_bind_the_ports_of_its_program_and_no_others():
    config = CoordinatorConfig(host="hub.example")
    said = settings(FOLDER / "wardround-coordinator.service")["SocketBindAllow"]
    assert set(said) == {f"tcp:{port}" for port in (config.port, config.enrol_port, config.runtime_port)}
    assert "SocketBindAllow" not in settings(FOLDER / "wardround-site.service")
    assert settings(FOLDER / "wardround-job@.service")["IPAddressAllow"] == ["localhost"]


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_types_a_command_that_its_program_has(name):
    (command,) = settings(FOLDER / name)["ExecStart"]
    words = [word for word in command.split() if not word.startswith("/var/lib") and word != "%i"]
    program = PROGRAMS / Path(words[0]).name
    result = subprocess.run([program, *words[1:], "--help"], check=False, capture_output=True, text=True)
    assert result.returncode == 0
    assert f"Usage: {program.name} {' '.join(words[1:])}" in " ".join(result.stdout.split())


def test_the_users_of_the_units_are_made(tmp_path):
    program = shutil.which("systemd-sysusers")
    if program is None:
        pytest.skip("systemd-sysusers is not installed; see deploy/system-packages.txt")
    (tmp_path / "etc").mkdir()
    subprocess.run([program, f"--root={tmp_path}", str(FOLDER / "wardround.conf")], check=True)
    made = {line.split(":")[0] for line in (tmp_path / "etc" / "passwd").read_text().splitlines()}
    assert {settings(FOLDER / name)["User"][0] for name in UNITS} <= made


def test_the_drop_in_for_gpus_is_a_drop_in_once_it_is_uncommented(analyze, installed):
    lines = (FOLDER / "wardround-site.service.d" / "gpu.conf.example").read_text().splitlines()
    assert all(line.startswith("#") for line in lines)
    body = [line.removeprefix("#") for line in lines if not line.startswith("# ")]
    path = installed("wardround-site.service")
    drop_in = path.with_name("wardround-site.service.d") / "gpu.conf"
    drop_in.parent.mkdir()
    drop_in.write_text("\n".join(body) + "\n")
    result = analyze("verify", "--man=no", path)
    assert (result.returncode, result.stderr) == (0, "")


# the filters

TRIES = """
import json, mmap, socket
def tried(act):
    try:
        act()
    except OSError as error:
        return error.errno
    return 0
def listen():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
def connect():
    with socket.socket() as one:
        one.settimeout(5)
        one.connect(("127.0.0.1", PORT))
print(json.dumps({
    "listen": tried(listen),
    "connect": tried(connect),
    "write and execute": tried(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)),
    "packets": tried(lambda: socket.socket(socket.AF_PACKET)),
}))
"""

TRAINS = """
import numpy as np
from federations import catalogue_of, make_plan
from wardround_client.tasks import load_task
from wardround_client.tasks.interface import RuntimeFlags
from wardround_common.state import initial_state
from wardround_common.streams import Stream, derive
import gdcm, openjpeg, pandas, pydicom, rle
from wardround_client.site import confirm_noise
plan = make_plan(3)
confirm_noise(plan)
state = initial_state(plan)
output = load_task("classification").train_round(
    plan, site="alder", start=state.vector, local_L=np.zeros(0, np.float32),
    data=catalogue_of("alder").of_side("train"),
    streams=lambda purpose, step: Stream(derive(bytes(32), purpose, step)), flags=RuntimeFlags(),
)
assert output.noisy_steps == plan.recipe.local_steps
print("trained")
"""


def under(name, code, *, path=()):
    """Run Python under a unit's filters."""
    command = [sys.executable, str(FILTERED), str(FOLDER / name), sys.executable]
    lines = "".join(f"import sys; sys.path.insert(0, {str(one)!r})\n" for one in path)
    return subprocess.run([*command, "-c", lines + code], check=False, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("name", "listens", "writes_code"),
    [
        ("wardround-coordinator.service", True, False),
        ("wardround-job@.service", False, False),
        ("wardround-site.service", False, True),
    ],
)
def test_only_the_service_can_listen_and_only_the_site_makes_code(analyze, name, listens, writes_code):
    with socket.create_server(("127.0.0.1", 0)) as server:
        result = under(name, TRIES.replace("PORT", str(server.getsockname()[1])))
    assert result.returncode == 0, result.stderr
    errors = json.loads(result.stdout)
    assert (errors["listen"] == 0) is listens
    assert errors["connect"] == 0
    assert (errors["write and execute"] == 0) is writes_code
    assert errors["packets"]


def test_a_site_trains_under_the_filters_of_its_unit(analyze):
    result = under("wardround-site.service", TRAINS, path=[FILTERED.parent])
    assert result.stdout.endswith("trained\n"), result.stderr
