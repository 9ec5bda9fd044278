"""Writing a phantom set to disk: ``OUT/<hospital>/*.dcm`` and ``OUT/<hospital>/labels.csv``.

Rules:

* The same arguments give the same bytes, however many processes write them.
* Nothing is deleted that this module did not write: a folder is replaced only where its marker names it and
  nothing else lies beside. The marker is written first, so that an interrupted set can be replaced too.

Not here: what a patient looks like (``patients``) and what is broken (``broken``).

Privacy: nothing here comes from a person.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wardround_common.errors import ConfigError
from wardround_common.processes import process_pool
from wardround_simulations.phantoms.broken import LABELLED, broken_file, broken_names
from wardround_simulations.phantoms.folder import clear, store
from wardround_simulations.phantoms.hospitals import DEFAULT, Hospital
from wardround_simulations.phantoms.patients import draw_patient, patient_files
from wardround_simulations.phantoms.planted import planted_for

_CHUNK = 20
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")


@dataclass(frozen=True, kw_only=True, slots=True)
class HospitalSummary:
    """What was written for one hospital; broken files count neither as patients nor as images."""

    name: str
    patients: int
    images: int
    positives: int
    """Patients with a nodule."""
    broken: tuple[str, ...]
    """Names of the broken files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PhantomSummary:
    """What was written."""

    hospitals: tuple[HospitalSummary, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Site:
    """One hospital of the set that is being written."""

    hospital: Hospital
    folder: Path
    seed: int
    patients: int
    place: int
    of: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    """One patient, for the label table and the summary."""

    patient_id: str
    label: str
    positive: bool
    uids: tuple[str, ...]


def write_phantoms(
    out: Path,
    *,
    seed: int,
    hospitals: Sequence[Hospital] = DEFAULT,
    scale: float = 1.0,
    broken: bool = True,
    progress: Callable[[int, int], None] | None = None,
    workers: int = 1,
) -> PhantomSummary:
    """Write a phantom set.

    Args:
        out: New or empty folder, or one that holds phantoms, which are then replaced.
        seed: At least 0; everything follows from it.
        hospitals: One to many, with different names.
        scale: Factor on the number of patients; each hospital keeps at least one.
        broken: Add the files that cannot be used.
        progress: Called with patients written so far and patients in all.
        workers: Processes; 1 writes in this one.

    Raises:
        ConfigError: An argument is out of range, or ``out`` holds something else.
        StorageError: A file cannot be written.
    """
    _check(seed, hospitals, scale, workers)
    clear(out, names=[hospital.name for hospital in hospitals])
    sites = _sites(out, seed, hospitals, scale)
    chunks = [
        (site, range(first, min(first + _CHUNK, site.patients)))
        for site in sites
        for first in range(0, site.patients, _CHUNK)
    ]
    rows: dict[str, list[_Row]] = {site.hospital.name: [] for site in sites}
    total, done = sum(site.patients for site in sites), 0
    for (site, _), written in zip(chunks, _written(chunks, workers), strict=True):
        rows[site.hospital.name] += written
        done += len(written)
        if progress is not None:
            progress(done, total)
    return PhantomSummary(
        hospitals=tuple(_finished(site, rows[site.hospital.name], broken) for site in sites)
    )


def _sites(out: Path, seed: int, hospitals: Sequence[Hospital], scale: float) -> list[_Site]:
    return [
        _Site(
            hospital=hospital,
            folder=out / hospital.name,
            seed=seed,
            patients=max(1, round(hospital.patients * scale)),
            place=place,
            of=len(hospitals),
        )
        for place, hospital in enumerate(hospitals)
    ]


def _check(seed: int, hospitals: Sequence[Hospital], scale: float, workers: int) -> None:
    names = [hospital.name for hospital in hospitals]
    problem = ""
    if seed < 0:
        problem = f"expected a seed of at least 0, got {seed}"
    elif not 0 < scale <= 1_000:
        problem = f"expected a scale above 0 and up to 1000, got {scale}"
    elif workers < 1:
        problem = f"expected at least one worker, got {workers}"
    elif not names or len(set(names)) != len(names) or not all(map(_NAME.fullmatch, names)):
        problem = f"expected hospitals with different lower-case names, got {names}"
    if problem:
        raise ConfigError(
            problem, remedy="Correct the arguments of the phantom set.", code="phantoms.bad_arguments"
        )


def _written(chunks: list[tuple[_Site, range]], workers: int) -> Iterator[list[_Row]]:
    """The rows of each chunk in order, in this process or in several."""
    if workers == 1:
        yield from map(_write_chunk, chunks)
        return
    with process_pool(workers) as pool:
        yield from pool.map(_write_chunk, chunks)


def _write_chunk(chunk: tuple[_Site, range]) -> list[_Row]:
    site, numbers = chunk
    return [_write_patient(site, number) for number in numbers]


def _write_patient(site: _Site, number: int) -> _Row:
    planted = planted_for(number, patients=site.patients, hospital=site.place, hospitals=site.of)
    patient = draw_patient(site.hospital, seed=site.seed, number=number, planted=planted)
    for name, data in patient_files(patient, site.hospital, number=number).items():
        store(site.folder / name, data)
    return _Row(
        patient_id=patient.patient_id, label=patient.label, positive=patient.positive, uids=patient.uids
    )


def _finished(site: _Site, rows: list[_Row], broken: bool) -> HospitalSummary:
    """Write the broken files and the label table of one hospital."""
    names = broken_names(place=site.place, hospitals=site.of) if broken else ()
    labelled = list(rows)
    for index, name in enumerate(names):
        data, patient = broken_file(name, site.hospital, seed=site.seed, number=site.patients + index)
        store(site.folder / name, data)
        if name in LABELLED:
            labelled.append(
                _Row(patient_id=patient.patient_id, label=patient.label, positive=False, uids=patient.uids)
            )
    _write_labels(site, labelled)
    return HospitalSummary(
        name=site.hospital.name,
        patients=len(rows),
        images=sum(len(row.uids) for row in rows),
        positives=sum(row.positive for row in rows),
        broken=names,
    )


def _write_labels(site: _Site, rows: list[_Row]) -> None:
    key = site.hospital.label_key
    buffer = io.StringIO(newline="")
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow([key, "label"])
    for row in rows:
        names = [row.patient_id] if key == "patient_id" else row.uids
        table.writerows([name, row.label] for name in names)
    store(site.folder / "labels.csv", buffer.getvalue().encode())
