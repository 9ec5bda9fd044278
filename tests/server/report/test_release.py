"""The released model and its plan: what was written comes back, and whatever does not fit is refused."""

import hashlib
import json
import shutil

import msgspec
import numpy as np
import pytest
from generated import generation_plan
from safetensors.numpy import load_file, save_file

from wardround_common.errors import ConfigError, StorageError
from wardround_common.models import initial_vector_of
from wardround_common.trust import plan_digest
from wardround_server.report import MODEL_FILE, RELEASE_FILE, read_release, write_release


@pytest.fixture
def released(plan, tmp_path):
    made = generation_plan(plan)
    write_release(made, initial_vector_of(made), tmp_path)
    return made, tmp_path


def refused(folder):
    with pytest.raises(StorageError) as caught:
        read_release(folder)
    assert "finished study" in caught.value.remedy
    return caught.value.code


def change_record(folder, **changes):
    path = folder / RELEASE_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_model(folder, plan, change, *, digest=None):
    """Another model with a digest of the file that fits: only the check of the content is left."""
    tensors = load_file(folder / MODEL_FILE)
    change(tensors)
    metadata = {"plan": digest or plan_digest(plan).hex()}
    save_file(tensors, folder / MODEL_FILE, metadata=metadata)
    change_record(folder, model_sha256=hashlib.sha256((folder / MODEL_FILE).read_bytes()).hexdigest())


def test_what_was_released_comes_back(released):
    plan, folder = released
    release = read_release(folder)
    assert release.plan == plan
    assert release.vector_P.dtype == np.float32
    assert np.array_equal(release.vector_P, initial_vector_of(plan))


def test_the_same_release_is_the_same_bytes(released, tmp_path):
    plan, folder = released
    write_release(plan, initial_vector_of(plan), tmp_path / "again")
    for name in (MODEL_FILE, RELEASE_FILE):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


@pytest.mark.parametrize("name", [MODEL_FILE, RELEASE_FILE])
def test_a_missing_file_is_refused(released, name):
    _, folder = released
    (folder / name).unlink()
    assert refused(folder) == "release.unreadable"


@pytest.mark.parametrize("place", [0, 5, 9, 200, -1, -4000])
def test_a_changed_byte_of_the_model_is_noticed(released, place):
    _, folder = released
    data = bytearray((folder / MODEL_FILE).read_bytes())
    data[place] ^= 1
    (folder / MODEL_FILE).write_bytes(data)
    assert refused(folder).startswith("release.")


def test_every_changed_byte_of_the_values_is_noticed_by_the_digest(released):
    _, folder = released
    data = bytearray((folder / MODEL_FILE).read_bytes())
    data[-1000] ^= 1
    (folder / MODEL_FILE).write_bytes(data)
    assert refused(folder) == "release.changed"


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"plan": {}}', b"\xff\xfe", b"[" * 100_000])
def test_a_record_that_is_none_is_refused(released, text):
    _, folder = released
    (folder / RELEASE_FILE).write_bytes(text)
    assert refused(folder) == "release.malformed"


def test_a_record_with_a_field_too_many_is_refused(released):
    _, folder = released
    change_record(folder, trained_by="somebody")
    assert refused(folder) == "release.malformed"


def test_files_that_are_too_long_are_refused_before_they_are_read(released):
    _, folder = released
    for name in (RELEASE_FILE, MODEL_FILE):
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(before + bytes(3 << 20))
        assert refused(folder) == "release.too_long"
        (folder / name).write_bytes(before)


def test_a_plan_that_was_edited_is_refused(released):
    plan, folder = released
    other = msgspec.structs.replace(plan, rounds=plan.rounds + 1)
    change_record(folder, plan=msgspec.to_builtins(other))
    assert refused(folder) == "release.wrong_plan"


def test_a_plan_whose_fields_do_not_fit_is_refused(released):
    plan, folder = released
    other = msgspec.structs.replace(plan, labels=("twice", "twice"))
    change_record(folder, plan=msgspec.to_builtins(other), plan_digest=plan_digest(other).hex())
    with pytest.raises(ConfigError, match="label twice"):
        read_release(folder)


def test_the_model_of_another_study_is_refused(released, tmp_path):
    plan, folder = released
    other = msgspec.structs.replace(plan, study="other")
    write_release(other, initial_vector_of(other), tmp_path / "other")
    shutil.copyfile(tmp_path / "other" / MODEL_FILE, folder / MODEL_FILE)
    assert refused(folder) == "release.wrong_plan"


def test_a_model_without_a_plan_is_refused(released):
    plan, folder = released
    change_model(folder, plan, lambda tensors: None, digest="none")
    assert refused(folder) == "release.wrong_plan"


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors.pop("generator.embedding"),
        lambda tensors: tensors.update(extra=np.zeros(3, np.float32)),
        lambda tensors: tensors.update({"generator.embedding": np.zeros((2, 17), np.float32)}),
        lambda tensors: tensors.update({"generator.embedding": tensors["generator.embedding"].T.copy()}),
        lambda tensors: tensors.update({"generator.embedding": np.zeros((2, 16), np.float16)}),
        lambda tensors: tensors.update({"generator.embedding": np.zeros((2, 16), np.int32)}),
    ],
)
def test_tensors_that_do_not_fit_the_plan_are_refused(released, change):
    plan, folder = released
    change_model(folder, plan, change)
    assert refused(folder) == "release.does_not_fit"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(released, value):
    plan, folder = released
    change_model(folder, plan, lambda tensors: tensors["generator.out.bias"].fill(value))
    assert refused(folder) == "release.not_finite"
