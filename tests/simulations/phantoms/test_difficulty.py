"""How hard the default set is: worth a federation, and no mean or fixed pixel gives it away."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydicom import dcmread
from scipy.ndimage import map_coordinates
from scipy.stats import rankdata
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from wardround_simulations.phantoms import DEFAULT, LABELS, write_phantoms

pytestmark = pytest.mark.statistical
SIZE_PX, SPACING_MM, WINDOW_LOW_HU, WINDOW_HIGH_HU = 64, 4.5, -1350.0, 150.0
ALDER, BIRCH, CEDAR = range(3)


@dataclass(frozen=True)
class Scans:
    x: NDArray[np.float32]
    label: NDArray[np.int64]
    hospital: NDArray[np.int64]
    held_out: NDArray[np.bool_]
    first: NDArray[np.bool_]
    """One scan per patient."""

    def auroc(self, scores: NDArray[np.float64], *hospitals: int) -> float:
        """On one scan of each held-out patient of these hospitals (default: all)."""
        chosen = self.held_out & self.first & np.isin(self.hospital, hospitals or (ALDER, BIRCH, CEDAR))
        label, ranks = self.label[chosen], rankdata(scores[chosen])
        ill = int(label.sum())
        return float((ranks[label == 1].sum() - ill * (ill + 1) / 2) / (ill * (len(label) - ill)))

    def training(self, *hospitals: int) -> NDArray[np.bool_]:
        return ~self.held_out & np.isin(self.hospital, hospitals or (ALDER, BIRCH, CEDAR))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Scans:
    out = tmp_path_factory.mktemp("default")
    write_phantoms(out, seed=0, broken=False)
    rows = []
    for number, hospital in enumerate(DEFAULT):
        with (out / hospital.name / "labels.csv").open() as file:
            labels = dict(list(csv.reader(file))[1:])
        for path in sorted((out / hospital.name).glob("*.dcm")):
            dataset = dcmread(path)
            word = labels.get(dataset.PatientID) or labels[dataset.SOPInstanceUID]
            held_out = hashlib.sha256(dataset.PatientID.encode()).digest()[0] < 77
            rows.append((tensor(dataset), LABELS.index(word), number, held_out, path.stem.endswith("-0")))
    x, label, number, held_out, first = (np.array(column) for column in zip(*rows, strict=True))
    return Scans(x, label, number, held_out, first)


def tensor(dataset) -> NDArray[np.float32]:
    """Hounsfield units, 64 px of 4.5 mm around the centre, window 0 to 1."""
    slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
    hu_HW = dataset.pixel_array.astype(np.float32) * slope + intercept
    mm = (np.arange(SIZE_PX) - (SIZE_PX - 1) / 2) * SPACING_MM
    at = mm / float(dataset.PixelSpacing[0]) + (dataset.Rows - 1) / 2
    seen_HW = map_coordinates(hu_HW, np.meshgrid(at, at, indexing="ij"), order=1, mode="nearest")
    return np.clip((seen_HW - WINDOW_LOW_HU) / (WINDOW_HIGH_HU - WINDOW_LOW_HU), 0, 1)


def logistic(features_ND, scans: Scans, *hospitals: int, ridge: float) -> NDArray[np.float64]:
    """Scores of a logistic regression fitted to the training patients of these hospitals."""
    train = scans.training(*hospitals)
    z = torch.tensor((features_ND - features_ND[train].mean(0)) / (features_ND[train].std(0) + 1e-6))
    label = torch.tensor(scans.label[train], dtype=z.dtype)
    weight = torch.zeros(z.shape[1] + 1, dtype=z.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=60)

    def closure():
        optimizer.zero_grad()
        logits = z[train] @ weight[:-1] + weight[-1]
        loss = binary_cross_entropy_with_logits(logits, label) + ridge * weight[:-1].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return (z @ weight[:-1]).detach().numpy()


def network_scores(scans: Scans, *hospitals: int, steps: int = 250) -> NDArray[np.float64]:
    """Scores of a small group-norm CNN trained without privacy at these hospitals."""
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(1, 16, 5, stride=2, padding=2), nn.GroupNorm(8, 16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.GroupNorm(8, 32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.GroupNorm(8, 64), nn.ReLU(), nn.AdaptiveMaxPool2d(4)),
        *(nn.Flatten(), nn.Linear(64 * 16, 1)),
    )
    x = torch.tensor(scans.x)[:, None] * 2 - 1
    train = torch.tensor(scans.training(*hospitals).nonzero()[0])
    label = torch.tensor(scans.label, dtype=torch.float32)
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, steps)
    for _ in range(steps):
        batch = train[torch.randint(len(train), (64,))]
        optimizer.zero_grad()
        binary_cross_entropy_with_logits(network(x[batch])[:, 0], label[batch]).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return torch.cat([network(part)[:, 0] for part in x.split(256)]).double().numpy()


@pytest.fixture(scope="module")
def cedar_scores(scans):
    return network_scores(scans, CEDAR)


def test_neither_pixels_nor_mean_and_deviation_tell_the_classes_apart(scans):
    pixels = scans.x.reshape(len(scans.x), -1)
    assert scans.auroc(logistic(pixels, scans, ridge=0.1)) <= 0.70
    moments = np.stack([pixels.mean(axis=1), pixels.std(axis=1)], axis=1)
    assert scans.auroc(logistic(moments, scans, ridge=1e-4)) <= 0.70


def test_a_small_network_on_all_hospitals_is_good_and_the_smallest_hospital_alone_is_not(scans, cedar_scores):
    pooled = scans.auroc(network_scores(scans))
    assert 0.92 <= pooled <= 0.985
    assert scans.auroc(cedar_scores) <= pooled - 0.05


def test_a_hospitals_own_network_loses_at_another_hospital(scans, cedar_scores):
    birch_scores = network_scores(scans, BIRCH)
    assert scans.auroc(birch_scores, ALDER) <= scans.auroc(birch_scores, BIRCH) - 0.05
    assert scans.auroc(cedar_scores, ALDER) <= scans.auroc(cedar_scores, CEDAR) - 0.03
