"""The catalogue: order, sides, views, and files that were tampered with."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keys import DATA, KEY

from wardround_client.catalogue import (
    CATALOGUE_FILE,
    SIDES,
    Catalogue,
    Row,
    evaluation_rows,
    side_of,
    tensor_digest,
)
from wardround_client.sealing import SiteKey
from wardround_common.canonical import digest
from wardround_common.errors import StorageError


def key(kind, n):
    return digest(f"test {kind}", n.to_bytes(4, "big"))


def rows(patients=40, seed=0):
    rng = np.random.default_rng(seed)
    return [
        Row(
            patient_key=key("patient", p),
            scan_key=key("scan", 10 * p + n),
            label=p % 2,
            image_CHW=rng.random((1, 8, 8), np.float32),
        )
        for p in range(patients)
        for n in range(1 + p % 3)
    ]


@pytest.fixture
def catalogue():
    return Catalogue.of(rows())


def test_rows_are_sorted_by_patient_and_scan_in_whatever_order_they_come(catalogue):
    order = [
        (catalogue.patient_keys[p], scan)
        for p, scan in zip(catalogue.patient_N, catalogue.sop_N, strict=True)
    ]
    assert order == sorted(order)
    shuffled = Catalogue.of(rows()[::-1])
    assert shuffled.snapshot == catalogue.snapshot
    assert np.array_equal(shuffled.images_NCHW, catalogue.images_NCHW)


def test_the_snapshot_is_the_digest_of_sorted_rows(catalogue):
    def number(value):
        return int(value).to_bytes(8, "big")

    lines = []
    for row in sorted(rows(), key=lambda row: (row.patient_key, row.scan_key)):
        rest = (
            row.scan_key,
            tensor_digest(row.image_CHW),
            number(row.label),
            number(side_of(row.patient_key)),
        )
        lines.append(digest("catalogue row", row.patient_key, *rest))
    assert catalogue.snapshot == digest("catalogue", *lines)


def test_any_change_of_content_changes_the_snapshot(catalogue):
    seen = {catalogue.snapshot, Catalogue.of(rows()[1:]).snapshot}
    for field, value in (("label", 7), ("scan_key", b"\0" * 32), ("patient_key", b"\0" * 32)):
        changed = rows()
        values = {name: getattr(changed[0], name) for name in Row.__slots__}
        changed[0] = Row(**(values | {field: value}))
        seen.add(Catalogue.of(changed).snapshot)
    changed = rows()
    changed[0].image_CHW[0, 0, 0] += np.float32(1e-6)
    seen.add(Catalogue.of(changed).snapshot)
    assert len(seen) == 6


def test_sides_share_no_patient_and_lose_none(catalogue):
    views = [catalogue.of_side(side) for side in SIDES]
    assert sorted(sum((view.patient_keys for view in views), ())) == list(catalogue.patient_keys)
    assert sorted(sum((view.sop_N for view in views), ())) == sorted(catalogue.sop_N)
    for side, view in enumerate(views):
        assert all(side_of(patient) == side for patient in view.patient_keys)
        assert view.snapshot == catalogue.snapshot
        assert np.array_equal(view.images_NCHW, catalogue.of_side(side).images_NCHW)
        for n, scan in enumerate(view.sop_N):
            whole = catalogue.sop_N.index(scan)
            assert np.array_equal(view.images_NCHW[n], catalogue.images_NCHW[whole])
            assert view.label_N[n] == catalogue.label_N[whole]
            owner = catalogue.patient_keys[catalogue.patient_N[whole]]
            assert view.patient_keys[view.patient_N[n]] == owner


@pytest.mark.parametrize("side", ["training", 3, -1])
def test_a_side_that_does_not_exist_is_refused(catalogue, side):
    with pytest.raises(ValueError, match="not in"):
        catalogue.of_side(side)


def test_shares_of_the_sides_are_seventy_fifteen_fifteen():
    counts = np.bincount([side_of(key("share", n)) for n in range(20_000)], minlength=3) / 20_000
    assert np.allclose(counts, [0.7, 0.15, 0.15], atol=0.012)  # five standard deviations


def test_the_side_of_a_key_never_changes():
    assert [side_of(bytes([n]) * 32) for n in range(29)] == [
        0,
        0,
        0,
        0,
        0,
        1,
        1,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        1,
        0,
        2,
    ]


@given(st.binary(min_size=32, max_size=32))
def test_a_side_is_a_function_of_the_key(patient_key):
    assert side_of(patient_key) == side_of(bytes(patient_key)) in (0, 1, 2)


def test_evaluation_takes_one_image_of_each_patient(catalogue):
    chosen = evaluation_rows(catalogue)
    assert catalogue.patient_N[chosen].tolist() == list(range(len(catalogue.patient_keys)))
    view = catalogue.of_side("test")
    assert set(np.array(view.sop_N)[evaluation_rows(view)]) <= set(np.array(catalogue.sop_N)[chosen])


def test_the_image_for_evaluation_depends_on_no_other_patient(catalogue):
    fewer = Catalogue.of(rows()[30:])
    of_fewer = {fewer.sop_N[n] for n in evaluation_rows(fewer)}
    of_all = {catalogue.sop_N[n] for n in evaluation_rows(catalogue)}
    complete = {row.scan_key for row in rows() if row.patient_key != rows()[30].patient_key}
    assert of_fewer & complete <= of_all


def test_arrays_cannot_be_written(catalogue):
    with pytest.raises(ValueError, match="read-only"):
        catalogue.images_NCHW[0] = 0


def test_a_saved_catalogue_comes_back(catalogue, tmp_path):
    path = tmp_path / "deep" / CATALOGUE_FILE
    catalogue.save(path, DATA)
    loaded = Catalogue.load(path, DATA)
    for name in ("images_NCHW", "patient_N", "label_N", "side_P"):
        assert np.array_equal(getattr(loaded, name), getattr(catalogue, name))
        assert not getattr(loaded, name).flags.writeable
    assert loaded.sop_N == catalogue.sop_N
    assert loaded.patient_keys == catalogue.patient_keys
    assert loaded.snapshot == catalogue.snapshot
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_the_view_of_a_side_cannot_be_saved(catalogue, tmp_path):
    with pytest.raises(StorageError) as caught:
        catalogue.of_side("train").save(tmp_path / "view", DATA)
    assert caught.value.code == "catalogue.view"
    assert list(tmp_path.iterdir()) == []


def parts_of(path):
    """What a saved catalogue holds, as only who has the site key reads it: all but the images, and those."""
    with path.open("rb") as file:
        content = b"".join(DATA.opened(file, CATALOGUE_FILE))
    end = 8 + int.from_bytes(content[:8], "big")
    return bytearray(content[8:end]), bytearray(content[end:])


def write_parts(path, head, images, *, length=None):
    length = len(head) if length is None else length
    path.write_bytes(DATA.seal(length.to_bytes(8, "big") + bytes(head) + bytes(images), CATALOGUE_FILE))


def another_head(head, **changes):
    head[:] = msgspec.msgpack.encode(msgspec.msgpack.decode(bytes(head)) | changes)


@pytest.mark.parametrize(
    "tamper",
    [
        lambda head, images: images.__setitem__(3, images[3] ^ 1),
        lambda head, images: images.__delitem__(slice(-256, None)),
        lambda head, images: images.extend(bytes(256)),
        lambda head, images: images.__setitem__(slice(None), images[256:] + images[:256]),
        lambda head, images: images.clear(),
        lambda head, images: head.pop(),
        lambda head, images: head.append(0),
        lambda head, images: head.__setitem__(-1, head[-1] ^ 1),
        lambda head, images: head.__setitem__(200, head[200] ^ 1),
        lambda head, images: another_head(head, shape=[len(images) // 512, 1, 16, 8]),
        lambda head, images: another_head(head, shape=[len(images) // 256, 1, 4, 16]),
        lambda head, images: another_head(head, shape=[2**30, 1, 2**30, 2**30]),
        lambda head, images: another_head(head, shape=[0, 1, 8, 8]),
        lambda head, images: another_head(head, rows=[]),
        lambda head, images: another_head(head, version=1),
        lambda head, images: another_head(head, more=1),
    ],
)
def test_a_catalogue_that_was_altered_is_refused_under_the_right_key_too(catalogue, tmp_path, tamper):
    path = tmp_path / "catalogue"
    catalogue.save(path, DATA)
    head, images = parts_of(path)
    write_parts(path, head, images)
    assert Catalogue.load(path, DATA).snapshot == catalogue.snapshot
    tamper(head, images)
    write_parts(path, head, images)
    assert code_of(path) == "catalogue.altered"


@pytest.mark.parametrize("length", [0, 5, 2**20, 2**40, 2**63])
def test_a_length_that_is_not_so_is_refused(catalogue, tmp_path, length):
    path = tmp_path / "catalogue"
    catalogue.save(path, DATA)
    write_parts(path, *parts_of(path), length=length)
    assert code_of(path) == "catalogue.altered"


def test_no_byte_of_a_saved_catalogue_can_be_changed(tmp_path):
    path = tmp_path / "catalogue"
    Catalogue.of(rows()[:4]).save(path, DATA)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert code_of(path) in {"catalogue.altered", "storage.other_key"}
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        assert code_of(path) == "catalogue.altered"


def test_a_catalogue_opens_under_its_own_site_key_and_plan_only(catalogue, tmp_path):
    path = tmp_path / "catalogue"
    catalogue.save(path, DATA)
    assert code_of(path, KEY.data(b"q" * 32)) == "catalogue.altered"
    assert code_of(path, SiteKey(b"t" * 32).data(b"p" * 32)) == "storage.other_key"
    path.write_bytes(DATA.seal(b"".join(parts_of(path)), "rejects.sealed"))
    assert code_of(path) == "catalogue.altered"


def test_nothing_of_an_image_or_a_key_lies_in_the_file(catalogue, tmp_path):
    path = tmp_path / "catalogue"
    catalogue.save(path, DATA)
    clear = path.read_bytes()
    head, images = parts_of(path)
    assert catalogue.images_NCHW[0].tobytes() in images
    assert catalogue.patient_keys[0] in head
    for word in (*catalogue.patient_keys, *catalogue.sop_N, catalogue.images_NCHW[0].tobytes()[:16]):
        assert word not in clear


def code_of(path, sealer=DATA):
    with pytest.raises(StorageError) as caught:
        Catalogue.load(path, sealer)
    return caught.value.code


def with_channels(count):
    return [
        Row(
            patient_key=row.patient_key,
            scan_key=row.scan_key,
            label=row.label,
            image_CHW=np.repeat(row.image_CHW, count, axis=0),
        )
        for row in rows()
    ]


def test_colour_images_come_back_and_each_channel_counts_in_the_snapshot(tmp_path):
    colours = with_channels(3)
    catalogue = Catalogue.of(colours)
    catalogue.save(tmp_path / "catalogue", DATA)
    loaded = Catalogue.load(tmp_path / "catalogue", DATA)
    assert loaded.images_NCHW.shape == (len(colours), 3, 8, 8)
    assert loaded.snapshot == catalogue.snapshot
    seen = {catalogue.snapshot}
    for channel in range(3):
        changed = with_channels(3)
        changed[0].image_CHW[channel, 0, 0] += np.float32(1e-6)
        seen.add(Catalogue.of(changed).snapshot)
    assert len(seen) == 4


@pytest.mark.parametrize("count", [0, 2, 4])
def test_images_of_another_number_of_channels_are_refused(catalogue, tmp_path, monkeypatch, count):
    with pytest.raises(ValueError, match="1 or 3"):
        Catalogue.of(with_channels(count))
    with monkeypatch.context() as patch:
        patch.setattr("wardround_client.catalogue.CHANNELS", range(5))
        Catalogue.of(with_channels(count)).save(tmp_path / "catalogue", DATA)
    with pytest.raises(StorageError) as caught:
        Catalogue.load(tmp_path / "catalogue", DATA)
    assert caught.value.code == "catalogue.altered"


def test_a_catalogue_that_is_missing_or_no_catalogue_is_refused(tmp_path):
    path = tmp_path / "catalogue"
    with pytest.raises(StorageError) as caught:
        Catalogue.load(path, DATA)
    assert caught.value.code == "catalogue.unreadable"
    for content in (b"", b"\xff" * 100, b"\x08\0\0\0\0\0\0\0{}      "):
        path.write_bytes(content)
        with pytest.raises(StorageError) as caught:
            Catalogue.load(path, DATA)
        assert caught.value.code == "catalogue.altered"


def test_a_failed_save_leaves_the_catalogue_from_before(catalogue, tmp_path):
    path = tmp_path / "catalogue"
    catalogue.save(path, DATA)
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(StorageError) as caught:
        catalogue.save(blocked / "catalogue", DATA)
    assert caught.value.code == "store.unwritable"
    assert Catalogue.load(path, DATA).snapshot == catalogue.snapshot
