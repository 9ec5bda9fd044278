"""Rules that compare files: one PatientID for two persons, one SOP Instance UID for two scans.

Not here: the rules for one file (``scan``).

Rules:

* The result does not depend on the order of the files, nor on their names.
* Where two files contradict each other, neither is believed.
* A label of another scan of the patient counts only where no scan has a label of its own (``labels``).
* Every file ends as a scan or as a row of the rejects table.

Privacy: keyed hashes only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from wardround_client.catalogue import Row
from wardround_client.ingest.identity import Person
from wardround_client.ingest.labels import Source
from wardround_client.ingest.reasons import Rejected, tag_text
from wardround_client.ingest.scan import Outcome, Scan


@dataclass(frozen=True, kw_only=True, slots=True)
class _Candidate:
    """A file whose scan is usable on its own."""

    path: str
    person: Person
    scan: Scan


def collect(outcomes: Iterable[Outcome]) -> tuple[list[Row], list[Rejected]]:
    """Sort what became of all files into rows of the catalogue and of the rejects table.

    Args:
        outcomes: One for each file.

    Returns:
        Rows of the catalogue in any order, and rows of the rejects table.
    """
    candidates: list[_Candidate] = []
    rejects: list[Rejected] = []
    persons: set[Person] = set()
    for outcome in outcomes:
        if outcome.person:
            persons.add(outcome.person)
        if outcome.rejected:
            rejects.append(outcome.rejected)
        elif outcome.person and outcome.scan:
            candidates.append(_Candidate(path=outcome.path, person=outcome.person, scan=outcome.scan))
    ambiguous = _ambiguous(persons)
    strict = any(candidate.scan.source is Source.SCAN for candidate in candidates)
    copies: dict[bytes, list[_Candidate]] = defaultdict(list)
    for candidate in candidates:
        if candidate.person.alias in ambiguous:
            rejects.append(_reject(candidate, "patient.conflict", "PatientID"))
        elif strict and candidate.scan.source is Source.OTHER_SCAN:
            rejects.append(_reject(candidate, "label.other_scan", "SOPInstanceUID"))
        else:
            copies[candidate.scan.key].append(candidate)
    rows: list[Row] = []
    for group in copies.values():
        chosen, *others = sorted(group, key=lambda candidate: candidate.path)
        if len({candidate.scan.file_digest for candidate in group}) > 1:
            rejects += [_reject(candidate, "duplicate.conflict", "SOPInstanceUID") for candidate in group]
            continue
        rejects += [_reject(candidate, "duplicate", "SOPInstanceUID") for candidate in others]
        rows.append(_row(chosen))
    return rows, rejects


def _ambiguous(persons: Iterable[Person]) -> set[bytes]:
    """Aliases whose files state more than one issuer, birth date or sex."""
    stated: dict[tuple[bytes, int], set[bytes]] = defaultdict(set)
    for person in persons:
        for kind, trait in enumerate(person.traits):
            stated[person.alias, kind].update((trait,) if trait else ())
    return {alias for (alias, _), traits in stated.items() if len(traits) > 1}


def _reject(candidate: _Candidate, code: str, keyword: str) -> Rejected:
    return Rejected(path=candidate.path, tag=tag_text(keyword), code=code)


def _row(candidate: _Candidate) -> Row:
    return Row(
        patient_key=candidate.person.key,
        scan_key=candidate.scan.key,
        label=candidate.scan.label,
        image_CHW=candidate.scan.image_CHW,
    )
