"""Layouts: a model's parameters as data, and the vector that a study starts from.

A layout lists the tensors of a model in order: name, shape, initialiser. The coordinator and every site
compute the same initial vector from it, without torch: it is never sent.

Rules:

* Values come from SHAKE-256(seed digest, tensor name), never from a library's generator, whose streams
  change between versions.
* Every value is exact: a 24-bit integer scaled by a power of two is a float32 without rounding, and the one
  product with the bound is rounded once, the same on every machine (IEEE 754).

Not here: which layouts exist (``models``), how a tensor is used in a forward pass (the site's tasks).

Privacy: public; no patient data is read.

References:
    FIPS 202, section 6.2 (SHAKE256); He et al., ICCV 2015, section 2.2 (scale by fan-in).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wardround_common.errors import ProtocolError

_DOMAIN = b"wardround/initial-vector/1\x00"


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One tensor of a model.

    Args:
        name: Name of the parameter, as in the site's module (``head.weight``).
        shape: Its shape.
        init: ``uniform`` over ``[-b, b)`` with ``b = gain * sqrt(3 / fan_in)`` (standard deviation
            ``gain / sqrt(fan_in)``), or constant ``zeros`` or ``ones``.
        fan_in: Inputs that one output sums over; used by ``uniform`` only.
        gain: Factor on the bound; used by ``uniform`` only.
    """

    name: str
    shape: tuple[int, ...]
    init: Literal["uniform", "zeros", "ones"]
    fan_in: int = 1
    gain: float = 1.0

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    def initial_values(self, seed_digest: bytes) -> NDArray[np.float32]:
        """The tensor's initial values, flat; the same on every machine for one digest."""
        if self.init != "uniform":
            return np.full(self.size, 0.0 if self.init == "zeros" else 1.0, np.float32)
        stream = hashlib.shake_256(_DOMAIN + seed_digest + self.name.encode())
        integers = np.frombuffer(stream.digest(4 * self.size), dtype="<u4") >> 8
        unit = (integers.astype(np.float32) - np.float32(2**23)) / np.float32(2**23)
        bound = np.float32(self.gain * math.sqrt(3.0 / self.fan_in))
        return np.asarray(unit * bound, dtype=np.float32)


@dataclass(frozen=True)
class Layout:
    """The tensors of a model, in the order in which they lie in its vector."""

    tensors: tuple[TensorSpec, ...]

    @cached_property
    def size(self) -> int:
        """Number of parameters P."""
        return sum(spec.size for spec in self.tensors)

    def split(self, vector_P: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """The tensors of ``vector_P`` by name, as views in their shapes.

        Raises:
            ProtocolError: The vector has not P values.
        """
        if vector_P.shape != (self.size,):
            raise ProtocolError(
                f"expected a vector of {self.size} parameters, got shape {vector_P.shape}",
                remedy="Use the same version of the package at every site and at the coordinator.",
                code="layout.wrong_length",
            )
        ends = np.cumsum([spec.size for spec in self.tensors])
        return {
            spec.name: vector_P[end - spec.size : end].reshape(spec.shape)
            for spec, end in zip(self.tensors, ends, strict=True)
        }


def initial_vector(layout: Layout, seed_digest: bytes) -> NDArray[np.float32]:
    """The vector that training starts from.

    Args:
        layout: The model's layout.
        seed_digest: 32 bytes that stand for everything that may choose other values.

    Returns:
        ``float32[P]``, bit-equal on every machine.
    """
    if len(seed_digest) != 32:
        raise ValueError(f"expected a digest of 32 bytes, got {len(seed_digest)}")
    return np.concatenate([spec.initial_values(seed_digest) for spec in layout.tensors])
