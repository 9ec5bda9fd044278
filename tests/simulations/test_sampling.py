"""``wardround-sim sample``: images from a released generator, the same for the same seed."""

import sys

import msgspec
import numpy as np
import pydicom
import pytest
from federations import make_plan

from wardround_common.errors import ConfigError
from wardround_common.models import initial_vector_of
from wardround_common.plan import ModelPlan
from wardround_common.tasks.generation import GenerationPlan
from wardround_server.report import MODEL_FILE, write_release
from wardround_simulations.main import main
from wardround_simulations.sampling import sample


def generation_plan(**changes):
    fields = {
        "task": GenerationPlan(latent=8, discriminator_steps=1, fakes=4, ema_decay=0.5),
        "model": ModelPlan(name="wavelet"),
        "evaluation": None,
    }
    return make_plan(3, **(fields | changes))


@pytest.fixture(scope="module", params=["both", "generator"])
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    plan = generation_plan()
    plan = msgspec.structs.replace(plan, task=msgspec.structs.replace(plan.task, shared=request.param))
    write_release(plan, initial_vector_of(plan), folder)
    return folder


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def arrays(folder):
    with np.load(folder / "samples.npz") as opened:
        return opened["images"], opened["label"]


def draw(run, out, *, label=None, count=3, seed=0):
    sample(run, out=out, label=label, count=count, seed=seed)
    return arrays(out)


def test_a_seed_gives_the_same_files_and_another_seed_others(run, tmp_path):
    first, _ = draw(run, tmp_path / "a")
    draw(run, tmp_path / "b")
    other, _ = draw(run, tmp_path / "c", seed=1)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert first.shape == other.shape == (6, 1, 32, 32)
    assert len({image.tobytes() for image in [*first, *other]}) == 12


def test_an_image_does_not_depend_on_what_else_is_drawn(run, tmp_path):
    few, label = draw(run, tmp_path / "a", count=2)
    many, _ = draw(run, tmp_path / "b", count=5)
    alone, alone_label = draw(run, tmp_path / "c", label="nodule", count=2)
    assert label.tolist() == [0, 0, 1, 1]
    assert alone_label.tolist() == [1, 1]
    np.testing.assert_allclose(few[:2], many[:2], atol=1e-6)
    np.testing.assert_allclose(few[2:], many[5:7], atol=1e-6)
    assert np.array_equal(alone, few[2:])


def test_every_file_says_that_it_is_synthetic(run, tmp_path):
    draw(run, tmp_path / "out", count=1)
    names = set(files(tmp_path / "out"))
    assert {"grid.png", "samples.npz", "png/nodule_0001.png", "dicom/nodule_0001.dcm"} <= names
    assert pydicom.dcmread(tmp_path / "out/dicom/nodule_0001.dcm")[0x0008, 0x001C].value == "YES"


def test_an_unknown_label_is_refused_with_the_known_ones(run, tmp_path):
    with pytest.raises(ConfigError) as caught:
        sample(run, out=tmp_path / "out", label="fracture", count=1, seed=0)
    assert caught.value.code == "sample.unknown_label"
    assert "normal, nodule" in caught.value.remedy
    assert not (tmp_path / "out").exists()


def test_a_classifier_draws_nothing(tmp_path):
    plan = make_plan(3)
    write_release(plan, initial_vector_of(plan), tmp_path)
    with pytest.raises(ConfigError) as caught:
        sample(tmp_path, out=tmp_path / "out", label=None, count=1, seed=0)
    assert caught.value.code == "sample.no_generator"


def command(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["wardround-sim", "sample", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    output = capsys.readouterr()
    return ended.value.code, output.out, output.err


def test_the_command_prints_the_path_of_the_grid(run, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    code, printed, _ = command(
        monkeypatch, capsys, run, "--out", out, "--label", "normal", "--count", 2, "--seed", 3
    )
    assert code in (0, None)
    assert printed.splitlines()[-1] == str(out / "grid.png")
    assert (out / "grid.png").is_file()
    images, label = arrays(out)
    assert np.array_equal(images, draw(run, tmp_path / "again", label="normal", count=2, seed=3)[0])
    assert label.tolist() == [0, 0]


@pytest.mark.parametrize("what", ["damaged", "nothing"])
def test_what_is_no_release_is_one_clear_error(tmp_path, monkeypatch, capsys, what):
    if what == "damaged":
        plan = generation_plan()
        write_release(plan, initial_vector_of(plan), tmp_path)
        (tmp_path / MODEL_FILE).write_bytes(b"no tensors")
    code, _, err = command(monkeypatch, capsys, tmp_path, "--out", tmp_path / "out")
    assert code == 1
    assert err.strip().splitlines()[-2].startswith("error: ")
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()
