"""Where a run writes, and what it may replace.

``OUT/report.html``, ``report.json``, ``model.safetensors``, ``release.json`` and ``model_card.md`` are those
of the newest study; ``OUT/studies/NAME`` keeps each study's own. ``OUT/sites/SITE`` is what that hospital
would keep; nothing derived from its patients is written anywhere else. ``OUT/coordinator`` holds the
coordinator's audit log, ``OUT/log.jsonl`` its other log.

Rules:

* A folder that a run did not write is never written into, let alone removed.

Privacy: see above.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from wardround_common.errors import ConfigError, StorageError

MARKER = ".wardround"
RESULTS = ("report.html", "report.json", "model.safetensors", "release.json", "model_card.md")


def open_run(out: Path, *, replace: bool) -> Path:
    """Make ``out``, or go on in one that an earlier run wrote.

    Args:
        out: The folder; its parents are created.
        replace: Remove what an earlier demo wrote there first.

    Raises:
        ConfigError: The folder holds something else.
        StorageError: It cannot be written.
    """
    wanted = "demo" if replace else "run"
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            _check_ours(out, replace=replace)
            if replace:
                shutil.rmtree(out)
        out.mkdir(parents=True, exist_ok=True)
        if not (out / MARKER).exists():
            (out / MARKER).write_text(f"{wanted}\n", encoding="ascii")
        (out / "sites").mkdir(exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"cannot write {out}: {error.strerror}",
            remedy="Choose another folder with --out, or check its permissions.",
            code="storage.out",
        ) from error
    return out


def study_folder(out: Path, study: str) -> Path:
    """The folder of one study's results, new.

    Raises:
        ConfigError: A study of that name was run into ``out`` before.
    """
    folder = out / "studies" / study
    if folder.exists():
        raise ConfigError(
            f"a study named '{study}' was run into {out} before",
            remedy="Give the plan another name in its field study, or choose another --out.",
            code="config.study_exists",
        )
    return folder


def show_newest(out: Path, folder: Path) -> Path:
    """Copy a study's results to the top of ``out``, in place of an earlier study's.

    Returns:
        The path of its report there.
    """
    for name in RESULTS:
        (out / name).unlink(missing_ok=True)
        if (folder / name).exists():
            shutil.copyfile(folder / name, out / name)
    return out / RESULTS[0]


def _check_ours(out: Path, *, replace: bool) -> None:
    marker = out / MARKER if out.is_dir() else None
    what = marker.read_text(encoding="ascii").strip() if marker and marker.is_file() else ""
    if what == "demo" or (what == "run" and not replace):
        return
    raise ConfigError(
        f"{out} is not empty and was not written by this command",
        remedy="Choose another folder with --out.",
        code="config.out_exists",
    )
