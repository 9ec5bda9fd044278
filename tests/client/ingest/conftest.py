"""A small hospital: a folder of DICOM files that tests fill, ingest and look at."""

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from keys import DATA
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    ExplicitVRLittleEndian,
    generate_uid,
)

from wardround_client.ingest import Ingested, ingest, load_rejects
from wardround_client.ingest.dataset import open_dataset, quietly
from wardround_client.ingest.isolation import Decoder
from wardround_client.ingest.labels import LabelTable, Source
from wardround_client.ingest.reasons import Refusal
from wardround_client.ingest.scan import Outcome, Rules, read_scan
from wardround_common.plan import InputPlan

SECRET = bytes(range(32))
LABELS = ("normal", "pneumonia")
CT_PLAN = InputPlan(
    modality="CT", size_px=16, spacing_mm=1.0, window="fixed", window_center=40.0, window_width=400.0
)
CR_PLAN = InputPlan(modality="CR", size_px=16, spacing_mm=1.0, window="file")


def picture(seed=0, *, rows=16, columns=16, bits=12):
    """Stored values with some structure, that fit ``bits``."""
    rng = np.random.default_rng(seed)
    ramp = np.add.outer(np.arange(rows), np.arange(columns)) / (rows + columns)
    values = (ramp * 0.7 + rng.random((rows, columns)) * 0.3) * ((1 << bits) - 1)
    return values.astype(np.uint8 if bits <= 8 else np.uint16)


def dicom(stored=None, *, modality="CR", syntax=ExplicitVRLittleEndian, bits=12, **changes):
    """A plain image; ``changes`` set attributes by keyword, None removes one."""
    stored = picture(bits=bits) if stored is None else stored
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = {"CR": ComputedRadiographyImageStorage, "CT": CTImageStorage}[modality]
    dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.PatientID, dataset.PatientName = "P1", "Doe^Jane"
    dataset.Modality, dataset.ImageType = modality, ["ORIGINAL", "PRIMARY"]
    dataset.PixelSpacing = [1, 1]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated = stored.dtype.itemsize * 8
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    if modality == "CT":
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
    data = stored.astype(stored.dtype.newbyteorder("<" if syntax.is_little_endian else ">")).tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OW" if stored.dtype.itemsize > 1 else "OB"
    with quietly():  # pydicom minds values that break the standard
        for keyword, value in changes.items():
            if value is None:
                del dataset[keyword]
            else:
                setattr(dataset, keyword, value)
    return dataset


def encoded(dataset):
    """The bytes of a DICOM file."""
    syntax = dataset.file_meta.TransferSyntaxUID
    dataset.file_meta.MediaStorageSOPClassUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2"
    file = io.BytesIO()
    form = {"implicit_vr": syntax.is_implicit_VR, "little_endian": syntax.is_little_endian}
    with quietly():
        dataset.save_as(file, enforce_file_format=True, **form)
    return file.getvalue()


@dataclass
class Hospital:
    """A data folder and a store beside it."""

    root: Path
    decoder: Decoder
    plan: InputPlan = CR_PLAN
    folder: Path = field(init=False)
    store: Path = field(init=False)

    def __post_init__(self):
        self.folder, self.store = self.root / "originals", self.root / "store"
        self.folder.mkdir()
        self.label("patient_id,label", "P1,normal", "P2,pneumonia", "P3,normal")

    def label(self, *lines):
        (self.folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def put(self, name, content):
        """Write a file: a data set or bytes."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(content) if isinstance(content, Dataset) else content)
        return path

    def ingest(self, **options) -> Ingested:
        settings = {"labels": LABELS, "site_secret": SECRET, "input_plan": self.plan, "store": self.store}
        return ingest(self.folder, sealer=DATA, **(settings | options))

    def rejects(self) -> list[dict[str, str]]:
        """The saved table."""
        return list(csv.DictReader(io.StringIO(load_rejects(self.store, sealer=DATA), newline="")))

    def outcome(self, content, *, plan=None) -> Outcome:
        """What becomes of one file on its own; every patient P1 to P3 is labelled."""
        self.put("one.dcm", content)
        table = _AnyLabel(scans={}, patients={}, named={})
        rules = Rules(plan=plan or self.plan, labels=table, site_secret=SECRET)
        return read_scan(self.folder, "one.dcm", rules=rules, decoder=self.decoder)

    def image(self, content, *, plan=None):
        """The tensor of one file, H x W."""
        outcome = self.outcome(content, plan=plan)
        assert outcome.rejected is None, outcome.rejected
        return outcome.scan.image_CHW[0]

    def code(self, content, *, plan=None):
        """The reason code of one file; empty if it is accepted."""
        rejected = self.outcome(content, plan=plan).rejected
        return rejected.code if rejected else ""


class _AnyLabel(LabelTable):
    def label_of(self, *, scan, alias):
        return 0, Source.PATIENT


@pytest.fixture(scope="session")
def decoder():
    """One decoder process for all tests."""
    with Decoder() as running:
        yield running


@pytest.fixture
def hospital(tmp_path, decoder):
    return Hospital(tmp_path, decoder)


@pytest.fixture
def make():
    """``dicom``, for tests."""
    return dicom


@pytest.fixture
def draw():
    """``picture``, for tests."""
    return picture


@pytest.fixture
def to_bytes():
    """``encoded``, for tests."""
    return encoded


@pytest.fixture
def ct_plan():
    return CT_PLAN


@pytest.fixture
def cr_plan():
    return CR_PLAN


@pytest.fixture
def parse():
    """``open_dataset``: a data set, or the code of the refusal."""

    def run(data):
        try:
            with quietly():
                return open_dataset(data)
        except Refusal as refusal:
            return refusal.code

    return run
