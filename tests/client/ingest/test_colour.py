"""Colour photographs: every way in which colours are stored, against the formulas of the standard."""

import io
import struct

import gdcm
import jpeg_ls
import msgspec
import numpy as np
import pytest
from keys import DATA
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate, get_frame

from wardround_client.catalogue import Catalogue
from wardround_client.ingest import CATALOGUE_FILE, limits
from wardround_common.errors import IngestError
from wardround_common.plan import InputPlan

ROWS, COLUMNS = 16, 16
PLAN = InputPlan(modality="XC", channels=3, size_px=16, spacing_mm=0.0, window="file")
GREY_PLAN = msgspec.structs.replace(PLAN, channels=1)
LEVEL = 1 / 255
NATIVE = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
)


def photograph(make, data, *, rows=ROWS, columns=COLUMNS, photometric="RGB", planar=0, **changes):
    """A file with ``data`` as its colours: bytes, or samples pixel by pixel."""
    data = np.ascontiguousarray(data).tobytes() if isinstance(data, np.ndarray) else data
    kind = {"SOPClassUID": uid.VLPhotographicImageStorage, "Modality": "XC", "PixelSpacing": None}
    form = {"SamplesPerPixel": 3, "PhotometricInterpretation": photometric}
    form |= {} if planar is None else {"PlanarConfiguration": planar}
    pixels = {"PixelData": data + b"\0" * (len(data) % 2)}
    return make(np.zeros((rows, columns), np.uint8), bits=8, **(kind | form | pixels | changes))


def compressed(make, frame, syntax, **changes):
    """A file with one compressed frame."""
    dataset = photograph(make, b"", **changes)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return dataset


@pytest.fixture
def read(hospital):
    """The tensor of a file, H x W x C."""

    def run(content, *, plan=PLAN):
        outcome = hospital.outcome(content, plan=plan)
        assert outcome.rejected is None, outcome.rejected
        return np.moveaxis(outcome.scan.image_CHW, 0, -1)

    return run


@pytest.fixture
def code(hospital):
    def run(content, *, plan=PLAN):
        return hospital.code(content, plan=plan)

    return run


def smooth(rows=ROWS, columns=COLUMNS):
    """Red grows downwards, green to the right, blue towards the upper left."""
    down, right = np.mgrid[:rows, :columns] / max(rows, columns)
    return (np.stack([down, right, 1 - (down + right) / 2], axis=-1) * 250).astype(np.uint8)


def noise(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (ROWS, COLUMNS, 3), np.uint8)


def to_rgb(ybr):
    """PS3.3 C.7.6.3.1.2, solved for R, G and B, pixel by pixel, 0 to 1."""
    result = np.empty(ybr.shape)
    for place in np.ndindex(ybr.shape[:2]):
        y, cb, cr = (float(value) for value in ybr[place])
        red, blue = y + 1.402 * (cr - 128), y + 1.772 * (cb - 128)
        result[place] = red, (y - 0.299 * red - 0.114 * blue) / 0.587, blue
    return np.clip(result / 255, 0, 1)


def in_planes(pixels_HWC):
    return np.moveaxis(pixels_HWC, -1, 0)


def jpeg(pixels_HWC, **options):
    file = io.BytesIO()
    Image.fromarray(pixels_HWC).save(file, "JPEG", quality=98, **options)
    return file.getvalue()


def without_jfif(frame):
    assert frame[2:4] == b"\xff\xe0"
    return frame[:2] + frame[4 + struct.unpack(">H", frame[4:6])[0] :]


def with_adobe(frame, transform):
    segment = b"Adobe\0\x64\0\0\0\0" + bytes([transform])
    return b"\xff\xd8\xff\xee" + struct.pack(">H", len(segment) + 2) + segment + without_jfif(frame)[2:]


def jpeg_2000(pixels_HWC, **options):
    file = io.BytesIO()
    Image.fromarray(pixels_HWC).save(file, "JPEG2000", no_jp2=True, **options)
    return file.getvalue()


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("syntax", NATIVE)
def test_red_green_and_blue_are_read_as_stored_by_pixel_and_by_plane(make, read, syntax, planar):
    stored = in_planes(noise()) if planar else noise()
    image = read(photograph(make, stored, planar=planar, syntax=syntax))
    assert np.array_equal(image, noise() / np.float32(255))


def test_big_endian_words_of_two_samples_are_turned_back(make, read):
    dataset = photograph(make, noise().reshape(-1, 2)[:, ::-1], syntax=uid.ExplicitVRBigEndian)
    dataset["PixelData"].VR = "OW"
    assert np.array_equal(read(dataset), noise() / np.float32(255))


@pytest.mark.parametrize("planar", [0, 1])
def test_ybr_full_follows_the_formulas_of_the_standard(make, read, planar):
    stored = in_planes(noise()) if planar else noise()
    image = read(photograph(make, stored, photometric="YBR_FULL", planar=planar))
    assert np.abs(image - to_rgb(noise())).max() < 0.51 * LEVEL


def test_two_pixels_of_ybr_full_422_share_their_chroma(make, read):
    ybr = noise()
    ybr[:, 1::2, 1:] = ybr[:, ::2, 1:]
    pairs = np.stack([ybr[:, ::2, 0], ybr[:, 1::2, 0], ybr[:, ::2, 1], ybr[:, ::2, 2]], axis=-1)
    assert pairs.size == ybr.size * 2 // 3
    image = read(photograph(make, pairs, photometric="YBR_FULL_422"))
    assert np.abs(image - to_rgb(ybr)).max() < 0.51 * LEVEL


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_rle_reads_the_same_as_the_original(make, read, photometric, planar):
    dataset = photograph(make, noise(), photometric=photometric)
    reference = read(dataset)
    dataset.compress(uid.RLELossless, generate_instance_uid=False)
    dataset.PlanarConfiguration = planar
    assert np.array_equal(read(dataset), reference)


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize(
    ("photometric", "options"),
    [("YBR_RCT", {"mct": 1}), ("RGB", {"mct": 1}), ("RGB", {"mct": 0})],
)
def test_reversible_jpeg_2000_changes_nothing(make, read, photometric, options, planar):
    frame = jpeg_2000(noise(), **options)
    dataset = compressed(make, frame, uid.JPEG2000Lossless, photometric=photometric, planar=planar)
    assert np.array_equal(read(dataset), noise() / np.float32(255))


def test_irreversible_jpeg_2000_changes_little(make, read):
    frame = jpeg_2000(smooth(), mct=1, irreversible=True)
    image = read(compressed(make, frame, uid.JPEG2000, photometric="YBR_ICT"))
    assert np.abs(image - smooth() / 255).mean() < LEVEL


@pytest.mark.parametrize("interleave", [0, 1, 2])
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_jpeg_ls_reads_the_same_however_samples_are_interleaved(make, read, photometric, interleave):
    reference = read(photograph(make, noise(), photometric=photometric))
    samples = np.ascontiguousarray(noise() if interleave else in_planes(noise()))
    frame = bytes(jpeg_ls.encode_array(samples, interleave_mode=interleave, lossy_error=0))
    for planar in (0, 1):
        dataset = compressed(make, frame, uid.JPEGLSLossless, photometric=photometric, planar=planar)
        assert np.array_equal(read(dataset), reference)


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_jpeg_lossless_reads_the_same_as_the_original(make, read, to_bytes, tmp_path, photometric):
    original = photograph(make, noise(), photometric=photometric)
    (tmp_path / "original").write_bytes(to_bytes(original))
    reader, change = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax()
    reader.SetFileName(str(tmp_path / "original"))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(tmp_path / "compressed"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    data = (tmp_path / "compressed").read_bytes()
    assert uid.JPEGLosslessSV1.encode() in data[:1000]
    assert np.array_equal(read(data), read(original))


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize(
    ("photometric", "options"),
    [
        ("YBR_FULL", {"subsampling": 0}),
        ("YBR_FULL_422", {"subsampling": 1}),
        ("RGB", {"keep_rgb": True}),
        ("RGB", {"subsampling": 1}),  # the file is wrong, and the JFIF marker right
    ],
)
def test_jpeg_changes_little(make, read, photometric, options, planar):
    frame = jpeg(smooth(), **options)
    image = read(compressed(make, frame, uid.JPEGBaseline8Bit, photometric=photometric, planar=planar))
    assert np.abs(image - smooth() / 255).mean() < 2 * LEVEL


def test_jpeg_without_a_marker_is_what_the_file_says(make, read):
    frame = without_jfif(jpeg(smooth(), subsampling=0))
    image = read(compressed(make, frame, uid.JPEGBaseline8Bit, photometric="YBR_FULL"))
    assert np.abs(image - smooth() / 255).mean() < 2 * LEVEL
    file = io.BytesIO()  # Pillow stores these samples as they are, having been told that they are YCbCr
    Image.frombytes("YCbCr", (COLUMNS, ROWS), smooth().tobytes()).save(
        file, "JPEG", quality=98, subsampling=0
    )
    frame = without_jfif(file.getvalue())
    image = read(compressed(make, frame, uid.JPEGBaseline8Bit, photometric="RGB"))
    assert np.abs(image - smooth() / 255).mean() < 2 * LEVEL


@pytest.mark.parametrize(
    ("transform", "photometric", "expected"),
    [
        (1, "YBR_FULL", ""),
        (1, "YBR_FULL_422", ""),
        (1, "RGB", "pixels.size_mismatch"),
        (0, "YBR_FULL", "pixels.size_mismatch"),
    ],
)
def test_an_adobe_marker_that_says_otherwise_than_the_file_is_refused(
    make, read, code, transform, photometric, expected
):
    frame = with_adobe(jpeg(smooth(), subsampling=0), transform)
    dataset = compressed(make, frame, uid.JPEGBaseline8Bit, photometric=photometric)
    assert code(dataset) == expected
    if not expected:
        assert np.abs(read(dataset) - smooth() / 255).mean() < 2 * LEVEL


REFUSED = [
    ("pixels.grey", {"SamplesPerPixel": 1, "photometric": "MONOCHROME2"}),
    ("pixels.grey", {"SamplesPerPixel": 1, "photometric": "MONOCHROME1"}),
    ("pixels.colour_model", {"SamplesPerPixel": 1, "photometric": "PALETTE COLOR"}),
    ("pixels.colour_model", {"SamplesPerPixel": 1, "photometric": "RGB"}),
    ("pixels.colour_model", {"SamplesPerPixel": 3, "photometric": "MONOCHROME2"}),
    ("pixels.colour_model", {"SamplesPerPixel": 4, "photometric": "ARGB"}),
    ("pixels.colour_model", {"photometric": "YBR_RCT"}),
    ("pixels.colour_model", {"photometric": "YBR_PARTIAL_420"}),
    ("pixels.colour_model", {"photometric": "HSV"}),
    ("pixels.colour_model", {"photometric": ""}),
    ("pixels.format", {"planar": 2}),
    ("pixels.format", {"planar": 1, "photometric": "YBR_FULL_422"}),
    ("pixels.format", {"columns": 15, "photometric": "YBR_FULL_422"}),
    ("pixels.format", {"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15}),
    ("pixels.format", {"BitsStored": 7, "HighBit": 6}),
    ("pixels.format", {"PixelRepresentation": 1}),
    ("value.malformed", {"planar": None}),
    ("value.malformed", {"SamplesPerPixel": None}),
    ("file.truncated", {"rows": 17}),
    ("file.truncated", {"rows": 25, "photometric": "YBR_FULL_422"}),
    ("spacing.invalid", {"PixelSpacing": [0, 1]}),
    ("spacing.invalid", {"PixelAspectRatio": [0, 1]}),
    ("spacing.invalid", {"PixelAspectRatio": [1, 0]}),
    ("spacing.invalid", {"PixelAspectRatio": [1, -1]}),
    ("spacing.invalid", {"PixelAspectRatio": [51, 1]}),
    ("spacing.invalid", {"PixelAspectRatio": 1}),
    ("modality.other", {"Modality": "ES"}),
    ("modality.other", {"SOPClassUID": uid.VLMicroscopicImageStorage, "Modality": "GM"}),
    ("object.unsupported", {"SOPClassUID": uid.VLEndoscopicImageStorage, "Modality": "ES"}),
    ("object.secondary_capture", {"SOPClassUID": uid.SecondaryCaptureImageStorage}),
]


@pytest.mark.parametrize(("expected", "changes"), REFUSED)
def test_a_photograph_that_cannot_be_used_gets_the_reason_code_of_its_fault(make, code, expected, changes):
    assert code(photograph(make, noise(), **changes)) == expected


@pytest.mark.parametrize(
    ("photometric", "samples"), [("RGB", 3), ("YBR_FULL", 3), ("YBR_FULL_422", 3), ("PALETTE COLOR", 1)]
)
def test_a_plan_of_one_channel_refuses_every_colour_file(make, code, photometric, samples):
    dataset = photograph(make, noise(), photometric=photometric, SamplesPerPixel=samples)
    assert code(dataset, plan=GREY_PLAN) == "pixels.colour"


def test_a_plan_of_one_channel_reads_grey_photographs(make, read):
    dataset = photograph(make, noise()[:, :, 0], SamplesPerPixel=1, photometric="MONOCHROME2", planar=None)
    assert np.allclose(read(dataset, plan=GREY_PLAN)[:, :, 0], noise()[:, :, 0] / 255, atol=1e-6)


@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422"])
def test_jpeg_2000_of_unclear_colours_is_refused(make, code, photometric):
    """Whether its decoders turn such samples into red, green and blue depends on the codestream."""
    dataset = compressed(make, jpeg_2000(noise()), uid.JPEG2000Lossless, photometric=photometric)
    assert code(dataset) == "pixels.colour_model"


def test_a_codestream_of_another_family_than_the_syntax_is_refused(make, code):
    for frame, syntax in (
        (jpeg_2000(noise()), uid.JPEGBaseline8Bit),
        (jpeg(noise()), uid.JPEG2000Lossless),
    ):
        assert code(compressed(make, frame, syntax)) == "pixels.size_mismatch"


def test_a_grey_codestream_in_a_colour_image_is_refused(make, code):
    for frame, syntax in (
        (jpeg(noise()[:, :, 0]), uid.JPEGBaseline8Bit),
        (jpeg_2000(noise()[:, :, 0]), uid.JPEG2000Lossless),
    ):
        assert code(compressed(make, frame, syntax)) == "pixels.size_mismatch"


@pytest.mark.parametrize("modality", ["XC", "DMS"])
def test_dermoscopy_is_photography(make, code, modality):
    kind = {"SOPClassUID": uid.DermoscopicPhotographyImageStorage, "Modality": modality}
    assert code(photograph(make, noise(), **kind)) == ""


def test_microscopy_needs_a_spacing(make, code):
    plan = msgspec.structs.replace(PLAN, modality="GM", spacing_mm=1.0)
    kind = {"SOPClassUID": uid.VLMicroscopicImageStorage, "Modality": "GM"}
    assert code(photograph(make, noise(), **kind), plan=plan) == "spacing.missing"
    assert code(photograph(make, noise(), PixelSpacing=[1, 1], **kind), plan=plan) == ""


def test_windows_and_padding_change_no_colour(make, read):
    changes = {"WindowCenter": 9, "WindowWidth": 3, "PixelPaddingValue": 200, "RescaleSlope": 2}
    changes["RescaleIntercept"] = 7
    assert np.array_equal(read(photograph(make, noise(), **changes)), noise() / np.float32(255))


def test_the_shorter_side_fills_the_tensor_and_the_longer_one_is_cut_at_both_ends(make, read):
    wide = smooth(32, 48)
    halved = wide[:, 8:40].reshape(16, 2, 16, 2, 3).mean(axis=(1, 3)) / 255
    for pixels, reference in ((wide, halved), (wide.transpose(1, 0, 2), halved.transpose(1, 0, 2))):
        rows, columns, _ = pixels.shape
        image = read(photograph(make, pixels, rows=rows, columns=columns))
        assert np.abs(image - reference).max() < 3 * LEVEL


def test_a_spacing_does_not_change_the_field_of_view_of_a_plan_without_scale(make, read):
    reference = read(photograph(make, smooth(24, 20), rows=24, columns=20))
    spaced = read(photograph(make, smooth(24, 20), rows=24, columns=20, PixelSpacing=[0.02, 0.02]))
    assert np.allclose(spaced, reference, atol=1e-5)


@pytest.mark.parametrize(
    "stated", [{"PixelAspectRatio": [118, 59]}, {"PixelSpacing": [0.04, 0.02], "PixelAspectRatio": [9, 1]}]
)
def test_pixels_that_are_not_square_are_made_so(make, read, stated):
    squeezed = smooth(32, 32).reshape(16, 2, 32, 3).mean(axis=1).astype(np.uint8)
    image = read(photograph(make, squeezed, rows=16, columns=32, **stated))
    reference = read(photograph(make, smooth(32, 32), rows=32, columns=32))
    assert np.abs(image - reference).mean() < 4 * LEVEL


def test_with_a_scale_each_channel_is_resampled_as_a_grey_image_is(make, read):
    plan = msgspec.structs.replace(PLAN, spacing_mm=0.7)
    size = {"rows": 21, "columns": 30, "PixelSpacing": [0.4, 0.5]}
    pixels = np.random.default_rng(1).integers(0, 256, (21, 30, 3), np.uint8)
    image = read(photograph(make, pixels, **size), plan=plan)
    for channel in range(3):
        grey = photograph(
            make, pixels[:, :, channel], SamplesPerPixel=1, photometric="MONOCHROME2", planar=None, **size
        )
        reference = read(grey, plan=msgspec.structs.replace(plan, channels=1))[:, :, 0]
        assert np.allclose(image[:, :, channel], reference, atol=1e-6)
    assert not image[0].any()


def test_a_plan_with_a_scale_refuses_a_photograph_without_spacing(make, code):
    assert code(photograph(make, noise()), plan=msgspec.structs.replace(PLAN, spacing_mm=1.0)) == (
        "spacing.missing"
    )


def test_colours_count_three_times_in_the_limit_of_an_image(make, code):
    side = int((limits.MAX_DECODED_BYTES / 2) ** 0.5)
    sizes = {"Rows": side, "Columns": side}
    assert code(photograph(make, noise(), **sizes)) == "limit.decoded_bytes"
    grey = photograph(make, noise(), SamplesPerPixel=1, photometric="MONOCHROME2", **sizes)
    assert code(grey, plan=GREY_PLAN) == "file.truncated"  # as far as the pixels


def test_colours_count_three_times_in_the_limit_of_a_catalogue(hospital, make, monkeypatch):
    for n in range(2):
        hospital.put(f"{n}.dcm", photograph(make, noise(n)))
    image_bytes = 3 * PLAN.size_px**2 * 4
    monkeypatch.setattr(limits, "MAX_CATALOGUE_BYTES", 2 * image_bytes)
    assert len(hospital.ingest(input_plan=PLAN).catalogue.sop_N) == 2
    monkeypatch.setattr(limits, "MAX_CATALOGUE_BYTES", 2 * image_bytes - 1)
    with pytest.raises(IngestError) as caught:
        hospital.ingest(input_plan=PLAN)
    assert caught.value.code == "ingest.too_much"


def test_a_folder_of_photographs_becomes_a_catalogue_of_three_channels(hospital, make):
    for n in range(3):
        dataset = photograph(make, noise(n), PatientID=f"P{n + 1}")
        if n:
            dataset.compress(uid.RLELossless, generate_instance_uid=False)
        hospital.put(f"{n}.dcm", dataset)
    hospital.put("grey.dcm", make())
    result = hospital.ingest(input_plan=PLAN, workers=2)
    assert [(row.path, row.code) for row in result.rejects] == [("grey.dcm", "modality.other")]
    loaded = Catalogue.load(hospital.store / CATALOGUE_FILE, DATA)
    assert loaded.images_NCHW.shape == (3, 3, 16, 16)
    assert loaded.snapshot == result.catalogue.snapshot
    found = {image.tobytes() for image in loaded.images_NCHW}
    assert found == {(in_planes(noise(n)) / np.float32(255)).tobytes() for n in range(3)}


def test_damaged_codestreams_of_colour_become_a_value(make, code):
    rng = np.random.default_rng(0)
    for frame, syntax, photometric in (
        (jpeg(smooth()), uid.JPEGBaseline8Bit, "YBR_FULL_422"),
        (jpeg_2000(smooth(), mct=1), uid.JPEG2000Lossless, "YBR_RCT"),
    ):
        whole = compressed(make, frame, syntax, photometric=photometric)
        assert get_frame(whole.PixelData, 0, number_of_frames=1).startswith(frame[:40])
        for _ in range(20):
            damaged = bytearray(frame)
            damaged[rng.integers(2, len(frame))] = rng.integers(256)
            whole.PixelData = encapsulate([bytes(damaged)])
            assert isinstance(code(whole), str)
