"""What is released of a study: the model, and beside it the plan that it was trained under.

``model.safetensors`` holds the tensors, ``release.json`` the plan and the digests of both. Whoever uses the
model reads them together: the plan says what the tensors are.

Rules:

* Reading is strict: sizes are bounded before anything is read whole, unknown fields are refused, and the
  tensors must be exactly those of the plan's layout, finite float32.
* A changed byte of either file is noticed. That is a check against damage and mix-ups, not against forgery:
  whoever can change one file can change both.

Privacy: a released vector and a plan; nothing else is written.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from wardround_common.errors import StorageError
from wardround_common.layout import Layout
from wardround_common.models import layout_of
from wardround_common.plan import StudyPlan
from wardround_common.plan_checks import check_plan
from wardround_common.trust import plan_digest
from wardround_server.report.write import MODEL_FILE, write_file, write_model

RELEASE_FILE: Final = "release.json"
_RELEASE_LIMIT_BYTES: Final = 1 << 20
_HEADER_LIMIT_BYTES: Final = 1 << 20


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``release.json`` holds."""

    plan: StudyPlan
    plan_digest: str
    model_sha256: str


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Release:
    """A released model.

    Attributes:
        plan: What it was trained under.
        vector_P: Its parameters in the order of the plan's layout, finite.
    """

    plan: StudyPlan
    vector_P: NDArray[np.float32]


def write_release(plan: StudyPlan, vector_P: NDArray[np.float32], out: Path) -> Path:
    """Write ``out/model.safetensors`` and ``out/release.json``.

    Args:
        plan: The study's plan.
        vector_P: The released vector (the moving average).
        out: Folder; made where it is missing.

    Returns:
        Path of the model.

    Raises:
        ProtocolError: The vector's length is not the layout's.
        StorageError: The folder cannot be written (``report.cannot_write``).
    """
    stated = plan_digest(plan).hex()
    metadata = {"plan": stated, "study": plan.study, "model": plan.model.name}
    path = write_model(vector_P, layout_of(plan), metadata=metadata, out=out)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    record = _Record(plan=plan, plan_digest=stated, model_sha256=sha256)
    text = msgspec.json.format(msgspec.json.encode(record, order="deterministic"), indent=1)
    write_file(out / RELEASE_FILE, text + b"\n")
    return path


def read_release(folder: Path) -> Release:
    """Read what ``write_release`` wrote.

    Raises:
        StorageError: A file is missing, too long, damaged or does not fit the other (``release.*``).
        ConfigError: The plan's fields do not fit together.
    """
    record = _record(_read(folder / RELEASE_FILE, limit_bytes=_RELEASE_LIMIT_BYTES))
    check_plan(record.plan)
    if plan_digest(record.plan).hex() != record.plan_digest:
        _refuse(f"the plan in {RELEASE_FILE} is not the one of the digest beside it", code="wrong_plan")
    layout = layout_of(record.plan)
    data = _read(folder / MODEL_FILE, limit_bytes=4 * layout.size + _HEADER_LIMIT_BYTES)
    vector_P = _vector(data, layout, digest=record.plan_digest)
    if hashlib.sha256(data).hexdigest() != record.model_sha256:
        _refuse(f"{MODEL_FILE} is not the file that {RELEASE_FILE} was written with", code="changed")
    return Release(plan=record.plan, vector_P=vector_P)


def _record(data: bytes) -> _Record:
    try:
        return msgspec.json.decode(data, type=_Record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _refuse(f"{RELEASE_FILE} cannot be read: {error}", code="malformed")


def _vector(data: bytes, layout: Layout, *, digest: str) -> NDArray[np.float32]:
    """The tensors of ``data`` as one vector, if they are those of the layout and of the plan."""
    try:
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (SafetensorError, ValueError, RecursionError) as error:
        _refuse(f"{MODEL_FILE} cannot be read: {error}", code="malformed")
    if header.get("__metadata__", {}).get("plan") != digest:
        _refuse(f"{MODEL_FILE} was trained under another plan", code="wrong_plan")
    if set(tensors) != {spec.name for spec in layout.tensors}:
        _refuse(f"{MODEL_FILE} has other tensors than its plan's model", code="does_not_fit")
    for spec in layout.tensors:
        found = tensors[spec.name]
        if found.dtype != np.float32 or found.shape != spec.shape:
            _refuse(
                f"{MODEL_FILE}: expected {spec.name} as float32 {spec.shape}, got {found.dtype} "
                f"{found.shape}",
                code="does_not_fit",
            )
        if not np.isfinite(found).all():
            _refuse(f"{MODEL_FILE}: {spec.name} holds values that are not finite", code="not_finite")
    return np.concatenate([tensors[spec.name].reshape(-1) for spec in layout.tensors])


def _read(path: Path, *, limit_bytes: int) -> bytes:
    """The file, if it is not longer than that."""
    try:
        with path.open("rb") as file:
            data = file.read(limit_bytes + 1)
    except OSError as error:
        _refuse(f"cannot read {path}: {error.strerror}", code="unreadable")
    if len(data) > limit_bytes:
        _refuse(f"{path.name} is longer than {limit_bytes:,} bytes", code="too_long")
    return data


def _refuse(what: str, *, code: str) -> NoReturn:
    raise StorageError(
        what,
        remedy=f"Give the folder of a finished study, with {MODEL_FILE} and {RELEASE_FILE} as the run wrote "
        f"them, or run the study again.",
        code=f"release.{code}",
    )
