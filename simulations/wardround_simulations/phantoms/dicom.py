"""A scan as a DICOM file: CT Image Storage, valid by the standard's own terms.

Rules:

* No clock and no version of a library enters a file: implementation UID and name are constants here.
* RLE is encoded by pydicom itself, whatever decoders are installed, so that the bytes are the same.

Not here: the broken files (``broken``), which identifiers are planted (``planted``).

Privacy: every file identifies a patient, as real ones do; none exists.
References: DICOM PS3.3 A.3 (CT Image IOD), C.7.6.3 (Image Pixel), C.8.2.1 (CT Image), C.11.2 (VOI LUT);
PS3.5 A.4.2 (RLE), A.5 (deflated); PS3.10 section 7.1 (file meta information).
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, RLELossless

from wardround_simulations.phantoms.hospitals import Hospital, Scanner
from wardround_simulations.phantoms.identities import Identity, uid

IMPLEMENTATION_UID = UID("2.25.201735240518190318822431307165219064513")
IMPLEMENTATION_NAME = "WARDROUND_1"
SLICE_MM = 5

Key = tuple[str | int, ...]
"""What the UIDs of a patient are made from."""


def dataset_of(**attributes: Any) -> Dataset:  # noqa: ANN401 - pydicom's attributes have many types
    """A data set with these keywords."""
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def image(
    hospital: Hospital,
    person: Identity,
    stored_HW: NDArray[np.int32],
    *,
    key: Key,
    slice_: int,
) -> Dataset:
    """One CT image, not yet encoded.

    Args:
        hospital: Where it was made.
        person: Whose it is.
        stored_HW: Stored values (see ``scanner.acquire``).
        key: What its UIDs are made from: the same for all slices of a patient.
        slice_: Its number among them, from 0.
    """
    dataset = dataset_of(
        SpecificCharacterSet="ISO_IR 100",
        SOPClassUID=CTImageStorage,
        SOPInstanceUID=uid("image", *key, slice_),
    )
    dataset.update(_patient(person))
    dataset.update(_study(person, key=key))
    dataset.update(_series(hospital, person, key=key))
    dataset.update(_geometry(hospital.scanner, slice_=slice_))
    dataset.update(_units(hospital.scanner))
    dataset.update(_pixels(hospital.scanner, stored_HW))
    return dataset


def _patient(person: Identity) -> Dataset:
    """The patient, and the patient on that day (PS3.3 C.7.1.1, C.7.2.2)."""
    return dataset_of(
        PatientName=person.name,
        PatientID=person.patient_id,
        PatientBirthDate=person.birth_date,
        PatientSex=person.sex,
        PatientAge=person.age,
    )


def _study(person: Identity, *, key: Key) -> Dataset:
    """The exam (PS3.3 C.7.2.1)."""
    return dataset_of(
        StudyInstanceUID=uid("study", *key),
        StudyDate=person.study_date,
        StudyTime="093000",
        StudyID="1",
        StudyDescription="CT chest",
        AccessionNumber=person.accession,
        ReferringPhysicianName="Referrer^A",
    )


def _series(hospital: Hospital, person: Identity, *, key: Key) -> Dataset:
    """Series, equipment and frame of reference (PS3.3 C.7.3.1, C.7.5.1, C.7.4.1)."""
    return dataset_of(
        Modality="CT",
        SeriesInstanceUID=uid("series", *key),
        SeriesNumber=1,
        SeriesDescription="Lung",
        SeriesDate=person.study_date,
        SeriesTime="093000",
        BodyPartExamined="CHEST",
        PatientPosition="HFS",
        Manufacturer="Phantom Imaging",
        ManufacturerModelName=hospital.scanner.model,
        SoftwareVersions="1",
        InstitutionName=f"{hospital.name.title()} Hospital",
        StationName=f"CT{hospital.name.upper()}"[:16],
        FrameOfReferenceUID=uid("frame", *key),
        PositionReferenceIndicator="",
    )


def _geometry(scanner: Scanner, *, slice_: int) -> Dataset:
    """Image and image plane (PS3.3 C.7.6.1, C.7.6.2): the chest's origin in the middle of the matrix."""
    corner_mm = -(scanner.matrix_px - 1) / 2 * scanner.spacing_mm
    return dataset_of(
        ImageType=["ORIGINAL", "PRIMARY", "AXIAL"],
        InstanceNumber=slice_ + 1,
        AcquisitionNumber=1,
        BurnedInAnnotation="NO",
        PixelSpacing=[f"{scanner.spacing_mm:g}"] * 2,
        ImageOrientationPatient=["1", "0", "0", "0", "1", "0"],
        ImagePositionPatient=[f"{corner_mm:g}", f"{corner_mm:g}", str(slice_ * SLICE_MM)],
        SliceThickness=str(SLICE_MM),
        SliceLocation=str(slice_ * SLICE_MM),
        KVP="120",
    )


def _units(scanner: Scanner) -> Dataset:
    """Hounsfield units and the window that the scanner proposes (PS3.3 C.8.2.1, C.11.2)."""
    return dataset_of(
        RescaleIntercept=f"{scanner.intercept:g}",
        RescaleSlope=f"{scanner.slope:g}",
        RescaleType="HU",
        WindowCenter=str(scanner.window[0]),
        WindowWidth=str(scanner.window[1]),
    )


def _pixels(scanner: Scanner, stored_HW: NDArray[np.int32]) -> Dataset:
    """The pixels, native (PS3.3 C.7.6.3)."""
    dataset = dataset_of(
        SamplesPerPixel=1,
        PhotometricInterpretation=scanner.photometric,
        Rows=stored_HW.shape[0],
        Columns=stored_HW.shape[1],
        BitsAllocated=16,
        BitsStored=scanner.bits,
        HighBit=scanner.bits - 1,
        PixelRepresentation=int(scanner.signed),
    )
    if scanner.padding is not None:
        dataset.PixelPaddingValue = scanner.padding
    dataset.add_new("PixelData", "OW", stored_HW.astype("<i2" if scanner.signed else "<u2").tobytes())
    return dataset


def encoded(dataset: Dataset, syntax: UID) -> bytes:
    """The file: preamble, meta information and data set in a transfer syntax."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == RLELossless else syntax
    meta.ImplementationClassUID = IMPLEMENTATION_UID
    meta.ImplementationVersionName = IMPLEMENTATION_NAME
    dataset.file_meta = meta
    if syntax == RLELossless:
        dataset.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()
