"""``labels.csv``: which class a scan, or every scan of a patient, belongs to.

The table has a column ``label`` and one or both of ``patient_id`` and ``sop_instance_uid``, and no other. A
row with a SOP Instance UID is about that scan (its patient id, if given, must be the file's); a row without
is about every scan of the patient. A scan may be named both ways if the labels agree.

Archives give copies new SOP Instance UIDs, and then no UID of the table is in the folder. Such a table still
names its patients: a patient whose rows agree has that label (``Source.OTHER_SCAN``). Whether no UID is in
the folder is known when all files have been read, so ``collect`` decides.

Not here: what to do with a scan whose label is missing (``scan`` puts it among the rejects).

Rules:

* All cells are text: pandas guesses no types, and no word means "missing".
* The table is taken as a whole or refused as a whole, with the numbers of its rows as a spreadsheet shows
  them (the header is row 1).

Privacy: after reading only keyed hashes remain. Messages hold row numbers and the permitted words, never a
cell or a column name of the file (a file without a header has a patient there).
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import NamedTuple

from wardround_client.ingest import identity, limits
from wardround_client.ingest.files import LABELS_FILE, read_bytes
from wardround_client.ingest.reasons import Refusal
from wardround_common.errors import IngestError

_PATIENT, _SCAN, _LABEL = "patient_id", "sop_instance_uid", "label"
_SHOWN_ROWS = 10


class Source(Enum):
    """What a scan's label rests on."""

    SCAN = auto()
    """A row about this scan."""
    PATIENT = auto()
    """A row about every scan of the patient."""
    OTHER_SCAN = auto()
    """Rows about other scans of the patient, which agree."""


class _Row(NamedTuple):
    number: int
    patient: str
    scan: str
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelTable:
    """Labels by keyed hash."""

    scans: dict[bytes, tuple[int, bytes]] = field(repr=False)
    """Scan key -> class index and alias of the patient (empty: not stated)."""
    patients: dict[bytes, int] = field(repr=False)
    """Alias of the patient -> class index."""
    named: dict[bytes, frozenset[int]] = field(repr=False)
    """Alias of a patient that rows about scans state -> class indices in those rows."""

    def label_of(self, *, scan: bytes, alias: bytes) -> tuple[int, Source]:
        """Class index of a scan, and what it rests on.

        Args:
            scan: Its keyed SOP Instance UID.
            alias: Keyed id of its patient, without the issuer.

        Raises:
            Refusal: No row, rows that disagree, or a row that names another patient.
        """
        patient_label = self.patients.get(alias)
        if scan not in self.scans:
            if patient_label is not None:
                return patient_label, Source.PATIENT
            if len(labels := self.named.get(alias, frozenset())) == 1:
                return next(iter(labels)), Source.OTHER_SCAN
            raise Refusal("label.other_scan" if labels else "label.missing", "SOPInstanceUID")
        label, named = self.scans[scan]
        if named not in (b"", alias):
            raise Refusal("label.other_patient", "PatientID")
        if patient_label not in (None, label):
            raise Refusal("label.conflict", "SOPInstanceUID")
        return label, Source.SCAN


def read_labels(folder: Path, *, labels: tuple[str, ...], site_secret: bytes) -> LabelTable:
    """Read ``labels.csv`` of a data folder.

    Args:
        folder: The data folder.
        labels: The plan's class names; a label's index in it is the class.
        site_secret: Key of the hashes.

    Raises:
        IngestError: The table is missing, unreadable, not UTF-8, has other columns, labels that the plan does
            not know, rows without an identifier, or rows that contradict one another.
    """
    rows = _rows(_cells(_text(folder / LABELS_FILE)))
    permitted = ", ".join(labels)
    _refuse(
        (row.number for row in rows if row.label not in labels),
        what=f"expected one of these labels: {permitted}; found another word or none",
        remedy=f"Correct the column '{_LABEL}' in these rows; permitted are: {permitted}.",
        code="ingest.labels_unknown",
    )
    _refuse(
        (row.number for row in rows if not _names_something(row)),
        what=f"expected a {_PATIENT}, a {_SCAN} or both; found neither, or one that is malformed",
        remedy="Complete these rows or remove them.",
        code="ingest.labels_unnamed",
    )
    return _table(rows, labels=labels, site_secret=site_secret)


def _table(rows: Iterable[_Row], *, labels: tuple[str, ...], site_secret: bytes) -> LabelTable:
    """Rows by keyed hash, where none contradicts an earlier one."""
    scans: dict[bytes, tuple[int, bytes]] = {}
    patients: dict[bytes, int] = {}
    contradictions = []
    for row in rows:
        label = labels.index(row.label)
        alias = identity.alias(site_secret, row.patient) if row.patient else b""
        if row.scan:
            entry = (label, alias)
            same = scans.setdefault(identity.scan_key(site_secret, row.scan), entry) == entry
        else:
            same = patients.setdefault(alias, label) == label
        if not same:
            contradictions.append(row.number)
    _refuse(
        contradictions,
        what="expected one label for each scan or patient; these rows contradict an earlier row",
        remedy="Keep one row for each scan or patient.",
        code="ingest.labels_conflict",
    )
    named: dict[bytes, set[int]] = {}
    for label, alias in scans.values():
        named.setdefault(alias, set()).add(label)
    named.pop(b"", None)
    frozen = {alias: frozenset(found) for alias, found in named.items()}
    return LabelTable(scans=scans, patients=patients, named=frozen)


def _text(path: Path) -> str:
    """The table as text; a byte order mark is permitted."""
    problem = ""
    try:
        data = read_bytes(path, limit_bytes=limits.MAX_LABEL_BYTES)
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        problem = "encoding"  # raised below: the exception would drag the whole table along
    except Refusal as refusal:
        problem = refusal.code if path.exists() else "missing"
    if problem == "encoding":
        raise IngestError(
            f"expected {LABELS_FILE} in UTF-8, found another encoding",
            remedy=f"Save {LABELS_FILE} as 'CSV UTF-8'.",
            code="ingest.labels_encoding",
        )
    if problem == "missing":
        raise IngestError(
            f"the data folder has no {LABELS_FILE}",
            remedy=f"Put {LABELS_FILE} at the top of the folder, with the columns {_PATIENT} and/or {_SCAN}, "
            f"and {_LABEL}.",
            code="ingest.labels_missing",
        )
    raise IngestError(
        f"{LABELS_FILE} cannot be read, is no regular file, or has more than {limits.MAX_LABEL_BYTES} bytes",
        remedy=f"Make {LABELS_FILE} a plain file that the account running Wardround may read.",
        code="ingest.labels_unreadable",
    )


def _cells(text: str) -> list[list[str]]:
    """All rows of the table, the header included, as stripped text."""
    import pandas  # here, not at the top: half a second that worker processes need not spend

    try:
        frame = pandas.read_csv(
            io.StringIO(text), header=None, dtype=str, keep_default_na=False, skip_blank_lines=False
        )
    except (ValueError, OverflowError):  # pandas' parser errors are ValueErrors
        frame = pandas.DataFrame()
    return [[identity.normal(str(cell)) for cell in row] for row in frame.fillna("").to_numpy().tolist()]


def _rows(cells: list[list[str]]) -> list[_Row]:
    """Named cells of all rows that are not blank."""
    header = [name.lower() for name in cells[0]] if cells else []
    wanted = set(header) - {_LABEL}
    if (
        len(set(header)) != len(header)
        or _LABEL not in header
        or not wanted
        or not wanted <= {_PATIENT, _SCAN}
    ):
        raise IngestError(
            f"expected the columns {_PATIENT} and/or {_SCAN}, and {_LABEL}, and no other in {LABELS_FILE}",
            remedy=f"Write these names into the first row of {LABELS_FILE}, separated by commas, and remove "
            "other columns.",
            code="ingest.labels_columns",
        )

    def cell(row: list[str], name: str) -> str:
        return row[header.index(name)] if name in header else ""

    rows = [
        _Row(number, cell(row, _PATIENT), cell(row, _SCAN), cell(row, _LABEL))
        for number, row in enumerate(cells[1:], start=2)
        if any(row)
    ]
    if not rows:
        raise IngestError(
            f"{LABELS_FILE} has no row below its header",
            remedy="Add a row for each scan or patient.",
            code="ingest.labels_empty",
        )
    return rows


def _names_something(row: _Row) -> bool:
    return (
        bool(row.patient or row.scan)
        and (not row.patient or identity.is_patient_id(row.patient))
        and (not row.scan or identity.is_uid(row.scan))
    )


def _refuse(numbers: Iterable[int], *, what: str, remedy: str, code: str) -> None:
    """Raise an ``IngestError`` that lists the first of these rows; do nothing for none."""
    found = list(numbers)
    if not found:
        return
    shown = ", ".join(str(number) for number in found[:_SHOWN_ROWS])
    more = f" and {len(found) - _SHOWN_ROWS} more" if len(found) > _SHOWN_ROWS else ""
    raise IngestError(f"{LABELS_FILE}, rows {shown}{more}: {what}", remedy=remedy, code=code)
