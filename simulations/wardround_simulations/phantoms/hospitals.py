"""Which hospitals the phantoms come from: size, prevalence, scanner, case mix. A literal table.

Responsible for the three default hospitals and the two frozen records that describe any other set. Not for
drawing (``chest``, ``findings``, ``slices``), acquiring (``scanner``) or writing (``dicom``).

Rules:

* A hospital is known by its name: the same name and seed give the same patients, in whatever list it stands.
* What differs between hospitals is what differs between real ones: how many patients, how many of them ill,
  which findings they are sent, whether contrast medium is given, and the scanner.

Privacy: nothing here comes from a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

LABELS = ("normal", "nodule")
"""Label words; the second is the positive class."""

Finding = Literal["spiculated", "lobulated", "cavity", "band", "bundle", "oval"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scanner:
    """What a hospital's scanner and its export do to a chest. HU = ``slope * stored + intercept``."""

    model: str
    matrix_px: int
    spacing_mm: float
    resolution_mm: float
    """Width of a sharp edge in the picture, at least ``spacing_mm``."""
    noise_hu: float
    """Standard deviation of the white noise before ``noise_blur``."""
    noise_blur: int
    """Passes of a binomial kernel over the noise: its grain."""
    slope: float
    intercept: float
    bits: int
    signed: bool
    photometric: Literal["MONOCHROME1", "MONOCHROME2"]
    window: tuple[int, int]
    """Centre and width that the scanner proposes, in HU."""
    padding: int | None
    """Stored value outside the reconstruction circle (PixelPaddingValue), None where the matrix is filled."""
    syntaxes: tuple[UID, ...]
    """Transfer syntaxes, dealt to the files of each patient in turn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hospital:
    """One hospital of a phantom set."""

    name: str
    patients: int
    prevalence: float
    """Probability that a patient has a nodule."""
    nodules: Mapping[Finding, float]
    """Relative frequency of each kind of nodule."""
    mimics: Mapping[Finding, float]
    """Relative frequency of each kind of look-alike."""
    subtle: float
    """Share of the ill patients with a single nodule among look-alikes; the others have several nodules."""
    lung_hu: float
    """Mean of the aerated lung: depth of breath held, age of the patients."""
    vessel_hu: float
    """Blood: about 40 plain, 150 and more with contrast medium."""
    label_key: Literal["patient_id", "sop_instance_uid"]
    """First column of ``labels.csv``."""
    scanner: Scanner


DEFAULT: tuple[Hospital, ...] = (
    Hospital(
        name="alder",
        patients=600,
        prevalence=0.45,
        nodules={"spiculated": 0.8, "lobulated": 0.2},
        mimics={"band": 0.8, "oval": 0.2},
        subtle=0.25,
        lung_hu=-830.0,
        vessel_hu=40.0,
        label_key="patient_id",
        scanner=Scanner(
            model="Tomograph A16",
            matrix_px=64,
            spacing_mm=4.6,
            resolution_mm=4.6,
            noise_hu=22.0,
            noise_blur=0,
            slope=1.0,
            intercept=-1024.0,
            bits=12,
            signed=False,
            photometric="MONOCHROME2",
            window=(-600, 1500),
            padding=None,
            syntaxes=(ExplicitVRLittleEndian, ImplicitVRLittleEndian),
        ),
    ),
    Hospital(
        name="birch",
        patients=400,
        prevalence=0.35,
        nodules={"cavity": 0.7, "spiculated": 0.3},
        mimics={"bundle": 0.6, "oval": 0.4},
        subtle=0.3,
        lung_hu=-780.0,
        vessel_hu=130.0,
        label_key="patient_id",
        scanner=Scanner(
            model="Voxel Clear 64",
            matrix_px=72,
            spacing_mm=4.0,
            resolution_mm=5.2,
            noise_hu=90.0,
            noise_blur=1,
            slope=-0.5,
            intercept=3071.0,
            bits=13,
            signed=False,
            photometric="MONOCHROME1",
            window=(-500, 1600),
            padding=None,
            syntaxes=(DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian),
        ),
    ),
    Hospital(
        name="cedar",
        patients=200,
        prevalence=0.55,
        nodules={"lobulated": 0.6, "cavity": 0.4},
        mimics={"bundle": 0.55, "oval": 0.45},
        subtle=0.35,
        lung_hu=-860.0,
        vessel_hu=60.0,
        label_key="sop_instance_uid",
        scanner=Scanner(
            model="Helix Duo",
            matrix_px=80,
            spacing_mm=4.4,
            resolution_mm=5.8,
            noise_hu=38.0,
            noise_blur=0,
            slope=1.0,
            intercept=0.0,
            bits=16,
            signed=True,
            photometric="MONOCHROME2",
            window=(-400, 1200),
            padding=-2000,
            syntaxes=(RLELossless, ImplicitVRLittleEndian),
        ),
    ),
)
"""Three hospitals, 1,200 patients, about 2,400 images."""
