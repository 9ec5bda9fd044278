"""Phantom hospitals: folders of valid DICOM files with labels, none of which shows a person.

``write_phantoms`` makes them, ``planted_identifiers`` lists the words that must never leave them.

Privacy: everything is invented; the identifiers are there to be caught.
"""

from wardround_simulations.phantoms.hospitals import DEFAULT, LABELS, Hospital, Scanner
from wardround_simulations.phantoms.planted import planted_identifiers
from wardround_simulations.phantoms.writer import HospitalSummary, PhantomSummary, write_phantoms

__all__ = [
    "DEFAULT",
    "LABELS",
    "Hospital",
    "HospitalSummary",
    "PhantomSummary",
    "Scanner",
    "planted_identifiers",
    "write_phantoms",
]
