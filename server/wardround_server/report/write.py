"""Writes what a study leaves behind: page, report.json, model card and model file.

The plan beside the model is ``release``'s.

Every file appears whole or not at all, and the same arguments give the same bytes.

Privacy: a deployment's report that holds exact figures is refused; the vector written must be a released one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from wardround_common.errors import PrivacyError, StorageError
from wardround_common.files import replace
from wardround_common.layout import Layout
from wardround_server.report.card import render_card
from wardround_server.report.model import Report
from wardround_server.report.page import render

MODEL_FILE = "model.safetensors"


def write_report(report: Report, out: Path) -> Path:
    """Write ``out/report.html`` and ``out/report.json``.

    Args:
        report: The report.
        out: Folder; made where it is missing.

    Returns:
        Path of the page.

    Raises:
        PrivacyError: A deployment's report holds figures that only a simulation may show
            (``report.not_private``).
        StorageError: The folder cannot be written (``report.cannot_write``).
    """
    _check(report)
    page = render(report).encode()
    write_file(out / "report.json", report_json(report))
    return write_file(out / "report.html", page)


def report_json(report: Report) -> bytes:
    """The tree as JSON; the fields of its results stand at the top level, in the place of ``results``."""
    tree = msgspec.to_builtins(report, order="deterministic")
    flat: dict[str, object] = {}
    for name, value in tree.items():
        flat |= {name: value} if name != "results" else (value or {})
    return msgspec.json.format(msgspec.json.encode(flat), indent=1) + b"\n"


def write_model_card(report: Report, out: Path) -> Path:
    """Write ``out/model_card.md``.

    Raises:
        PrivacyError: As in `write_report`.
        StorageError: The folder cannot be written (``report.cannot_write``).
    """
    _check(report)
    return write_file(out / "model_card.md", render_card(report).encode())


def write_model(
    vector_P: NDArray[np.float32], layout: Layout, *, metadata: Mapping[str, str], out: Path
) -> Path:
    """Write ``out/model.safetensors``: the tensors by name, and the metadata in the header.

    Args:
        vector_P: The released model (the moving average), all parameters in the order of the layout.
        layout: Names and shapes.
        metadata: At least plan digest, model name and rounds.
        out: Folder; made where it is missing.

    Returns:
        Path of the file.

    Raises:
        ProtocolError: The vector's length is not the layout's.
        StorageError: The folder cannot be written (``report.cannot_write``).
    """
    tensors = {name: np.array(view, order="C") for name, view in layout.split(vector_P).items()}
    return write_file(out / MODEL_FILE, _sorted_header(save(tensors, metadata=dict(metadata))))


def _check(report: Report) -> None:
    if report.violations:
        raise PrivacyError(
            f"a deployment's report must not hold exact figures, got {', '.join(report.violations)}",
            remedy="Leave these parts out, or mark the report as a simulation if it is one.",
            code="report.not_private",
        )


def _sorted_header(data: bytes) -> bytes:
    """The same file with its JSON header sorted: safetensors writes metadata in a random order."""
    length = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def write_file(path: Path, data: bytes) -> Path:
    """Write a file beside its place, then move it there.

    Raises:
        StorageError: The folder cannot be written (``report.cannot_write``).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, data)
    except OSError as error:
        raise StorageError(
            f"cannot write {path.name}: {error.strerror}",
            remedy="Check that the folder exists, is yours and has room.",
            code="report.cannot_write",
        ) from error
    return path
