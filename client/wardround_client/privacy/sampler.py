"""Poisson sampling of patients, and one image of each patient drawn.

The unit of the promise is the patient, so patients are drawn, not images: an epsilon per image of 8.0 is 49
for a patient with four images. Each patient enters a step on its own, with the plan's probability, whatever
the others do; the batch may be empty and its size is never a constant.

Not here: loading images, augmentation, the number of steps (the plan's; a step with an empty batch is a
step).

Privacy: who was drawn and how many is part of the mechanism and stays inside it: neither is logged, sent or
shown by the time a step takes on the wire. Each step has a stream of its own, so how much of it is read shows
nowhere.

References:
    Abadi et al., CCS 2016 (amplification by sampling); Chua et al. 2024 (shuffling is not Poisson sampling).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wardround_common.streams import Stream

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class PatientImages:
    """Which image rows belong to which patient: rows of patient p are ``rows[starts[p]:starts[p + 1]]``."""

    rows: Indices
    starts: Indices

    @classmethod
    def of(cls, patient_N: Indices, *, patients: int) -> PatientImages:
        """Group image rows by patient.

        Args:
            patient_N: For each image row the index of its patient, 0 to ``patients - 1``, in any order.
            patients: Number of patients; each has at least one image.

        Raises:
            ValueError: An index is out of range, or a patient has no image.
        """
        if patient_N.size and not 0 <= patient_N.min() <= patient_N.max() < patients:
            raise ValueError("an image row names a patient that is not there")
        images_of = np.bincount(patient_N, minlength=patients)
        if patients and images_of.min() == 0:
            raise ValueError("every patient has at least one image, found one without")
        starts = np.concatenate([[0], np.cumsum(images_of)]).astype(np.int64)
        return cls(rows=np.argsort(patient_N, kind="stable").astype(np.int64), starts=starts)


def sample_patients(stream: Stream, *, patients: int, sample_rate: float) -> Indices:
    """Draw the patients of one step: each one independently with probability ``sample_rate``.

    Formal guarantees: the draw of a patient is independent of every other patient and of all data, and has
    probability ``sample_rate`` within 2**-53. Uses 8 bytes of keystream per patient of the site, drawn or
    not.

    ====================  ===========================================
    edge case             result
    ====================  ===========================================
    nobody drawn          empty array: the step is still taken, noised and counted
    no patients at all    empty array
    ``sample_rate == 1``  everybody, always
    ====================  ===========================================

    Args:
        stream: The stream of this step's draw; used for nothing else.
        patients: Number of training patients of the site (private: never divide by it).
        sample_rate: The plan's, in (0, 1].

    Returns:
        Increasing indices of the drawn patients.

    Raises:
        ValueError: ``sample_rate`` is out of range.
    """
    if not 0 < sample_rate <= 1:
        raise ValueError(f"the sample rate is in (0, 1], got {sample_rate}")
    return np.flatnonzero(stream.uniform(patients) < sample_rate).astype(np.int64)


def choose_images(stream: Stream, patients_B: Indices, *, images: PatientImages) -> Indices:
    """Draw one image of each drawn patient, uniformly within the patient.

    Formal guarantees: a patient contributes exactly one row, chosen from its own rows with its own draw; the
    choice depends on no other patient, so the step's guarantee per row holds per patient. Probabilities
    within a patient are equal within 2**-53 (that evenness is a matter of training, not of privacy).

    Args:
        stream: The stream of this step's choice, not that of ``sample_patients``.
        patients_B: Result of ``sample_patients``; may be empty.
        images: The rows of every patient.

    Returns:
        Image rows, in the order of ``patients_B``.
    """
    first = images.starts[patients_B]
    available = images.starts[patients_B + 1] - first
    # u <= 1 - 2**-53, hence u * available stays below available also after rounding to float64.
    chosen = np.floor(stream.uniform(patients_B.size) * available).astype(np.int64)
    return np.take(images.rows, first + chosen)
