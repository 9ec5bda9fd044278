"""Structured logs: one JSON object a line, from an allow-list of fields.

``event(name, **fields)`` is the only way that Wardround writes a log line. A field that is not on the list
is a programming error and raises, so nothing slips in; no field is made for anything read from a scan.

Not here: the record of what left a site (``audit``), progress on a screen.

Privacy: names and network addresses of sites, names of studies, stages and error codes; counts of bytes and
seconds. No patient data.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
from pathlib import Path

FIELDS = frozenset(
    {
        *("address", "attempt", "bytes", "code", "cohort", "count", "exchange", "kind", "pid", "plan"),
        *("round", "seconds", "site", "sites", "state", "status", "steps", "study", "survivors", "worker"),
    }
)
_LOGGER = logging.getLogger("wardround")


def event(name: str, *, level: int = logging.INFO, **fields: str | int | float | list[str]) -> None:
    """Write one line: time, level, ``name`` and ``fields``.

    Args:
        name: What happened, ``area.what``.
        level: A level of the ``logging`` module.
        fields: Values of fields on the allow-list.

    Raises:
        ValueError: A field that is not on the allow-list.
    """
    if unknown := fields.keys() - FIELDS:
        raise ValueError(f"log fields not on the allow-list: {sorted(unknown)}")
    if _LOGGER.isEnabledFor(level):
        _LOGGER.log(level, name, extra={"wardround": fields})


class _JsonLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.datetime.fromtimestamp(record.created, tz=datetime.UTC).isoformat(
            timespec="milliseconds"
        )
        line = {"time": time, "level": record.levelname.lower(), "event": record.getMessage()}
        return json.dumps(line | getattr(record, "wardround", {}), ensure_ascii=True)


def log_to(path: Path, *, level: int = logging.INFO) -> logging.Handler:
    """Append log lines to ``path``, for its owner only; returns the handler, for ``close_log``."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(_JsonLine())
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(level)
    _LOGGER.propagate = False
    return handler


def close_log(handler: logging.Handler) -> None:
    """Stop writing to a file that ``log_to`` opened."""
    _LOGGER.removeHandler(handler)
    handler.close()
