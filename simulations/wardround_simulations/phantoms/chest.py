"""The chest of one imaginary patient: where its organs, vessels and findings lie.

Lengths are millimetres, x to the patient's left, y to the back, the origin in the middle of the chest.

Rules:

* Every patient has four to six findings. In a normal chest all are look-alikes; in an ill one all are
  nodules, or, in a ``subtle`` one, a single nodule hides among look-alikes.
* Nothing but the kind of the findings depends on the label: not their number, their place or the anatomy.

Not here: painting (``slices``), what the findings look like (``findings``).

Privacy: nothing here comes from a person.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from wardround_simulations.phantoms.findings import Floats, draw_finding, unit
from wardround_simulations.phantoms.hospitals import Hospital

Point = tuple[float, float]

HEART_MM: Point = (20.0, -40.0)
LUNGS_MM: tuple[Point, Point] = ((-77.0, -2.0), (79.0, 2.0))
"""Centres of the right lung (left in the picture) and of the left lung."""
LUNG_AXES_MM: Point = (60.0, 86.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Chest:
    """One patient's anatomy."""

    size: Point
    """Factors on the width and the depth of everything."""
    lung_hu: float
    slope_hu: float
    """Rise of the lung's density per millimetre towards the back, where the patient lies."""
    blood_hu: float
    vessels: tuple[Floats, ...]
    """Capsules ``[K, 6]`` of each lung (see ``findings``)."""
    findings: tuple[Floats, ...]
    """Capsules ``[K, 6]`` of each finding."""


def draw_chest(rng: np.random.Generator, hospital: Hospital, *, positive: bool) -> Chest:
    """Draw the anatomy of one patient of ``hospital``, with nodules where ``positive``."""
    places = _places(rng, int(rng.integers(4, 7)))
    subtle = rng.random() < hospital.subtle
    nodules = 0 if not positive else 1 if subtle else len(places)
    kinds = [hospital.nodules] * nodules + [hospital.mimics] * (len(places) - nodules)
    return Chest(
        size=(0.95 + 0.06 * rng.random(), 0.95 + 0.06 * rng.random()),
        lung_hu=hospital.lung_hu + 60.0 * (rng.random() - 0.5),
        slope_hu=0.3 + 0.6 * rng.random(),
        blood_hu=hospital.vessel_hu * (0.8 + 0.4 * rng.random()),
        vessels=(_vessels(rng, 0), _vessels(rng, 1)),
        findings=tuple(
            draw_finding(rng, kind) + np.array([*place, *place, 0.0, 0.0])
            for kind, place in zip(kinds, places, strict=True)
        ),
    )


def _vessels(rng: np.random.Generator, side: int) -> Floats:
    """Two generations of branches from the hilum of one lung, and some vessels seen end on."""
    outward = -1.0 if side == 0 else 1.0
    hilum = (LUNGS_MM[side][0] - outward * 30.0, 4.0)
    rows = []
    for branch in range(4):
        angle = math.pi * (branch - 1.5 + 0.8 * (rng.random() - 0.5)) / 4.5
        c, s = unit(angle)
        reach = 35.0 + 25.0 * rng.random()
        fork = (hilum[0] + outward * reach * c * 0.6, hilum[1] + reach * s)
        rows.append([*hilum, *fork, 1.7, 0.0])
        for turn in (-0.5, 0.5):
            c, s = unit(angle + turn + 0.5 * (rng.random() - 0.5))
            length = 16.0 + 18.0 * rng.random()
            rows.append([*fork, fork[0] + outward * length * c, fork[1] + length * s, 1.1, 0.0])
    for _ in range(4):
        x, y = _place(rng, side)
        rows.append([x, y, x, y, 1.5 + rng.random(), 0.0])
    return np.array(rows)


def _places(rng: np.random.Generator, count: int) -> list[Point]:
    """Places in random lungs, far enough from each other for a finding each."""
    places: list[Point] = []
    while len(places) < count:
        place = _place(rng, int(rng.integers(2)))
        if all(_apart(place, other) > 34.0 for other in places):
            places.append(place)
    return places


def _place(rng: np.random.Generator, side: int) -> Point:
    """A place inside one lung, uniform over its area, away from its edge and from the heart."""
    while True:
        u, v = 2.0 * rng.random() - 1.0, 2.0 * rng.random() - 1.0
        (x, y), (a, b) = LUNGS_MM[side], LUNG_AXES_MM
        place = x + 0.66 * a * u, y + 0.72 * b * v
        if u * u + v * v < 1.0 and _apart(place, HEART_MM) > 56.0:
            return place


def _apart(a: Point, b: Point) -> float:
    return math.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2)
