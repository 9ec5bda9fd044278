"""From one file to one scan: read, checked, de-identified, labelled, and turned into a tensor.

``read_scan`` is the story of a file; its result depends on nothing but the file and the rules, so any number
of processes can run it in any order.

Not here: rules that compare files (``collect``).

Privacy: identifiers of the file end here. A ``Scan`` names patient and image by keyed hash.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.dataset import Dataset

from wardround_client.ingest import limits
from wardround_client.ingest.acceptance import check_object, check_pixels
from wardround_client.ingest.dataset import open_dataset, quietly
from wardround_client.ingest.files import read_bytes, readable
from wardround_client.ingest.identity import Person, identify, scan_key, scan_uid
from wardround_client.ingest.intensity import Image
from wardround_client.ingest.isolation import Decoder
from wardround_client.ingest.labels import LabelTable, Source
from wardround_client.ingest.pixels import tensor
from wardround_client.ingest.reasons import Refusal, Rejected
from wardround_common.errors import IngestError
from wardround_common.plan import InputPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """All that decides what becomes of a file."""

    plan: InputPlan
    labels: LabelTable
    site_secret: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scan:
    """A scan that can be used."""

    key: bytes
    """Keyed SOP Instance UID."""
    label: int
    source: Source
    """What the label rests on."""
    file_digest: bytes
    image_CHW: Image


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Outcome:
    """What became of one file: a scan or a row of the rejects table, never both."""

    path: str
    person: Person | None
    """Whom the file is about; None where the file does not say it in a usable way."""
    scan: Scan | None = None
    rejected: Rejected | None = None


def read_scan(folder: Path, path: str, *, rules: Rules, decoder: Decoder) -> Outcome:
    """Read one file.

    Args:
        folder: The data folder.
        path: The file, relative to it.
        rules: The plan's input, the labels, the site's secret.
        decoder: Decodes compressed pixels.

    Raises:
        IngestError: Memory ran out, or the decoder process does not start.
    """
    name = readable(path)
    person = None
    try:
        with quietly():
            data = read_bytes(folder / path, limit_bytes=limits.MAX_FILE_BYTES)
            dataset = open_dataset(data)
            with suppress(Refusal):  # asked again where it matters; what an object is comes first
                person = identify(dataset, rules.site_secret)
            scan = _scan(dataset, data, person, rules=rules, decoder=decoder)
        return Outcome(path=name, person=person, scan=scan)
    except Refusal as refusal:
        return Outcome(path=name, person=person, rejected=Rejected.of(name, refusal))
    except MemoryError:
        pass
    raise IngestError(
        "memory ran out while a file was read",
        remedy="Use fewer workers, or a machine with more memory.",
        code="ingest.memory",
    )


def _scan(dataset: Dataset, data: bytes, person: Person | None, *, rules: Rules, decoder: Decoder) -> Scan:
    check_object(dataset, modality=rules.plan.modality)
    person = person or identify(dataset, rules.site_secret)
    key = scan_key(rules.site_secret, scan_uid(dataset))
    label, source = rules.labels.label_of(scan=key, alias=person.alias)
    form = check_pixels(dataset, plan=rules.plan)
    return Scan(
        key=key,
        label=label,
        source=source,
        file_digest=hashlib.sha256(data).digest(),
        image_CHW=tensor(dataset, form, plan=rules.plan, decoder=decoder),
    )
