r"""A generated image as a DICOM file that nobody can take for an acquisition.

Rules:

* The SOP class is Secondary Capture Image Storage with conversion type SYN. CT Image Storage (or that of
  another modality) would claim a tube, a table and a patient on it, and demands attributes that would have to
  be invented. The multi-frame classes hold many frames of one patient; here every image is its own patient.
* Modality is OT: no equipment acquired it, and a work list or a dose register that counts CT finds nothing.
  What it imitates stands in the series description.
* SyntheticData is YES, Image Type DERIVED\SECONDARY, and the word SYNTHETIC is burned in. Burned In
  Annotation is therefore YES. The standard asks there for text that identifies a patient, which this is not;
  YES is the side on which software that collects images of patients leaves the file out.
* Pixel Spacing is the plan's, divided by the enlargement. Nominal Scanned Pixel Spacing is absent: it
  measures a film or sheet on a scanner, and there was none.
* Window ``fixed``: rescale leads from grey levels back to the plan's modality units. Pixels of the mark have
  no meaning in them.
* Every UID is a hash of the plan's digest, the name of the sample, its pixels and what is said about them:
  files that differ never share one. There is no clock: dates are empty or absent.

Privacy: no attribute describes a person; attributes that must be there for one are empty or say SYNTHETIC.

References: DICOM PS3.3 A.8.1 (Secondary Capture Image IOD), C.7.6.1 (General Image), C.8.6.1 (SC Equipment:
Conversion Type), C.8.6.2 (SC Image), C.11.1 (Modality LUT), C.11.2 (VOI LUT), C.12.1 (SOP Common: Synthetic
Data); PS3.5 B.2 (UUID derived UID).
"""

from __future__ import annotations

import hashlib

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from wardround_common import __version__
from wardround_common.plan import InputPlan
from wardround_simulations.phantoms.dicom import dataset_of, encoded
from wardround_simulations.phantoms.identities import uid
from wardround_simulations.synthetic.pictures import MARK, Pixels, enlargement, marked
from wardround_simulations.synthetic.samples import Sample, Samples

_LO_BYTES = 64


def dicom_file(sample: Sample, samples: Samples) -> bytes:
    """One image as the bytes of a DICOM file.

    Args:
        sample: The image.
        samples: What it belongs to.
    """
    levels = marked(sample.image_CHW)
    factor = enlargement(*sample.image_CHW.shape[1:])
    said = f"{__version__} {samples.title} {samples.input}".encode()
    key = (samples.plan_digest, sample.name, hashlib.sha256(levels.tobytes() + said).hexdigest())
    dataset = dataset_of(
        SpecificCharacterSet="ISO_IR 192",
        SOPClassUID=SecondaryCaptureImageStorage,
        SOPInstanceUID=uid("synthetic image", *key),
        SyntheticData="YES",
    )
    dataset.update(_patient(sample, samples))
    dataset.update(_study(samples, key))
    dataset.update(_series(sample, samples, key))
    dataset.update(_image(sample, samples))
    dataset.update(_place(samples.input, factor))
    dataset.update(_pixels(levels))
    if levels.ndim == 2:
        dataset.update(_units(samples.input))
    return encoded(dataset, ExplicitVRLittleEndian)


def _patient(sample: Sample, samples: Samples) -> Dataset:
    """Nobody (PS3.3 C.7.1.1). The issuer keeps equal numbers of two studies apart."""
    return dataset_of(
        PatientName=f"{MARK}^{sample.label.upper()}^{sample.number:04d}",
        PatientID=f"{MARK}-{sample.label.upper()}-{sample.number:04d}",
        IssuerOfPatientID=f"Wardround plan {samples.plan_digest[:16]}",
        PatientBirthDate="",
        PatientSex="",
    )


def _study(samples: Samples, key: tuple[str, ...]) -> Dataset:
    """No exam took place (PS3.3 C.7.2.1)."""
    return dataset_of(
        StudyInstanceUID=uid("synthetic study", *key),
        StudyDate="",
        StudyTime="",
        StudyID=samples.plan_digest[:16],
        StudyDescription=_line(f"{MARK}: {samples.title}"),
        AccessionNumber="",
        ReferringPhysicianName="",
    )


def _series(sample: Sample, samples: Samples, key: tuple[str, ...]) -> Dataset:
    """Series and equipment (PS3.3 C.7.3.1, C.7.5.1, C.8.6.1)."""
    return dataset_of(
        Modality="OT",
        SeriesInstanceUID=uid("synthetic series", *key),
        SeriesNumber=1,
        Laterality="",
        SeriesDescription=_line(f"{MARK} {samples.input.modality}: {sample.label}"),
        Manufacturer="Wardround",
        ManufacturerModelName="Wardround",
        SoftwareVersions=__version__,
        ConversionType="SYN",
    )


def _image(sample: Sample, samples: Samples) -> Dataset:
    """The image and where it comes from (PS3.3 C.7.6.1)."""
    return dataset_of(
        ImageType=["DERIVED", "SECONDARY"],
        InstanceNumber=1,
        PatientOrientation="",
        BurnedInAnnotation="YES",
        LossyImageCompression="00",
        DerivationDescription=(
            f"Synthetic image of the class {sample.label}, drawn from a generative model that Wardround "
            f"{__version__} trained under the plan {samples.plan_digest}. It shows no patient. Not for "
            f"diagnosis."
        ),
    )


def _place(plan: InputPlan, factor: int) -> Dataset:
    """The size of an enlarged pixel, where the plan has a common scale (PS3.3 C.8.6.2)."""
    if not plan.spacing_mm:
        return Dataset()
    return dataset_of(PixelSpacing=[_decimal(plan.spacing_mm / factor)] * 2)


def _pixels(levels: Pixels) -> Dataset:
    """Eight bits a channel, native, padded to even length (PS3.3 C.7.6.3, PS3.5 8.1.1)."""
    colour = levels.ndim == 3
    dataset = dataset_of(
        SamplesPerPixel=3 if colour else 1,
        PhotometricInterpretation="RGB" if colour else "MONOCHROME2",
        Rows=levels.shape[0],
        Columns=levels.shape[1],
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        PixelRepresentation=0,
    )
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.add_new("PixelData", "OB", levels.tobytes() + bytes(levels.size % 2))
    return dataset


def _units(plan: InputPlan) -> Dataset:
    """What a grey level means, and that all of them are to be seen (PS3.3 C.11.1, C.11.2)."""
    center, width = 127.5, 255.0
    dataset = Dataset()
    if plan.window == "fixed":
        center, width = plan.window_center, plan.window_width
        dataset = dataset_of(
            RescaleIntercept=_decimal(center - width / 2),
            RescaleSlope=_decimal(width / 255),
            RescaleType="HU" if plan.modality == "CT" else "US",
        )
    dataset.WindowCenter = _decimal(center)
    dataset.WindowWidth = _decimal(width)
    dataset.VOILUTFunction = "LINEAR_EXACT"
    return dataset


def _decimal(value: float) -> str:
    """A decimal string of at most 16 characters (PS3.5 6.2)."""
    return f"{value:.9g}"


def _line(text: str) -> str:
    """One line that a long string (LO) can hold, even for software that counts bytes."""
    line = " ".join(text.replace("\\", "/").split())
    return line.encode()[:_LO_BYTES].decode(errors="ignore")
