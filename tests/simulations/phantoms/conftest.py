"""One small phantom set, written once, and how its files are read back."""

from __future__ import annotations

import csv
import zlib
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from wardround_simulations.phantoms import PhantomSummary, write_phantoms


class PhantomSet:
    """A written set."""

    seed = 7
    scale = 0.04
    broken = frozenset(
        ("truncated.dcm", "not-dicom.dcm", "no-pixels.dcm", "huge-matrix.dcm", "unlabelled.dcm", "report.dcm")
    )

    def __init__(self, out: Path, summary: PhantomSummary) -> None:
        self.out, self.summary = out, summary

    def good(self, hospital: str = "*") -> list[Path]:
        """The files that can be used, sorted."""
        return [path for path in sorted(self.out.glob(f"{hospital}/*.dcm")) if path.name not in self.broken]

    def labels(self, hospital: str) -> dict[str, str]:
        """The label table: identifier -> word."""
        with (self.out / hospital / "labels.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        return dict(rows[1:])

    @staticmethod
    def syntax(path: Path) -> UID:
        """Transfer syntax of a file."""
        return UID(dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID)

    @classmethod
    def plain(cls, path: Path) -> bytes:
        """A file, its data set inflated where it is deflated."""
        data = path.read_bytes()
        if cls.syntax(path) != DeflatedExplicitVRLittleEndian:
            return data
        start = 144 + int.from_bytes(data[140:144], "little")
        return data[:start] + zlib.decompress(data[start:], -zlib.MAX_WBITS)


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> PhantomSet:
    out = tmp_path_factory.mktemp("phantoms") / "set"
    return PhantomSet(out, write_phantoms(out, seed=PhantomSet.seed, scale=PhantomSet.scale))
