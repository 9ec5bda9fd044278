import io

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from wardround_common.errors import ConfigError, StorageError
from wardround_simulations.folders import open_run
from wardround_simulations.synthetic import writer
from wardround_simulations.synthetic.folder import write_folder
from wardround_simulations.synthetic.pictures import marked
from wardround_simulations.synthetic.writer import write_samples


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_image_is_written_as_picture_and_as_dicom(samples, tmp_path):
    given = samples(n=3)
    assert write_samples(tmp_path / "out", given) == tmp_path / "out" / "grid.png"
    names = ("clear_0001", "nodule_0001", "clear_0002")
    assert set(contents(tmp_path / "out")) == {
        *(".wardround", "README.txt", "grid.png", "samples.npz"),
        *(f"png/{name}.png" for name in names),
        *(f"dicom/{name}.dcm" for name in names),
    }
    for name, image_CHW in zip(names, given.images_NCHW, strict=True):
        shown = np.asarray(Image.open(tmp_path / "out" / "png" / f"{name}.png"))
        assert np.array_equal(shown, marked(image_CHW))
        assert np.array_equal(dcmread(tmp_path / "out" / "dicom" / f"{name}.dcm").pixel_array, shown)


def test_every_file_says_that_it_is_synthetic(samples, tmp_path):
    write_samples(tmp_path / "out", samples())
    for name, data in contents(tmp_path / "out").items():
        said = str(np.load(io.BytesIO(data))["note"]).encode() if name.endswith(".npz") else data
        assert name == ".wardround" or b"SYNTHETIC" in said, name
    assert len((tmp_path / "out" / "README.txt").read_text().splitlines()) == 2


def test_the_arrays_are_the_generated_ones_and_need_no_pickle(samples, tmp_path):
    given = samples(channels=3)
    write_samples(tmp_path / "out", given)
    with np.load(tmp_path / "out" / "samples.npz", allow_pickle=False) as arrays:
        assert np.array_equal(arrays["images"], given.images_NCHW)
        assert arrays["images"].dtype == np.float32
        assert arrays["label"].tolist() == given.label_N.tolist()
        assert tuple(arrays["names"].tolist()) == given.labels


def test_the_same_samples_give_the_same_bytes_in_every_file(samples, tmp_path, monkeypatch):
    write_samples(tmp_path / "a", samples())
    monkeypatch.setattr("time.time", lambda: 2e9)
    write_samples(tmp_path / "b", samples())
    write_samples(tmp_path / "c", samples(seed=1))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a") != contents(tmp_path / "c")


def test_an_earlier_set_is_replaced_entirely(samples, tmp_path):
    write_samples(tmp_path / "out", samples(n=9))
    write_samples(tmp_path / "out", samples(n=2))
    write_samples(tmp_path / "new", samples(n=2))
    assert contents(tmp_path / "out") == contents(tmp_path / "new")


@pytest.mark.parametrize("make", ["a file of somebody", "a run", "a file among samples", "no folder"])
def test_a_folder_with_something_else_is_refused_and_stays_as_it_was(samples, tmp_path, make):
    out = tmp_path / "out"
    if make == "a file of somebody":
        out.mkdir()
        (out / "thesis.txt").write_text("years of work")
    elif make == "a run":
        open_run(out, replace=False)
    elif make == "a file among samples":
        write_samples(out, samples())
        (out / "thesis.txt").write_text("years of work")
    else:
        out.write_text("a file")
    before = contents(tmp_path)
    with pytest.raises(ConfigError) as raised:
        write_samples(out, samples(seed=1))
    assert raised.value.code == "config.out_exists"
    assert contents(tmp_path) == before


def test_a_run_does_not_write_into_a_folder_of_samples(samples, tmp_path):
    write_samples(tmp_path / "out", samples())
    for replace in (False, True):
        with pytest.raises(ConfigError):
            open_run(tmp_path / "out", replace=replace)


@pytest.mark.parametrize("before", ["nothing", "an empty folder", "samples"])
def test_an_error_in_the_middle_leaves_what_was_there(samples, tmp_path, monkeypatch, before):
    out = tmp_path / "out"
    if before == "an empty folder":
        out.mkdir()
    elif before == "samples":
        write_samples(out, samples())
    there, files = out.exists(), contents(tmp_path)

    def fails(sample, all_samples):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "dicom_file", fails)
    with pytest.raises(StorageError, match="No space left"):
        write_samples(out, samples(seed=1))
    assert (out.exists(), contents(tmp_path)) == (there, files)


def test_an_error_while_a_set_is_put_in_place_leaves_an_empty_folder_empty(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(StorageError):
        write_folder(tmp_path / "out", [("png", b"a file"), ("png/a.png", b"below a file")])
    assert list((tmp_path / "out").iterdir()) == []


def test_what_an_interrupted_command_left_is_replaced(samples, tmp_path):
    write_samples(tmp_path / "new", samples())
    out = tmp_path / "out"
    (out / ".partial" / "png").mkdir(parents=True)
    (out / ".partial" / "png" / "clear_0009.png").write_bytes(b"half")
    (out / ".wardround").write_text("samples\n")
    write_samples(out, samples())
    assert contents(out) == contents(tmp_path / "new")


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": ("clear", "../../etc")},
        {"labels": ("clear", "clear")},
        {"label_N": np.array([0, 1, 2, 0, 1])},
        {"label_N": np.array([0, 1])},
        {"images_NCHW": np.full((5, 1, 32, 32), np.nan, np.float32)},
        {"images_NCHW": np.full((5, 1, 32, 32), 200, np.float32)},
        {"images_NCHW": np.zeros((5, 2, 32, 32), np.float32)},
        {"plan_digest": "unknown"},
    ],
)
def test_samples_that_do_not_fit_together_are_refused(samples, changes):
    with pytest.raises(ValueError, match="expected"):
        samples(**changes)
