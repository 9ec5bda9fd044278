"""Bit-equal re-runs on a CPU.

Privacy: tests use this property; privacy does not rest on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def deterministic(device: str) -> Iterator[None]:
    """Use torch's deterministic algorithms inside, where ``device`` has them for everything: on a CPU."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(device == "cpu" or before)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
