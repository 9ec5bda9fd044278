"""The images' recipes: users, pins and locks; and the health check against a service that runs."""

import fnmatch
import importlib.metadata
import json
import re
import shutil
import signal
import subprocess
import sys
import tomllib

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from deployments import DEPLOY, compose
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from services import coordinator

from wardround_common.certificates import Issuer

ROOT = DEPLOY.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMAGES = ("coordinator", "site")
USERS = {"coordinator": "10001", "site": "10002"}


def instructions(image):
    text = (DEPLOY / "docker" / f"Dockerfile.{image}").read_text()
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in joined.splitlines()]


def values(image, name):
    return [value.strip() for word, value in instructions(image) if word == name]


def entries(file):
    text = (DEPLOY / file).read_text().strip()
    return {entry.split("==")[0]: entry for entry in re.split(r"\n(?=\S)", text)}


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_runs_its_program_without_a_shell_as_a_user_of_its_own(image):
    assert json.loads(values(image, "ENTRYPOINT")[0]) == [f"/opt/wardround/bin/wardround-{image}"]
    assert json.loads(values(image, "CMD")[0])[0] == "run"
    assert values(image, "USER") == [f"{USERS[image]}:{USERS[image]}"]
    ids = (f"--gid {USERS[image]}", f"--uid {USERS[image]}")
    assert all(any(one in run for run in values(image, "RUN")) for one in ids)
    last = max(number for number, (word, _) in enumerate(instructions(image)) if word == "FROM")
    assert any("-m 0700 /data" in value for _, value in instructions(image)[last:])


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_is_built_from_a_tag_a_lock_with_hashes_and_our_wheel(image):
    (base,) = {value for value in values(image, "ARG") if value.startswith("BASE=")}
    assert re.fullmatch(r"BASE=python:3\.11-slim-[a-z]+", base)
    assert {value.split()[0] for value in values(image, "FROM")} == {"${BASE}"}
    copied = [value for value in values(image, "COPY") if "--from=" not in value]
    sources = {word for value in copied for word in value.split()[:-1]}
    assert f"dist/wardround_{image}-*.whl" in sources
    assert f"deploy/{image}.lock" in sources
    installs = [value for value in values(image, "RUN") if "pip" in value and "install" in value]
    assert any("--require-hashes" in value and f"{image}.lock" in value for value in installs)
    unpinned = [value for value in installs if "--require-hashes" not in value and "--no-index" not in value]
    assert len(unpinned) == (1 if image == "site" else 0)  # torch, by its version
    assert all("torch==" in value for value in unpinned)


@pytest.mark.parametrize("image", IMAGES)
def test_what_goes_into_the_build_is_what_is_copied(image):
    ignored = (DEPLOY / "docker" / f"Dockerfile.{image}.dockerignore").read_text().split("\n")
    ignored = [line for line in ignored if line and not line.startswith("#")]
    assert ignored[0] == "*"
    copied = {
        word for value in values(image, "COPY") if "--from=" not in value for word in value.split()[:-1]
    }
    assert {line.removeprefix("!") for line in ignored[1:]} == copied
    for path in copied - {f"dist/wardround_{image}-*.whl"}:
        assert (ROOT / path).is_file()


def test_the_wheels_have_the_names_that_the_images_wait_for():
    for image in IMAGES:
        wheel = f"wardround_{image}-{PROJECT['version']}-py3-none-any.whl"
        assert fnmatch.fnmatch(wheel, f"wardround_{image}-*.whl")
    tags = {
        compose("compose.yaml").services["coordinator"].image,
        compose("compose.site.yaml").services["site"].image,
    }
    assert tags == {f"wardround-{image}:{PROJECT['version']}" for image in IMAGES}


def needed(extra):
    """Everything that a wheel needs, on this machine, but torch and what only torch brings."""
    extras = PROJECT["optional-dependencies"]
    waiting = [Requirement(text) for text in (*PROJECT["dependencies"], *extras[extra])]
    found = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name == "torch" or (name, tuple(requirement.extras)) in found:
            continue
        found.add((name, tuple(requirement.extras)))
        for text in importlib.metadata.requires(name) or []:
            child = Requirement(text)
            wanted = requirement.extras or {""}
            if child.marker is None or any(child.marker.evaluate({"extra": one}) for one in wanted):
                waiting.append(child)
    return {name for name, _ in found}


@pytest.mark.parametrize("image", IMAGES)
def test_an_images_lock_is_the_part_of_the_lock_that_its_wheel_needs(image):
    """`make lock` writes all of them."""
    whole, part = entries("requirements.lock"), entries(f"{image}.lock")
    assert {name: whole.get(name) for name in part} == part
    assert set(part) == needed(image)
    assert all("--hash=sha256:" in entry for entry in part.values())


def test_the_coordinators_image_cannot_open_an_image_or_run_a_model():
    assert not {"torch", "opacus", "pydicom", "pillow", "pandas", "python-gdcm"} & set(
        entries("coordinator.lock")
    )


# the health check


def check(folder):
    command = [sys.executable, "-I", str(DEPLOY / "docker" / "health.py"), str(folder)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_the_health_check_is_the_one_of_image_and_pod():
    (said,) = values("coordinator", "HEALTHCHECK")
    command = json.loads(said.split("CMD", 1)[1])
    assert command == ["/opt/wardround/bin/python", "-I", "/opt/wardround/health.py", "/data/hub"]
    assert json.dumps(command) in (DEPLOY / "kubernetes" / "coordinator.yaml").read_text()
    assert not values("site", "HEALTHCHECK")


def test_only_the_service_of_this_folder_is_healthy(tmp_path):
    made = coordinator(tmp_path)
    assert check(made.coordinator).returncode == 1
    try:
        made.start_service()
        assert check(made.coordinator).returncode == 0
        other = tmp_path / "other"
        shutil.copytree(made.coordinator, other)
        (other / "ca.pem").write_bytes(Issuer.create("other").certificate.public_bytes(Encoding.PEM))
        assert check(other).returncode == 1
        made.service.send_signal(signal.SIGSTOP)  # the port is open, and nobody answers
        assert check(made.coordinator).returncode == 1
    finally:
        if made.service is not None:
            made.service.send_signal(signal.SIGCONT)
        made.stop()
