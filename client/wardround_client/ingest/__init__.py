"""From a folder of DICOM files to a catalogue of de-identified tensors, at the site.

``ingest`` is the whole of it: list the files, read each one (``scan``), compare them (``collect``), save the
catalogue and the table of rejects. What a file must look like is in ``acceptance``; why one was refused, in
``reasons``; how large anything may be, in ``limits``.

Not here: fetching from a PACS, training.

Rules:

* Originals are opened for reading only. Nothing is written outside ``store``.
* Every file that is seen is a row of the catalogue or of the rejects table.
* The catalogue depends on the content of the files, not on their names, order or number of workers.
* A file that cannot be used is a row with a reason; what makes the folder as a whole unusable is one
  ``IngestError``.

Privacy: what is written holds images, keyed hashes, and the paths of rejected files, all in the site's data
store, sealed and with permissions for its owner only. Messages and reasons hold no value of a file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wardround_client.catalogue import CATALOGUE_FILE, Catalogue
from wardround_client.ingest import limits
from wardround_client.ingest.collect import collect
from wardround_client.ingest.dataset import decoders
from wardround_client.ingest.files import check_folder, list_files
from wardround_client.ingest.identity import SECRET_BYTES
from wardround_client.ingest.labels import read_labels
from wardround_client.ingest.readers import read_all
from wardround_client.ingest.reasons import REASONS, Rejected
from wardround_client.ingest.scan import Outcome, Rules
from wardround_client.ingest.store import REJECTS_FILE, load_rejects, save_rejects
from wardround_client.sealing import Sealer
from wardround_common.errors import ConfigError, IngestError
from wardround_common.plan import InputPlan

__all__ = [
    "CATALOGUE_FILE",
    "REASONS",
    "REJECTS_FILE",
    "Ingested",
    "Rejected",
    "decoders",
    "ingest",
    "load_rejects",
]

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ingested:
    """What came of a folder; together the two parts account for every file that was seen."""

    catalogue: Catalogue
    rejects: tuple[Rejected, ...]
    """Sorted by path."""


def ingest(
    folder: Path,
    *,
    store: Path,
    sealer: Sealer,
    input_plan: InputPlan,
    labels: tuple[str, ...],
    site_secret: bytes,
    progress: Progress | None = None,
    workers: int = 1,
) -> Ingested:
    """Read a folder of DICOM files with its ``labels.csv``.

    Args:
        folder: The originals, sub-folders included.
        store: The site's data folder; ``CATALOGUE_FILE`` and ``REJECTS_FILE`` in it are replaced.
        sealer: Seals both, for one plan.
        input_plan: How a scan becomes a tensor.
        labels: The plan's class names; their order is the class index.
        site_secret: 32 bytes, never rotated: the key of all pseudonyms.
        progress: Called with files done and files in all, after each file.
        workers: Processes that read files; changes speed only.

    Raises:
        IngestError: The folder or ``labels.csv`` cannot be used, or no file in it can (the rejects table is
            written then, a catalogue from before stays).
        ConfigError: The plan's window has no width, or the secret is too short.
        StorageError: ``store`` cannot be written.
    """
    _check_settings(input_plan, site_secret)
    check_folder(folder, store=store)
    table = read_labels(folder, labels=labels, site_secret=site_secret)
    paths, unread = list_files(folder)
    rules = Rules(plan=input_plan, labels=table, site_secret=site_secret)
    outcomes = _read(folder, paths, rules=rules, progress=progress, workers=workers)
    rows, refused = collect(outcomes)
    rejects = tuple(sorted(unread + refused))
    save_rejects(store, rejects, sealer=sealer)
    if not rows:
        counts = sorted(Counter(row.code for row in rejects).items())
        raise IngestError(
            f"none of the {len(rejects)} files in the data folder can be used: "
            + ", ".join(f"{count} {code}" for code, count in counts),
            remedy="At a site, `wardround-site data rejects` lists the files and the reason for each.",
            code="ingest.no_usable_scan",
        )
    catalogue = Catalogue.of(rows)
    catalogue.save(store / CATALOGUE_FILE, sealer)
    return Ingested(catalogue=catalogue, rejects=rejects)


def _check_settings(input_plan: InputPlan, site_secret: bytes) -> None:
    if input_plan.window == "fixed" and input_plan.window_width < limits.MIN_NUMBER:
        raise ConfigError(
            "expected a window of positive width in the plan, found none",
            remedy="Set window_center and window_width in the plan's input, or window = 'file'.",
            code="plan.window",
        )
    if len(site_secret) < SECRET_BYTES:
        raise ConfigError(
            f"expected a site secret of {SECRET_BYTES} bytes, got {len(site_secret)}",
            remedy="Create the site's secret with the set-up command.",
            code="config.site_secret",
        )


def _read(
    folder: Path, paths: list[str], *, rules: Rules, progress: Progress | None, workers: int
) -> list[Outcome]:
    """The outcomes of all files, within the memory that a catalogue may take."""
    outcomes: list[Outcome] = []
    held_bytes = 0
    for outcome in read_all(folder, paths, rules=rules, workers=workers):
        outcomes.append(outcome)
        held_bytes += outcome.scan.image_CHW.nbytes if outcome.scan else 0
        if held_bytes > limits.MAX_CATALOGUE_BYTES:
            raise IngestError(
                f"the catalogue would have more than {limits.MAX_CATALOGUE_BYTES} bytes",
                remedy="Label fewer scans, or ask for a plan with smaller images.",
                code="ingest.too_much",
            )
        if progress:
            progress(len(outcomes), len(paths))
    return outcomes
