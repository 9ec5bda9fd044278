"""What becomes of one file: the reason code for everything that is not a plain image."""

import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from wardround_client.ingest import REASONS
from wardround_client.ingest.dataset import ALLOWED

REFUSED = [
    ("object.secondary_capture", {"SOPClassUID": uid.SecondaryCaptureImageStorage}),
    ("object.secondary_capture", {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}),
    ("object.unsupported", {"SOPClassUID": uid.ComprehensiveSRStorage, "PixelData": None}),
    ("object.unsupported", {"SOPClassUID": uid.GrayscaleSoftcopyPresentationStateStorage}),
    ("object.unsupported", {"SOPClassUID": uid.KeyObjectSelectionDocumentStorage}),
    ("object.unsupported", {"SOPClassUID": uid.SegmentationStorage}),
    ("object.unsupported", {"SOPClassUID": uid.EnhancedCTImageStorage}),
    ("object.unsupported", {"SOPClassUID": uid.DigitalXRayImageStorageForProcessing}),
    ("object.unsupported", {"SOPClassUID": "1.2.3.4"}),
    ("object.unsupported", {"SOPClassUID": None}),
    ("object.localizer", {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}),
    ("modality.other", {"SOPClassUID": uid.CTImageStorage, "Modality": "CT"}),
    ("modality.other", {"Modality": "CT"}),
    ("modality.other", {"Modality": ""}),
    ("annotation.burned_in", {"BurnedInAnnotation": "YES"}),
    ("patient.id_missing", {"PatientID": None}),
    ("patient.id_missing", {"PatientID": "  "}),
    ("patient.id_invalid", {"PatientID": "unknown"}),
    ("patient.id_invalid", {"PatientID": "0000"}),
    ("patient.id_invalid", {"PatientID": "P" * 65}),
    ("patient.id_invalid", {"PatientID": "P\x01"}),
    ("sop.invalid", {"SOPInstanceUID": None}),
    ("sop.invalid", {"SOPInstanceUID": "1.2.x"}),
    ("sop.invalid", {"SOPInstanceUID": "1." * 40 + "1"}),
    ("pixels.missing", {"PixelData": None}),
    ("pixels.multiframe", {"NumberOfFrames": 2}),
    ("pixels.colour", {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}),
    ("pixels.colour", {"PhotometricInterpretation": "PALETTE COLOR"}),
    ("limit.size_px", {"Rows": 65535, "Columns": 65535}),
    ("limit.size_px", {"Columns": 0}),
    ("limit.decoded_bytes", {"Rows": 16384, "Columns": 16384}),
    ("pixels.format", {"BitsAllocated": 12}),
    ("pixels.format", {"BitsStored": 17}),
    ("pixels.format", {"HighBit": 15}),
    ("pixels.format", {"PixelRepresentation": 2}),
    ("value.malformed", {"Rows": None}),
    ("spacing.missing", {"PixelSpacing": None}),
    ("spacing.invalid", {"PixelSpacing": [0, 1]}),
    ("spacing.invalid", {"PixelSpacing": [1, -1]}),
    ("spacing.invalid", {"PixelSpacing": [1]}),
    ("spacing.invalid", {"PixelSpacing": [1, 1000]}),
    ("rescale.invalid", {"RescaleSlope": 0, "RescaleIntercept": 0}),
    ("rescale.invalid", {"RescaleSlope": 1, "RescaleIntercept": 1e12}),
    ("window.invalid", {"WindowCenter": 100, "WindowWidth": 0}),
    ("window.invalid", {"WindowCenter": 100, "WindowWidth": -5}),
    ("window.invalid", {"WindowCenter": 100, "WindowWidth": 0.5}),
    ("window.invalid", {"WindowCenter": 100}),
    ("window.invalid", {"WindowWidth": 100}),
    ("window.invalid", {"WindowCenter": 1, "WindowWidth": 0, "VOILUTFunction": "LINEAR_EXACT"}),
    ("window.invalid", {"WindowCenter": 1, "WindowWidth": 9, "VOILUTFunction": "CUBIC"}),
    ("limit.value_bytes", {"ImageType": ["X" * 16] * 300}),
]


@pytest.mark.parametrize(("code", "changes"), REFUSED)
def test_a_file_that_cannot_be_used_gets_the_reason_code_of_its_fault(hospital, make, code, changes):
    assert hospital.code(make(**changes)) == code


@pytest.mark.parametrize("changes", [{}, {"BurnedInAnnotation": "NO"}, {"NumberOfFrames": 1}])
def test_a_plain_image_is_accepted(hospital, make, changes):
    assert hospital.code(make(**changes)) == ""


def test_derived_secondary_is_accepted_since_archives_write_it_when_they_compress(hospital, make):
    assert hospital.code(make(ImageType=["DERIVED", "SECONDARY"])) == ""


def test_imager_spacing_counts_where_there_is_no_pixel_spacing(hospital, make, draw):
    stored = draw(rows=32, columns=32)
    near = hospital.image(make(stored, PixelSpacing=None, ImagerPixelSpacing=[0.5, 0.5]))
    assert (near == hospital.image(make(stored, PixelSpacing=[0.5, 0.5]))).all()


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("RescaleSlope", b"nan "), ("RescaleIntercept", b"inf "), ("PixelSpacing", b"nan\\1 ")],
)
def test_numbers_that_are_none_are_refused(hospital, make, to_bytes, keyword, value):
    dataset = make(RescaleSlope="9.25", RescaleIntercept="9.25", PixelSpacing=["9.2", "1"])
    placeholder = b"9.2\\1 " if keyword == "PixelSpacing" else b"9.25"
    before, _, after = to_bytes(dataset).partition(_header(keyword))
    data = before + _header(keyword) + after.replace(placeholder, value, 1)
    assert hospital.code(data) in ("rescale.invalid", "spacing.invalid")


def _header(keyword):
    return {
        "RescaleSlope": b"\x28\x00\x53\x10",
        "RescaleIntercept": b"\x28\x00\x52\x10",
        "PixelSpacing": b"\x28\x00\x30\x00",
    }[keyword]


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("rescale.missing", {"RescaleSlope": None}),
        ("rescale.missing", {"RescaleIntercept": None}),
        ("rescale.units", {"RescaleType": "US"}),
        ("", {"RescaleType": None}),
    ],
)
def test_a_ct_image_whose_units_are_not_known_to_be_hounsfield_is_refused(
    hospital, make, ct_plan, code, changes
):
    assert hospital.code(make(modality="CT", **changes), plan=ct_plan) == code


def test_a_malformed_number_is_refused_without_being_quoted(hospital, make, to_bytes):
    data = to_bytes(make(RescaleSlope="31.5", RescaleIntercept=0)).replace(b"31.5", b"ab\\c")
    rejected = hospital.outcome(data).rejected
    assert (rejected.code, rejected.tag) == ("value.malformed", "(0028,1053)")
    assert "ab" not in rejected.reason


def test_only_attributes_on_the_allow_list_are_ever_parsed(make, to_bytes, parse):
    item = Dataset()
    item.PatientName = "Secret^Name"
    dataset = make(
        OtherPatientIDsSequence=Sequence([item]),
        InstitutionName="Somewhere",
        StudyDate="20240101",
        PatientAddress="A street",
    )
    assert {element.keyword for element in parse(to_bytes(dataset))} <= ALLOWED


def test_every_reason_has_a_sentence_of_its_own():
    assert len(set(REASONS.values())) == len(REASONS)
    assert all(sentence.endswith(".") for sentence in REASONS.values())
