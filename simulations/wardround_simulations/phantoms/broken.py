"""Files that cannot be used, each for one reason: what a folder of a real hospital holds besides scans.

=================  =========================================================================================
file               what is wrong
=================  =========================================================================================
truncated.dcm      ends in the middle of the pixels
not-dicom.dcm      a letter, renamed
no-pixels.dcm      a CT image without Pixel Data
huge-matrix.dcm    says 65535 x 65535 pixels and has 64
unlabelled.dcm     a good image whose patient ``labels.csv`` does not name
report.dcm         a structured report, not an image
=================  =========================================================================================

Rules:

* The kinds are dealt to the hospitals in turn; each belongs to a patient of its own, beyond the good ones.
* The label table names the patients of ``LABELLED``: those files are refused for their own fault alone.

Privacy: nothing here comes from a person.
"""

from __future__ import annotations

from collections.abc import Callable

from pydicom.dataset import Dataset
from pydicom.uid import BasicTextSRStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from wardround_simulations.phantoms.dicom import dataset_of, encoded
from wardround_simulations.phantoms.hospitals import Hospital
from wardround_simulations.phantoms.identities import uid
from wardround_simulations.phantoms.patients import Patient, draw_patient

LABELLED = ("truncated.dcm", "no-pixels.dcm", "huge-matrix.dcm")
"""Files whose patients ``labels.csv`` names."""
LARGEST_SIDE = 65_535
_LETTER = b"Dear colleague,\r\nthe scans are on the disc that comes with this letter.\r\n" * 8
_KEPT = (
    *("SpecificCharacterSet", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge"),
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber"),
    *("ReferringPhysicianName", "Manufacturer", "ManufacturerModelName", "InstitutionName"),
)


def broken_names(*, place: int, hospitals: int) -> tuple[str, ...]:
    """The broken files of the hospital at ``place`` in a set of ``hospitals``."""
    return tuple(_KINDS)[place::hospitals]


def broken_file(name: str, hospital: Hospital, *, seed: int, number: int) -> tuple[bytes, Patient]:
    """One broken file, and the patient that it is about.

    Args:
        name: One of ``broken_names``.
        hospital: Where it lies.
        seed: Of the set.
        number: A patient number that no good file has.
    """
    patient = draw_patient(hospital, seed=seed, number=number, most_slices=1)
    return _KINDS[name](patient.images[0]), patient


def _truncated(dataset: Dataset) -> bytes:
    return encoded(dataset, ExplicitVRLittleEndian)[: -(len(dataset.PixelData) // 2)]


def _not_dicom(_: Dataset) -> bytes:
    return _LETTER


def _no_pixels(dataset: Dataset) -> bytes:
    del dataset.PixelData
    return encoded(dataset, ExplicitVRLittleEndian)


def _huge_matrix(dataset: Dataset) -> bytes:
    dataset.Rows = dataset.Columns = LARGEST_SIDE
    dataset.PixelData = dataset.PixelData[:128]
    return encoded(dataset, ExplicitVRLittleEndian)


def _unlabelled(dataset: Dataset) -> bytes:
    return encoded(dataset, ImplicitVRLittleEndian)


def _report(dataset: Dataset) -> bytes:
    """A Basic Text SR document of one sentence about the same exam (PS3.3 A.35.1)."""
    report = dataset_of(**{keyword: dataset[keyword].value for keyword in _KEPT})
    report.update(
        dataset_of(
            SOPClassUID=BasicTextSRStorage,
            SOPInstanceUID=uid("report", dataset.SOPInstanceUID),
            Modality="SR",
            SeriesInstanceUID=uid("report series", dataset.SOPInstanceUID),
            SeriesNumber=9,
            InstanceNumber=1,
            ReferencedPerformedProcedureStepSequence=[],
            PerformedProcedureCodeSequence=[],
            ContentDate=dataset.StudyDate,
            ContentTime=dataset.StudyTime,
            CompletionFlag="COMPLETE",
            VerificationFlag="UNVERIFIED",
            ValueType="CONTAINER",
            ContinuityOfContent="SEPARATE",
            ConceptNameCodeSequence=[_code("18747-6", "CT Report")],
            ContentSequence=[
                dataset_of(
                    RelationshipType="CONTAINS",
                    ValueType="TEXT",
                    ConceptNameCodeSequence=[_code("121071", "Finding", scheme="DCM")],
                    TextValue="No change since the last examination.",
                )
            ],
        )
    )
    return encoded(report, ExplicitVRLittleEndian)


def _code(value: str, meaning: str, *, scheme: str = "LN") -> Dataset:
    return dataset_of(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


_KINDS: dict[str, Callable[[Dataset], bytes]] = {
    "truncated.dcm": _truncated,
    "not-dicom.dcm": _not_dicom,
    "no-pixels.dcm": _no_pixels,
    "huge-matrix.dcm": _huge_matrix,
    "unlabelled.dcm": _unlabelled,
    "report.dcm": _report,
}
