from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wardround_simulations.phantoms import DEFAULT, LABELS
from wardround_simulations.phantoms.chest import draw_chest
from wardround_simulations.phantoms.findings import draw_finding
from wardround_simulations.phantoms.patients import draw_patient
from wardround_simulations.phantoms.slices import capsule_cover, paint_slice

NODULES, MIMICS = ("spiculated", "lobulated", "cavity"), ("band", "bundle", "oval")


def chests(hospital, *, positive, count=200):
    return [draw_chest(np.random.default_rng(seed), hospital, positive=positive) for seed in range(count)]


def middle(capsules_K6):
    return (capsules_K6[:, :4].reshape(-1, 2).min(axis=0) + capsules_K6[:, :4].reshape(-1, 2).max(axis=0)) / 2


@pytest.mark.parametrize("hospital", DEFAULT, ids=lambda hospital: hospital.name)
def test_number_and_place_of_findings_do_not_depend_on_the_label(hospital):
    normal, ill = chests(hospital, positive=False), chests(hospital, positive=True)
    assert [len(chest.findings) for chest in normal] == [len(chest.findings) for chest in ill]
    for one, other in zip(normal, ill, strict=True):
        for a, b in zip(one.findings, other.findings, strict=True):
            np.testing.assert_allclose(middle(a), middle(b), atol=8.0)


def test_a_subtle_case_has_one_nodule_and_a_normal_chest_none():
    hospital = replace(DEFAULT[0], nodules={"cavity": 1.0}, mimics={"band": 1.0}, subtle=1.0)
    for chest in chests(hospital, positive=True, count=20):
        assert sorted(len(capsules) for capsules in chest.findings)[-2:] == [1, 7]
    for chest in chests(hospital, positive=False, count=20):
        assert {len(capsules) for capsules in chest.findings} == {1}


def test_nodules_and_look_alikes_cover_the_same_area_on_average():
    axis = np.linspace(-40, 40, 41)
    x_L, y_L = (grid.ravel() for grid in np.meshgrid(axis, axis))
    areas = {
        kind: np.mean(
            [
                capsule_cover(
                    x_L, y_L, draw_finding(np.random.default_rng(seed), {kind: 1.0}), edge_mm=5.0
                ).sum()
                for seed in range(60)
            ]
        )
        for kind in NODULES + MIMICS
    }
    mean = np.mean(list(areas.values()))
    assert all(area == pytest.approx(mean, rel=0.12) for area in areas.values())


def test_brute_force_agrees_with_the_cover_of_a_capsule():
    x_L, y_L = np.array([0.0, 10.0, 30.0, 33.0]), np.array([0.0, 2.0, 0.0, 4.0])
    capsule = np.array([[0.0, 0.0, 30.0, 0.0, 4.0, 1.0]])
    ends = np.linspace(0.0, 30.0, 30_001)
    away_L = [np.sqrt((ends - x) ** 2 + y**2).min() for x, y in zip(x_L, y_L, strict=True)]
    expected_L = np.clip(0.5 + (4.0 - np.array(away_L)) / 5.0, 0, 1)
    np.testing.assert_allclose(capsule_cover(x_L, y_L, capsule, edge_mm=4.0), expected_L, atol=1e-6)


def test_a_painted_chest_is_air_around_tissue_around_lung():
    hospital = DEFAULT[0]
    chest = draw_chest(np.random.default_rng(0), hospital, positive=False)
    hu_HW = paint_slice(chest, hospital.scanner, np.random.default_rng(1))
    assert hu_HW[0, 0] == hu_HW[0, -1] == -1000
    lung_HW = (hu_HW > -950) & (hu_HW < -700)
    assert 0.2 < lung_HW.mean() < 0.45
    assert 0.15 < ((hu_HW > 0) & (hu_HW < 100)).mean() < 0.5
    assert hu_HW.max() > 300


def test_the_share_of_ill_patients_is_the_hospitals_own():
    for hospital in DEFAULT:
        bare = replace(hospital, scanner=replace(hospital.scanner, matrix_px=8))
        labels = [draw_patient(bare, seed=3, number=number, most_slices=1).label for number in range(300)]
        assert labels.count(LABELS[1]) / 300 == pytest.approx(hospital.prevalence, abs=0.09)
