"""One imaginary patient from number to files: label, anatomy, slices, DICOM.

Rules:

* A patient depends on hospital, seed and number, on nothing else: not on the size of the set, not on the
  other hospitals, not on which process makes it. The planted identifiers are the one exception.

Privacy: nothing here comes from a person.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from wardround_simulations.phantoms.chest import draw_chest
from wardround_simulations.phantoms.dicom import encoded, image
from wardround_simulations.phantoms.hospitals import LABELS, Hospital
from wardround_simulations.phantoms.identities import hashed, identity
from wardround_simulations.phantoms.planted import Planted, plant
from wardround_simulations.phantoms.scanner import acquire
from wardround_simulations.phantoms.slices import paint_slice


@dataclass(frozen=True, kw_only=True, slots=True)
class Patient:
    """One patient's label and images, not yet encoded."""

    patient_id: str
    label: str
    images: tuple[Dataset, ...]

    @property
    def positive(self) -> bool:
        """Whether the patient has a nodule."""
        return self.label == LABELS[1]

    @property
    def uids(self) -> tuple[str, ...]:
        """The SOP Instance UIDs of the images."""
        return tuple(str(dataset.SOPInstanceUID) for dataset in self.images)


def draw_patient(
    hospital: Hospital, *, seed: int, number: int, planted: tuple[Planted, ...] = (), most_slices: int = 3
) -> Patient:
    """Patient ``number`` of ``hospital``, with one to three images, all of which show the nodules, if any."""
    rng = np.random.default_rng((seed, hashed("hospital", hospital.name), number))
    person = identity(hospital.name, seed=seed, patient=number)
    positive = bool(rng.random() < hospital.prevalence)
    chest = draw_chest(rng, hospital, positive=positive)
    images = []
    for slice_ in range(int(rng.integers(1, most_slices + 1))):
        stored_HW = acquire(paint_slice(chest, hospital.scanner, rng), hospital.scanner, rng)
        dataset = image(hospital, person, stored_HW, key=(hospital.name, seed, number), slice_=slice_)
        for entry in planted:
            plant(dataset, entry)
        images.append(dataset)
    return Patient(patient_id=person.patient_id, label=LABELS[positive], images=tuple(images))


def patient_files(patient: Patient, hospital: Hospital, *, number: int) -> dict[str, bytes]:
    """File name -> file, in the hospital's transfer syntaxes in turn."""
    syntaxes = hospital.scanner.syntaxes
    return {
        f"{number:05d}-{slice_}.dcm": encoded(dataset, syntaxes[(number + slice_) % len(syntaxes)])
        for slice_, dataset in enumerate(patient.images)
    }
