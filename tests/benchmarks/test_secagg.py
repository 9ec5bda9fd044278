"""The benchmark of secure aggregation runs and names what it promises; how fast anything is, no test says."""

from __future__ import annotations

import math

import pytest
from benchmarks import rivals, secagg

KEYS = [
    "secagg.site_over_cipher",
    "secagg.site_exact_over_cipher",
    "secagg.u16_over_u32",
    "secagg.flower_over_ours",
    "secagg.coordinator_over_cipher",
    "secagg.coordinator_drop2_over_cipher",
    "secagg.two_threads_speedup",
    "secagg.memory_bytes_per_parameter.u32",
    "secagg.hash_ns.1M.u16",
    "secagg.sign_us.1M",
    "secagg.plain_ns.1M",
]


@pytest.fixture
def results(monkeypatch):
    monkeypatch.setattr(secagg, "SIZES", {"1M": 300_000})
    return {result.name: result.value for result in secagg.measure(("1M",), cohorts=(3, 10))}


def test_every_promised_row_is_there_and_positive(results):
    assert set(KEYS) <= results.keys()
    assert all(math.isfinite(value) and value >= 0 for value in results.values())


def test_precision_and_memory_do_not_depend_on_the_machine(results):
    for way in ("tight", "last"):
        assert results[f"secagg.error_ppm.u32.{way}"] <= 1
        assert results[f"secagg.error_ppm.u32_fast.{way}"] <= 10
        assert results[f"secagg.error_ppm.u16.{way}"] <= 2000
    assert results["secagg.memory_bytes_per_parameter.u32_in_place"] < 4


def test_flowers_masks_cover_its_own_update_with_the_functions_of_the_installed_version():
    masked = rivals.flower_site(secagg._update(1000, 0), 3)()
    assert [vector.size for vector in masked] == [1, 1000]
    assert all(vector.min() >= 0 and vector.max() < rivals.FLOWER_RING for vector in masked)
