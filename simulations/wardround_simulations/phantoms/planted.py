"""Twenty identifiers, planted where careless software forgets them: whoever finds one later has found a leak.

Rules:

* Exactly twenty, whatever the size of the set. Each goes to one patient, into all of that patient's files.
* A token is one word of letters and digits that cannot occur by chance, or a date of eight digits that no
  other date or UID of the phantoms contains. It stands in the file as it is written here, in ASCII.

Not here: patient ids and names, which identify as well; the label table holds some of them.

Privacy: the tokens are invented.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

PRIVATE_CREATOR = "PHANTOM RECORDS"
PRIVATE_GROUP = 0x0029

Step = str | tuple[int, str]
"""A keyword, or the element and VR of a private attribute."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Planted:
    """One planted identifier."""

    token: str
    """The distinctive word."""
    text: str
    """The value of the attribute, with ``{}`` where the token stands."""
    where: tuple[Step, ...]
    """The attribute, with the sequences that lead to it."""


_REQUEST = "RequestAttributesSequence"
_PROTOCOL = "ScheduledProtocolCodeSequence"
_TABLE = (
    Planted(token="Quexleythorpe", text="{}^Ottoline", where=("PatientBirthName",)),
    Planted(token="Wrzesniakova", text="{}^Bohumila", where=("PatientMotherBirthName",)),
    Planted(token="Marrowgatewick", text="47 {} Lane, Upper Tidmoor", where=("PatientAddress",)),
    Planted(token="0044770900481", text="+{}", where=("PatientTelephoneNumbers",)),
    Planted(token="Pfeffernacht", text="Asks to be called at the {} bakery", where=("PatientComments",)),
    Planted(token="19010213", text="{}", where=("PatientBirthDate",)),
    Planted(token="ACCXQ7740318", text="{}", where=("AccessionNumber",)),
    Planted(token="Drosselmuir", text="{}^Evander", where=("ReferringPhysicianName",)),
    Planted(token="Ystradgarn", text="Chest, wife of the mayor of {}", where=("StudyDescription",)),
    Planted(token="Okonkwodottir", text="Compare with her brother {}", where=("ImageComments",)),
    Planted(token="18991128", text="{}", where=("PerformedProcedureStepStartDate",)),
    Planted(token="Vandermoolen", text="Nephew of Mrs {}, ward 3", where=("AdditionalPatientHistory",)),
    Planted(token="NHSQ4857773456", text="{}", where=("OtherPatientIDsSequence", "PatientID")),
    Planted(token="Zwolinskaheim", text="Fall at {}", where=(_REQUEST, "RequestedProcedureDescription")),
    Planted(token="SPSXJ99120475", text="{}", where=(_REQUEST, "ScheduledProcedureStepID")),
    Planted(token="Thistlecrombie", text="As for Mrs {}", where=(_REQUEST, _PROTOCOL, "CodeMeaning")),
    Planted(token="Hjaltebrink", text="{}^Torvald", where=((0x01, "PN"),)),
    Planted(token="19020417", text="{}", where=((0x02, "DA"),)),
    Planted(token="PASSPORTXK5520917", text="Seen by reception: {}", where=((0x03, "LO"),)),
    Planted(token="Cobblewrexham", text="Next of kin in {}", where=((0x10, "SQ"), (0x04, "LT"))),
)
PLANTED_DATES = tuple(entry.token for entry in _TABLE if entry.token.isdigit() and len(entry.token) == 8)

_COMPANIONS: dict[Step, dict[str, str]] = {
    "OtherPatientIDsSequence": {"TypeOfPatientID": "TEXT"},
    _REQUEST: {"RequestedProcedureID": "RP1", "ScheduledProcedureStepID": "SPS1"},
    _PROTOCOL: {"CodeValue": "P1", "CodingSchemeDesignator": "99PHANTOM"},
}
"""What an item of a sequence must hold besides."""


def planted_identifiers() -> tuple[str, ...]:
    """The twenty words to search for in whatever leaves a hospital."""
    return tuple(entry.token for entry in _TABLE)


def planted_for(patient: int, *, patients: int, hospital: int, hospitals: int) -> tuple[Planted, ...]:
    """What is planted with one patient: the table is dealt to hospitals in turn, spread over their patients.

    Args:
        patient: Number of the patient.
        patients: How many the hospital has.
        hospital: Place of the hospital in the set.
        hospitals: How many the set has.
    """
    places = ((2 * index + 1) * patients // (2 * len(_TABLE)) for index in range(len(_TABLE)))
    return tuple(
        entry
        for index, (entry, place) in enumerate(zip(_TABLE, places, strict=True))
        if index % hospitals == hospital and place == patient
    )


def plant(dataset: Dataset, entry: Planted) -> None:
    """Write one identifier into a data set, making the sequences that lead to it."""
    *sequences, last = entry.where
    for step in sequences:
        dataset = _item(dataset, step)
    _put(dataset, last, entry.text.format(entry.token))


def _item(dataset: Dataset, step: Step) -> Dataset:
    """The one item of a sequence, made where it is missing."""
    if isinstance(step, str) and step in dataset:
        present: Dataset = dataset[step].value[0]
        return present
    item = Dataset()
    for keyword, companion in _COMPANIONS.get(step, {}).items():
        setattr(item, keyword, companion)
    _put(dataset, step, [item])
    return item


def _put(dataset: Dataset, step: Step, value: str | list[Dataset]) -> None:
    if isinstance(step, str):
        setattr(dataset, step, value)
    else:
        block = dataset.private_block(PRIVATE_GROUP, PRIVATE_CREATOR, create=True)
        block.add_new(*step, value)
