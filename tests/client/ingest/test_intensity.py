"""From stored values to grey: the fast code against the formulas of the standard, pixel by pixel."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from wardround_client.ingest.intensity import linear


def reference(x, function, center, width):
    """PS3.3 C.11.2.1.2 and C.11.2.1.3, one value, output 0 to 1."""
    if function == "SIGMOID":
        return 1 / (1 + math.exp(min(-4 * (x - center) / width, 700)))
    if function == "LINEAR_EXACT":
        if x <= center - width / 2:
            return 0.0
        return 1.0 if x > center + width / 2 else (x - center) / width + 0.5
    if x <= center - 0.5 - (width - 1) / 2:
        return 0.0
    if x > center - 0.5 + (width - 1) / 2:
        return 1.0
    return (x - (center - 0.5)) / (width - 1) + 0.5


@pytest.mark.parametrize("function", ["", "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [(2048, 4096), (1000.5, 333), (0, 1), (4000, 2.5)])
def test_windows_follow_the_formulas_of_the_standard(hospital, make, draw, function, center, width):
    stored = draw()
    changes = {"VOILUTFunction": function} if function else {}
    image = hospital.image(make(stored, WindowCenter=center, WindowWidth=width, **changes))
    naive = [[reference(int(x), function or "LINEAR", center, width) for x in row] for row in stored]
    assert np.allclose(image, naive, atol=2e-6)


def test_a_window_is_applied_to_rescaled_values(hospital, make, draw):
    stored = draw()
    image = hospital.image(
        make(stored, RescaleSlope=2, RescaleIntercept=-100, WindowCenter=1000, WindowWidth=3000)
    )
    naive = [[reference(2 * int(x) - 100, "LINEAR", 1000, 3000) for x in row] for row in stored]
    assert np.allclose(image, naive, atol=2e-6)


def test_of_several_windows_the_first_counts(hospital, make, draw):
    several = hospital.image(make(draw(), WindowCenter=[500, 3000], WindowWidth=[700, 9]))
    assert (several == hospital.image(make(draw(), WindowCenter=500, WindowWidth=700))).all()


@pytest.mark.parametrize("signed", [False, True])
def test_without_a_window_the_range_of_bits_stored_counts(hospital, make, draw, signed):
    stored = draw().astype(np.int16) - 2048 if signed else draw()
    image = hospital.image(make(stored))
    assert np.allclose(image, (stored.astype(float) + 2048 * signed) / 4095, atol=1e-6)


def test_a_constant_image_is_allowed(hospital, make):
    assert np.allclose(hospital.image(make(np.full((16, 16), 819, np.uint16))), 0.2, atol=1e-3)


def test_unused_high_bits_do_not_count(hospital, make, draw):
    assert (hospital.image(make(draw() | 0xF000)) == hospital.image(make(draw()))).all()


def test_monochrome1_is_inverted_where_the_file_chooses_the_window(hospital, make, draw):
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    plain = hospital.image(make(draw(), **window))
    inverted = hospital.image(make(4095 - draw(), PhotometricInterpretation="MONOCHROME1", **window))
    assert np.allclose(plain, inverted, atol=1e-3)


def test_hounsfield_units_keep_their_meaning_under_monochrome1(hospital, make, draw, ct_plan):
    stored = draw()
    plain = hospital.image(make(stored, modality="CT"), plan=ct_plan)
    shown_inverted = make(stored, modality="CT", PhotometricInterpretation="MONOCHROME1")
    assert (hospital.image(shown_inverted, plan=ct_plan) == plain).all()
    stored_inverted = make(
        4095 - stored, modality="CT", PhotometricInterpretation="MONOCHROME1", RescaleSlope=-1,
        RescaleIntercept=4095 - 1024,
    )  # fmt: skip
    assert np.allclose(hospital.image(stored_inverted, plan=ct_plan), plain, atol=1e-6)


def test_a_fixed_window_maps_hounsfield_units_by_the_plan(hospital, make, ct_plan):
    stored = np.repeat(np.array([[-1000, -160, 40, 140, 240, 3000]], np.int16) + 1024, 6, axis=0)
    image = hospital.image(
        make(stored.astype(np.uint16), modality="CT", WindowCenter=-600, WindowWidth=1500), plan=ct_plan
    )
    assert np.allclose(image[8, 5:11], [0, 0, 0.5, 0.75, 1, 1], atol=1e-6)


def test_padding_becomes_black_in_either_polarity(hospital, make, draw):
    stored = draw()
    stored[:4] = 0
    changes = {"PixelPaddingValue": 0, "PhotometricInterpretation": "MONOCHROME1"}
    image = hospital.image(make(stored, **changes))
    assert (image[:4] == 0).all()
    assert (image[6:10] > 0).any()


def test_a_range_of_padding_values_becomes_black(hospital, make, draw, ct_plan):
    stored = draw().astype(np.int16)
    stored[:4], stored[4] = -2000, -1990
    dataset = make(stored, modality="CT", bits=16, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1990)
    dataset.RescaleIntercept = 2100  # the padding would be in the window
    assert (hospital.image(dataset, plan=ct_plan)[:5] == 0).all()


def table(entries, first, bits, *, vr="US"):
    """A look-up table sequence of one item."""
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 65536, first, bits]
    item["LUTDescriptor"].VR = "SS" if first < 0 else "US"
    item.LUTData = [int(entry) for entry in entries] if vr == "US" else np.asarray(entries, "<u2").tobytes()
    item["LUTData"].VR = vr
    return Sequence([item])


@pytest.mark.parametrize("vr", ["US", "OW"])
@pytest.mark.parametrize("keyword", ["ModalityLUTSequence", "VOILUTSequence"])
def test_look_up_tables_are_applied_and_clamped_at_their_ends(hospital, make, draw, keyword, vr):
    stored, entries = draw(), np.arange(1000, 4000, 2) % 4096
    image = hospital.image(make(stored, **{keyword: table(entries, 700, 12, vr=vr)}))
    naive = entries[np.clip(stored.astype(int) - 700, 0, len(entries) - 1)] / 4095
    assert np.allclose(image, naive, atol=2e-6)


def test_a_table_may_start_below_zero_and_have_all_entries(hospital, make, draw):
    stored = (draw().astype(np.int32) - 2048).astype(np.int16)
    entries = np.arange(65536)
    image = hospital.image(make(stored, VOILUTSequence=table(entries, -2048, 16, vr="OW")))
    assert np.allclose(image, (stored.astype(float) + 2048) / 65535, atol=1e-6)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_tables_read_the_same_in_other_encodings(hospital, make, draw, syntax):
    entries = np.arange(4096)[::-1]
    plain = hospital.image(make(draw(), VOILUTSequence=table(entries, 0, 12)))
    assert (hospital.image(make(draw(), syntax=syntax, VOILUTSequence=table(entries, 0, 12))) == plain).all()


def test_a_window_goes_before_a_table(hospital, make, draw):
    window = {"WindowCenter": 500, "WindowWidth": 700}
    both = hospital.image(make(draw(), VOILUTSequence=table([0, 1], 0, 12), **window))
    assert (both == hospital.image(make(draw(), **window))).all()


@pytest.mark.parametrize("wrong", [table([1, 2], 0, 40), table([4096], 0, 12), table([], 0, 12)])
def test_a_malformed_table_is_refused(hospital, make, wrong):
    assert hospital.code(make(VOILUTSequence=wrong)) == "lut.invalid"


values = st.floats(-1e9, 1e9, width=32)


@given(x=st.lists(values, min_size=2, max_size=20), center=values, width=st.floats(1e-3, 1e9))
def test_a_window_is_monotone_and_stays_in_range(x, center, width):
    grey = linear(np.sort(np.array(x, np.float32)), center, width)
    assert ((grey >= 0) & (grey <= 1)).all()
    assert (np.diff(grey) >= 0).all()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    slope=st.floats(0.01, 100),
    center=st.floats(-5e4, 5e4),
    width=st.floats(1, 1e5),
    function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
)
def test_brighter_units_are_never_darker_pixels(hospital, make, slope, center, width, function):
    stored = np.tile(np.arange(0, 4096, 256, dtype=np.uint16), (16, 1))
    window = {"WindowCenter": f"{center:.8g}", "WindowWidth": f"{width:.8g}", "VOILUTFunction": function}
    image = hospital.image(make(stored, RescaleSlope=f"{slope:.8g}", RescaleIntercept=0, **window))
    assert ((image >= 0) & (image <= 1)).all()
    assert (np.diff(image, axis=1) >= 0).all()
