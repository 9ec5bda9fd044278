"""The catalogue: a site's de-identified scans as tensors, grouped by patient and split by patient.

It is what training and evaluation see of a hospital. It has no name, no identifier, no date and no path.

Not here: how scans become tensors (``ingest``), sampling (``privacy``), what was spent on whom (``ledger``).

Rules:

* Rows are sorted by patient key, then by scan key: two ingests of the same files give the same catalogue.
* Train, validation or test is a function of the patient key alone, with fixed shares, the same in all
  studies: a patient who pays for training never pays for evaluation, whatever folder he or she comes in by.
* A saved catalogue is sealed (``sealing``) for the plan that it was read for; an altered one is refused.

Privacy: images of patients, and keyed pseudonyms. It stays in the site's data folder, sealed, readable by its
owner only.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO

import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from wardround_client.sealing import Opened, Sealer
from wardround_common.canonical import DIGEST_BYTES, decode, digest, encode
from wardround_common.errors import ProtocolError, StorageError
from wardround_common.files import private_folder

Images = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

CATALOGUE_FILE = "catalogue.sealed"
"""The catalogue's name in a site's data folder."""
CHANNELS = (1, 3)
"""How many an image may have: grey, or red, green and blue."""
SIDES = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)
_VALIDATION_FROM, _TEST_FROM = (share * (1 << 64) // 100 for share in (70, 85))
_MAX_ROWS_BYTES = 2**30
_LENGTH_BYTES = 8

Digest = Annotated[bytes, Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]
Index = Annotated[int, Meta(ge=0, lt=2**31)]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Row:
    """One scan on its way into a catalogue."""

    patient_key: bytes
    scan_key: bytes
    label: int
    image_CHW: Images


class _SavedRow(Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """One scan as it is saved, image apart."""

    patient: Index
    scan_key: Digest
    label: Index
    tensor: Digest


class _Saved(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All of a catalogue but its images' values, which follow it as little-endian float32."""

    version: Annotated[int, Meta(ge=2, le=2)] = 2
    shape: tuple[Index, Index, Index, Index]
    patient_keys: tuple[Digest, ...]
    rows: tuple[_SavedRow, ...]
    snapshot: Digest


@dataclass(frozen=True, slots=True)
class Census:
    """Who is in a catalogue, without a single image.

    Attributes:
        snapshot: Digest of the catalogue's content.
        patient_keys: As ``Catalogue.patient_keys``.
    """

    snapshot: bytes
    patient_keys: tuple[bytes, ...]

    @property
    def members(self) -> Iterator[tuple[bytes, int]]:
        """Each patient's key and side."""
        return ((key, side_of(key)) for key in self.patient_keys)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Catalogue:
    """Scans of N images and P patients, or a view of those of one side."""

    images_NCHW: Images
    """Values 0 to 1, C in ``CHANNELS``."""
    patient_N: Indices
    """For each image the index of its patient in ``patient_keys``; not decreasing."""
    label_N: Indices
    """Class index in the plan's labels."""
    sop_N: tuple[bytes, ...]
    """Keyed SOP Instance UIDs, 32 bytes."""
    patient_keys: tuple[bytes, ...]
    """Keyed hashes of issuer and patient id, 32 bytes, sorted, each with at least one image."""
    side_P: Indices
    """0 train, 1 validation, 2 test."""
    snapshot: bytes
    """Digest of the content of the whole catalogue, also in a view: no path and no time."""

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Catalogue:
        """The catalogue of these scans, in whatever order they come.

        Raises:
            ValueError: No row, or images of different shapes or not of one or three channels.
        """
        ordered = sorted(rows, key=lambda row: (row.patient_key, row.scan_key))
        patient_keys = tuple(sorted({row.patient_key for row in ordered}))
        index = {key: p for p, key in enumerate(patient_keys)}
        images_NCHW = np.stack([row.image_CHW for row in ordered]).astype(np.float32, copy=False)
        if images_NCHW.ndim != 4 or images_NCHW.shape[1] not in CHANNELS:
            raise ValueError(f"expected images of shape (1 or 3, H, W), got {images_NCHW.shape[1:]}")
        saved = [
            _SavedRow(index[row.patient_key], row.scan_key, row.label, tensor_digest(image_CHW))
            for row, image_CHW in zip(ordered, images_NCHW, strict=True)
        ]
        return cls._of_saved(images_NCHW, patient_keys, saved)

    @classmethod
    def _of_saved(
        cls, images_NCHW: Images, patient_keys: tuple[bytes, ...], rows: Sequence[_SavedRow]
    ) -> Catalogue:
        arrays = (
            images_NCHW,
            np.array([row.patient for row in rows], np.int64),
            np.array([row.label for row in rows], np.int64),
            np.array([side_of(key) for key in patient_keys], np.int64),
        )
        for array in arrays:
            array.setflags(write=False)
        return cls(
            images_NCHW=images_NCHW,
            patient_N=arrays[1],
            label_N=arrays[2],
            sop_N=tuple(row.scan_key for row in rows),
            patient_keys=patient_keys,
            side_P=arrays[3],
            snapshot=_snapshot(patient_keys, rows),
        )

    @property
    def census(self) -> Census:
        """Who is in it."""
        return Census(self.snapshot, self.patient_keys)

    def of_side(self, side: str | int) -> Catalogue:
        """The patients of one side and their images; ``snapshot`` stays that of the whole.

        Args:
            side: Name or index in ``SIDES``.

        Raises:
            ValueError: No such side.
        """
        wanted = SIDES.index(side) if isinstance(side, str) else range(len(SIDES)).index(side)
        patients = np.flatnonzero(self.side_P == wanted)
        images = np.flatnonzero(self.side_P[self.patient_N] == wanted)
        return Catalogue(
            images_NCHW=self.images_NCHW[images],
            patient_N=np.searchsorted(patients, self.patient_N[images]).astype(np.int64),
            label_N=self.label_N[images],
            sop_N=tuple(self.sop_N[n] for n in images),
            patient_keys=tuple(self.patient_keys[p] for p in patients),
            side_P=self.side_P[patients],
            snapshot=self.snapshot,
        )

    def save(self, path: Path, sealer: Sealer) -> None:
        """Write the catalogue to one sealed file, replacing it as a whole; permissions for the owner only.

        Args:
            path: The file.
            sealer: Of the site key, for the plan that the catalogue was read for.

        Raises:
            StorageError: It cannot be written, or this is the view of a side.
        """
        saved = [
            _SavedRow(int(patient), scan_key, int(label), tensor_digest(image_CHW))
            for patient, scan_key, label, image_CHW in zip(
                self.patient_N, self.sop_N, self.label_N, self.images_NCHW, strict=True
            )
        ]
        if _snapshot(self.patient_keys, saved) != self.snapshot:
            raise StorageError(
                "only a whole catalogue can be saved, not the view of one side",
                remedy="Save the catalogue that the view was taken from.",
                code="catalogue.view",
            )
        images = np.ascontiguousarray(self.images_NCHW, "<f4")
        n, c, h, w = images.shape
        head = encode(
            _Saved(
                shape=(n, c, h, w),
                patient_keys=self.patient_keys,
                rows=tuple(saved),
                snapshot=self.snapshot,
            )
        )
        parts = (len(head).to_bytes(_LENGTH_BYTES, "big"), head, _bytes_of(images))
        with replacing(path) as new, new.open("wb") as file:
            for piece in sealer.sealed(parts, CATALOGUE_FILE):
                file.write(piece)

    @classmethod
    def load(cls, path: Path, sealer: Sealer) -> Catalogue:
        """Read a saved catalogue and check every digest in it.

        Args:
            path: The file.
            sealer: As for ``save``.

        Raises:
            StorageError: It is missing, unreadable, or not as it was saved; ``storage.other_key``.
        """
        try:
            with path.open("rb") as file:
                saved, images_NCHW = _read(file, sealer)
        except OSError as error:
            raise StorageError(
                f"cannot read the catalogue: {error.strerror or 'no such file'}",
                remedy="Ingest the data folder, and check the permissions of the site's data store.",
                code="catalogue.unreadable",
            ) from None
        except StorageError as error:
            if error.code == "storage.altered":
                raise _altered("its seal is broken") from error
            raise
        _check(saved, images_NCHW)
        return cls._of_saved(images_NCHW, saved.patient_keys, saved.rows)


def side_of(patient_key: bytes) -> int:
    """Side of a patient, from the key alone: 0 train (70 %), 1 validation (15 %), 2 test (15 %)."""
    place = int.from_bytes(digest("side of patient", patient_key)[:8], "big")
    return TRAIN if place < _VALIDATION_FROM else VALIDATION if place < _TEST_FROM else TEST


def evaluation_rows(view: Catalogue) -> Indices:
    """One image of each patient, chosen by the patient's key among the keys of the scans.

    Returns:
        For each patient of ``view`` the index of an image, in the order of ``patient_keys``. A scan that is
        added or removed changes the choice of its own patient only.
    """
    best: dict[int, tuple[bytes, int]] = {}
    for n, (patient, scan_key) in enumerate(zip(view.patient_N.tolist(), view.sop_N, strict=True)):
        rank = digest("evaluation image", view.patient_keys[patient], scan_key)
        best[patient] = min(best.get(patient, (rank, n)), (rank, n))
    return np.array([best[patient][1] for patient in range(len(view.patient_keys))], np.int64)


def tensor_digest(image_CHW: Images) -> bytes:
    """Digest of a tensor: shape and little-endian float32 values."""
    shape = b"".join(side.to_bytes(8, "big") for side in image_CHW.shape)
    return digest("tensor", shape, np.ascontiguousarray(image_CHW, "<f4").tobytes())


def _snapshot(patient_keys: Sequence[bytes], rows: Iterable[_SavedRow]) -> bytes:
    """Digest of (patient key, scan key, tensor digest, label, side) of all rows, which are sorted."""
    lines = []
    for row in rows:
        key = patient_keys[row.patient]
        rest = (row.scan_key, row.tensor, _number(row.label), _number(side_of(key)))
        lines.append(digest("catalogue row", key, *rest))
    return digest("catalogue", *lines)


def _number(value: int) -> bytes:
    return value.to_bytes(8, "big")


def _read(file: BinaryIO, sealer: Sealer) -> tuple[_Saved, Images]:
    """What ``save`` wrote. No length in it is believed beyond the length of the file."""
    most = os.fstat(file.fileno()).st_size
    opened = Opened(sealer.opened(file, CATALOGUE_FILE))
    length = bytearray(_LENGTH_BYTES)
    opened.fill(memoryview(length))
    if int.from_bytes(length, "big") > min(most, _MAX_ROWS_BYTES):
        raise _altered("its rows are too long")
    head = bytearray(int.from_bytes(length, "big"))
    opened.fill(memoryview(head))
    try:
        saved = decode(bytes(head), _Saved, limit_bytes=_MAX_ROWS_BYTES)
    except ProtocolError:
        raise _altered("its rows are malformed") from None
    if 4 * math.prod(saved.shape) > most:
        raise _altered("its images have another shape")
    images = np.empty(saved.shape, "<f4")
    opened.fill(_bytes_of(images))
    opened.end()
    return saved, images.astype(np.float32, copy=False)


def _bytes_of(images: Images) -> memoryview:
    return images.reshape(-1).view(np.uint8).data


def _check(saved: _Saved, images_NCHW: Images) -> None:
    """Refuse a catalogue that is not as ``save`` writes it."""
    keys, rows = saved.patient_keys, saved.rows
    if len(images_NCHW) != len(rows) or images_NCHW.shape[1] not in CHANNELS:
        raise _altered("its images have another shape")
    order = [(row.patient, row.scan_key) for row in rows]
    if list(keys) != sorted(set(keys)) or order != sorted(set(order)):
        raise _altered("its rows are not in order")
    if {row.patient for row in rows} != set(range(len(keys))):
        raise _altered("patients and images do not match")
    if any(row.tensor != tensor_digest(image) for row, image in zip(rows, images_NCHW, strict=True)):
        raise _altered("an image differs from its digest")
    if _snapshot(keys, rows) != saved.snapshot:
        raise _altered("its rows differ from their digest")


def _altered(how: str) -> StorageError:
    return StorageError(
        f"the saved catalogue is not as it was written: {how}",
        remedy="Ingest the data folder again; if it happens twice, check the disk.",
        code="catalogue.altered",
    )


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new file, for its owner only, that takes the place of ``path`` when all went well.

    Raises:
        StorageError: The folder cannot be written.
    """
    try:
        private_folder(path.parent)
        descriptor, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
        os.close(descriptor)
        new = Path(name)
        try:
            yield new
            with new.open("rb") as file:
                os.fsync(file.fileno())
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"cannot write to the site's data store: {error.strerror}",
            remedy="Check the permissions and the free space of the site's data store.",
            code="store.unwritable",
        ) from None
