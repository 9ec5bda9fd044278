"""Nodules and their look-alikes, drawn from one primitive: the capsule, a line with a width.

A nodule and a look-alike have, on average, the same area, density and place, so that neither mean nor
deviation nor any fixed pixel tells them apart: what differs is local structure of 4 to 8 px.

* nodules: ``spiculated`` (a core with rays), ``lobulated`` (a heap of lumps), ``cavity`` (a ragged ring);
* look-alikes, with soft edges: ``band`` (a plate of collapsed lung), ``bundle`` (vessels side by side),
  ``oval`` (a patch of ground glass).

Capsules are rows ``[x0, y0, x1, y1, radius, softness]`` in millimetres around the finding's centre;
``softness`` widens the edge.

Privacy: nothing here comes from a person.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from wardround_simulations.phantoms.hospitals import Finding

Floats = NDArray[np.float64]


def unit(angle: float) -> tuple[float, float]:
    """Cosine and sine of ``angle`` on a grid of 1e-6, where the last bits of libm do not show."""
    return round(math.cos(angle), 6), round(math.sin(angle), 6)


def draw_finding(rng: np.random.Generator, kinds: Mapping[Finding, float]) -> Floats:
    """Draw one finding of a kind chosen by relative frequency: capsules ``[K, 6]`` around the origin."""
    names = list(kinds)
    edges = np.cumsum([kinds[name] for name in names])
    kind = names[int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))]
    return _DRAW[kind](rng, 14.0 + 4.0 * rng.random())


def _spiculated(rng: np.random.Generator, size: float) -> Floats:
    rays = int(rng.integers(8, 11))
    turn = rng.random()
    rows = [[0.0, 0.0, 0.0, 0.0, 0.35 * size, 0.0]]
    for ray in range(rays):
        c, s = unit(2 * math.pi * (ray + turn + 0.4 * rng.random()) / rays)
        reach = size * (1.1 + 0.4 * rng.random())
        rows.append([0.0, 0.0, reach * c, reach * s, 0.11 * size, 0.0])
    return np.array(rows)


def _lobulated(rng: np.random.Generator, size: float) -> Floats:
    lumps = int(rng.integers(10, 13))
    turn = rng.random()
    rows = []
    for lump in range(lumps):
        c, s = unit(2 * math.pi * (lump + turn + 0.3 * rng.random()) / lumps)
        x, y = size * (0.35 + 0.75 * rng.random()) * np.array([c, s])
        rows.append([x, y, x, y, size * (0.18 + 0.08 * rng.random()), 0.0])
    return np.array(rows)


def _cavity(rng: np.random.Generator, size: float) -> Floats:
    turn = rng.random()
    corners = []
    for corner in range(7):
        c, s = unit(2 * math.pi * (corner + turn) / 7)
        away = size * (0.8 + 0.25 * rng.random())
        corners.append((away * c, away * s))
    pairs = zip(corners, corners[1:] + corners[:1], strict=True)
    return np.array([[*a, *b, 0.16 * size, 0.0] for a, b in pairs])


def _band(rng: np.random.Generator, size: float) -> Floats:
    return np.array([_line(unit(2 * math.pi * rng.random()), half=1.2 * size, radius=0.28 * size, soft=10.0)])


def _bundle(rng: np.random.Generator, size: float) -> Floats:
    angle = 2 * math.pi * rng.random()
    rows = []
    for shift in (-0.55, 0.0, 0.55):
        c, s = unit(angle + 0.3 * (rng.random() - 0.5))
        half = size * (0.8 + 0.4 * rng.random())
        aside = shift * size * np.array([-s, c, -s, c, 0.0, 0.0])
        rows.append(_line((c, s), half=half, radius=0.13 * size, soft=4.0) + aside)
    return np.array(rows)


def _oval(rng: np.random.Generator, size: float) -> Floats:
    return np.array(
        [_line(unit(2 * math.pi * rng.random()), half=0.35 * size, radius=0.53 * size, soft=10.0)]
    )


def _line(direction: tuple[float, float], *, half: float, radius: float, soft: float) -> Floats:
    """One capsule through the origin."""
    c, s = direction
    return np.array([-half * c, -half * s, half * c, half * s, radius, soft])


_DRAW: dict[Finding, Callable[[np.random.Generator, float], Floats]] = {
    "spiculated": _spiculated,
    "lobulated": _lobulated,
    "cavity": _cavity,
    "band": _band,
    "bundle": _bundle,
    "oval": _oval,
}
