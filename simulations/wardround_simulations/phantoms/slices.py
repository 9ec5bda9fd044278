"""Painting a chest: a stylised axial slice in Hounsfield units.

Everything is an ellipse or a capsule with a soft edge as wide as the scanner's resolution, painted over what
lies beneath. Slices of one patient differ by small shifts of vessels and findings.

Rules:

* Only +, -, *, / and square roots touch pixels, each exact under IEEE 754, so that every machine paints the
  same picture.

Not here: noise and stored values (``scanner``).

Privacy: nothing here comes from a person.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from wardround_simulations.phantoms.chest import HEART_MM, LUNG_AXES_MM, LUNGS_MM, Chest, Point
from wardround_simulations.phantoms.findings import Floats, unit
from wardround_simulations.phantoms.hospitals import Scanner

_Index = NDArray[np.intp]

AIR_HU, FAT_HU, MUSCLE_HU, BONE_HU, COUCH_HU, FINDING_HU = -1000.0, -90.0, 45.0, 480.0, -300.0, -15.0
RIBS_DEG = (18, 47, 76, 108, 140, 166, 194, 220, 252, 284, 313, 342)


def paint_slice(chest: Chest, scanner: Scanner, rng: np.random.Generator) -> Floats:
    """Paint one slice of a chest on a scanner's grid, centred on the chest.

    Args:
        chest: The patient.
        scanner: ``matrix_px``, ``spacing_mm`` and ``resolution_mm``.
        rng: Small shifts that make this slice differ from the patient's others.

    Returns:
        ``hu_HW``: Hounsfield units without noise.
    """
    canvas = _Canvas(chest.size, scanner)
    canvas.body()
    lung_HW = canvas.lungs(chest)
    rows_L, columns_L = np.nonzero(lung_HW > 0.5)
    for capsules_K6 in chest.vessels:
        canvas.capsules(_shifted(capsules_K6, rng), chest.blood_hu, rows_L, columns_L)
    for capsules_K6 in chest.findings:
        canvas.capsules(_shifted(capsules_K6, rng), FINDING_HU, rows_L, columns_L)
    canvas.mediastinum(chest.blood_hu)
    canvas.bones()
    return canvas.hu_HW


def _shifted(capsules_K6: Floats, rng: np.random.Generator) -> Floats:
    """Both ends of every capsule moved by up to a millimetre."""
    shifted_K6 = capsules_K6.copy()
    shifted_K6[:, :4] += 2.0 * rng.random((len(capsules_K6), 4)) - 1.0
    return shifted_K6


class _Canvas:
    """A picture that things are painted on, later ones over earlier ones."""

    def __init__(self, size: Point, scanner: Scanner) -> None:
        pixels = np.arange(scanner.matrix_px, dtype=np.float64)
        axis = (pixels - (scanner.matrix_px - 1) / 2) * scanner.spacing_mm
        self.x_W, self.y_H = axis / size[0], axis / size[1]
        self.edge_mm = scanner.resolution_mm
        self.hu_HW = np.full((scanner.matrix_px, scanner.matrix_px), AIR_HU)

    def body(self) -> None:
        """The couch, the patient's outline, fat and muscle."""
        couch_H = (self.y_H > 126.0) & (self.y_H < 133.0)
        self.hu_HW[np.ix_(couch_H, np.abs(self.x_W) < 150.0)] = COUCH_HU
        self._ellipse((0.0, 0.0), (163.0, 120.0), FAT_HU)
        self._ellipse((0.0, 1.0), (155.0, 112.0), MUSCLE_HU)

    def lungs(self, chest: Chest) -> Floats:
        """Both lungs, denser towards the back; returns how much of each pixel is lung."""
        aerated_H1 = chest.lung_hu + chest.slope_hu * self.y_H[:, None]
        covers = [self._cover(place, LUNG_AXES_MM) for place in LUNGS_MM]
        lung_HW = np.maximum(covers[0], covers[1])
        self.hu_HW += lung_HW * (aerated_H1 - self.hu_HW)
        return lung_HW

    def capsules(self, capsules_K6: Floats, value: float, rows_L: _Index, columns_L: _Index) -> None:
        """Capsules of one density, where there is lung."""
        x_L, y_L = self.x_W[columns_L], self.y_H[rows_L]
        ends_K2 = capsules_K6[:, :4].reshape(-1, 2)
        margin = (capsules_K6[:, 4] + capsules_K6[:, 5]).max() + self.edge_mm
        (left, top), (right, bottom) = ends_K2.min(axis=0) - margin, ends_K2.max(axis=0) + margin
        near_L = (x_L > left) & (x_L < right) & (y_L > top) & (y_L < bottom)
        cover_L = capsule_cover(x_L[near_L], y_L[near_L], capsules_K6, edge_mm=self.edge_mm)
        where = rows_L[near_L], columns_L[near_L]
        self.hu_HW[where] += cover_L * (value - self.hu_HW[where])

    def mediastinum(self, blood_hu: float) -> None:
        """What lies between the lungs: heart, aorta, trachea."""
        self._ellipse((0.0, -8.0), (22.0, 62.0), MUSCLE_HU - 30.0)
        self._ellipse(HEART_MM, (40.0, 38.0), blood_hu)
        self._ellipse((20.0, 42.0), (12.0, 12.0), blood_hu)
        self._ellipse((0.0, 18.0), (8.0, 8.0), AIR_HU + 50.0)

    def bones(self) -> None:
        """Spine with its canal, breast bone, ribs."""
        self._ellipse((0.0, 62.0), (21.0, 17.0), BONE_HU - 130.0)
        self._ellipse((0.0, 84.0), (7.0, 6.0), MUSCLE_HU)
        self._ellipse((0.0, 98.0), (5.0, 9.0), BONE_HU)
        self._ellipse((0.0, -98.0), (17.0, 5.0), BONE_HU - 100.0)
        for angle in RIBS_DEG:
            c, s = unit(math.radians(angle))
            self._ellipse((148.0 * c, 105.0 * s), (6.0, 6.0), BONE_HU + 120.0)

    def _ellipse(self, centre: Point, axes: Point, value: float) -> None:
        """Paint an ellipse, touching only the rows and columns it reaches."""
        reach = self.edge_mm
        rows = _span(self.y_H, centre[1], axes[1] + reach)
        columns = _span(self.x_W, centre[0], axes[0] + reach)
        part_HW = self.hu_HW[rows, columns]
        part_HW += self._cover(centre, axes, rows=rows, columns=columns) * (value - part_HW)

    def _cover(
        self, centre: Point, axes: Point, *, rows: slice = slice(None), columns: slice = slice(None)
    ) -> Floats:
        """How much of each pixel lies inside an ellipse, 0 to 1, from the distance to its edge."""
        u_W = (self.x_W[columns] - centre[0]) / axes[0]
        v_H = (self.y_H[rows] - centre[1]) / axes[1]
        radius_HW = np.sqrt(v_H[:, None] ** 2 + u_W * u_W)
        cover_HW: Floats = np.clip(0.5 + (1.0 - radius_HW) * (min(axes) / self.edge_mm), 0.0, 1.0)
        return cover_HW


def _span(axis: Floats, centre: float, reach: float) -> slice:
    """The indices of an increasing axis that lie within ``reach`` of ``centre``."""
    first, last = np.searchsorted(axis, (centre - reach, centre + reach))
    return slice(int(first), int(last))


def capsule_cover(x_L: Floats, y_L: Floats, capsules_K6: Floats, *, edge_mm: float) -> Floats:
    """How much of each of L pixels lies inside the union of capsules, 0 to 1.

    A capsule thinner than the resolution is as faint as it is thin.
    """
    x0_K, y0_K, x1_K, y1_K, radius_K, soft_K = capsules_K6.T[:, :, None]
    dx_K, dy_K = x1_K - x0_K, y1_K - y0_K
    px_KL, py_KL = x_L - x0_K, y_L - y0_K
    along_KL = np.clip((px_KL * dx_K + py_KL * dy_K) / (dx_K * dx_K + dy_K * dy_K + 1e-9), 0.0, 1.0)
    px_KL -= along_KL * dx_K
    py_KL -= along_KL * dy_K
    away_KL = np.sqrt(px_KL * px_KL + py_KL * py_KL)
    cover_KL = np.clip(0.5 + (radius_K - away_KL) / (edge_mm + soft_K), 0.0, 1.0)
    cover_L: Floats = (cover_KL * np.minimum(1.0, 2.0 * radius_K / edge_mm)).max(axis=0, initial=0.0)
    return cover_L
