import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from wardround_client.privacy.noise import CLIP_SLACK, Grid, grid_sum, noisy_counts
from wardround_common.errors import PrivacyError
from wardround_common.streams import Stream, derive, rounded_normal

SECRET = bytes(range(32))
PLAN = {"max_grad_norm": 2.0, "grid_levels": 100, "noise_multiplier": 1.5}


def stream(step: int = 1) -> Stream:
    return Stream(derive(SECRET, "noise", step))


def noise_of(step: int, size: int) -> np.ndarray:
    return grid_sum(stream(step), np.zeros(size), **PLAN)


def spread(size: int) -> float:
    """Standard deviation that the plan promises, in units of the gradient."""
    grid = Grid.of(size, max_grad_norm=2.0, grid_levels=100)
    return 1.5 * grid.sensitivity * grid.step


def test_the_grid_is_the_plans():
    grid = Grid.of(400, max_grad_norm=2.0, grid_levels=100)
    assert grid.step == pytest.approx(2.0 / (100 * 20))
    assert grid.sensitivity == pytest.approx(100 * 20 * CLIP_SLACK + 20)


def test_the_noise_is_one_per_cent_wider_than_the_clip_alone_would_ask():
    assert spread(10_000) == pytest.approx(1.5 * 2.0 * 1.01, rel=2e-4)


def test_the_result_is_rounded_sum_plus_integer_noise_in_steps_of_the_grid():
    clipped = np.linspace(-3, 3, 77)
    grid = Grid.of(77, max_grad_norm=2.0, grid_levels=100)
    levels = [round(x / grid.step) for x in clipped] + rounded_normal(stream(), 77, sd=1.5 * grid.sensitivity)
    np.testing.assert_array_equal(grid_sum(stream(), clipped, **PLAN), levels * grid.step)


@settings(max_examples=200)
@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 2**32))
def test_rounded_sums_of_neighbours_are_never_further_apart_than_the_sensitivity(size, levels, seed):
    grid = Grid.of(size, max_grad_norm=1.0, grid_levels=levels)
    draw = Stream(derive(SECRET, seed))
    rest = draw.normal(size) * 10
    patient = draw.normal(size)
    patient *= CLIP_SLACK / np.linalg.norm(patient)
    apart = np.rint((rest + patient) / grid.step) - np.rint(rest / grid.step)
    assert np.linalg.norm(apart) <= grid.sensitivity * (1 + 1e-12)


def test_the_rounding_term_of_the_sensitivity_is_needed():
    grid = Grid.of(100, max_grad_norm=1.0, grid_levels=3)
    rest = np.full(100, 0.49 * grid.step)
    patient = np.append(np.full(99, 3.015 * grid.step), 0.0)
    apart = np.rint((rest + patient) / grid.step) - np.rint(rest / grid.step)
    assert np.linalg.norm(patient) < 1.0
    assert np.linalg.norm(apart) > 1.3 / grid.step
    assert np.linalg.norm(apart) <= grid.sensitivity


@pytest.mark.parametrize("blocks", [[10_000], [9000, 900, 100]])
def test_the_noise_of_every_block_is_the_promised_one_and_two_thirds_or_three_halves_is_seen(blocks):
    steps = np.stack([noise_of(step, sum(blocks)) for step in range(10)])
    start = 0
    for size in blocks:
        block = steps[:, start : start + size].ravel()
        start += size
        assert 1e-3 < p_value(block, spread(sum(blocks))) < 1 - 1e-3
        assert p_value(block * 2 / 3, spread(sum(blocks))) < 1e-9
        assert p_value(block * 3 / 2, spread(sum(blocks))) > 1 - 1e-9


def p_value(noise: np.ndarray, sd: float) -> float:
    """Probability of a smaller sum of squares: near 0 for too little noise, near 1 for too much."""
    return stats.chi2.cdf(np.sum((noise / sd) ** 2), noise.size)


def test_an_empty_batch_is_noised_like_any_other():
    zero, sum_ = np.zeros(500), np.full(500, 0.5)
    empty = grid_sum(stream(), zero, **PLAN)
    full = grid_sum(stream(), sum_, **PLAN)
    assert np.count_nonzero(empty) > 490
    step = Grid.of(500, max_grad_norm=2.0, grid_levels=100).step
    np.testing.assert_allclose(full - empty, np.rint(0.5 / step) * step, atol=1e-9)


def test_one_coordinate_is_noised_with_levels_plus_one():
    noise = np.concatenate([noise_of(step, 1) for step in range(2000)])
    assert 1e-3 < p_value(noise, 1.5 * 2.0 * 1.01) < 1 - 1e-3


def test_noise_of_different_steps_is_uncorrelated_and_a_reused_stream_is_seen():
    first, second, again = noise_of(1, 10_000), noise_of(2, 10_000), noise_of(1, 10_000)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.04
    assert np.corrcoef(first, again)[0, 1] == 1.0


def test_outputs_lie_on_the_grid_whatever_the_sum_was():
    step = Grid.of(1000, max_grad_norm=2.0, grid_levels=100).step
    clipped = Stream(derive(SECRET, "sum")).normal(1000)
    levels = grid_sum(stream(), clipped, **PLAN) / step
    assert np.abs(levels - np.rint(levels)).max() < 1e-9
    bare = (clipped + noise_of(1, 1000)) / step
    assert np.abs(bare - np.rint(bare)).max() > 0.1


def test_the_callers_sum_is_left_alone():
    clipped = np.ones(5)
    grid_sum(stream(), clipped, **PLAN)
    assert clipped.tolist() == [1.0] * 5


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_sum_that_is_not_finite_is_refused(bad):
    with pytest.raises(PrivacyError) as refused:
        grid_sum(stream(), np.array([0.0, bad]), **PLAN)
    assert refused.value.code == "privacy.not_finite"


def test_a_sum_beyond_exact_integers_is_refused():
    with pytest.raises(PrivacyError) as refused:
        grid_sum(stream(), np.array([1e14]), **PLAN)
    assert refused.value.code == "privacy.off_grid"


@pytest.mark.parametrize("wrong", [np.zeros(3, dtype=np.float32), np.zeros((3, 1)), np.zeros(0)])
def test_a_sum_of_another_type_or_shape_is_refused(wrong):
    with pytest.raises(ValueError, match=r"float64 vector|one coordinate"):
        grid_sum(stream(), wrong, **PLAN)


@pytest.mark.parametrize("change", [{"max_grad_norm": 0.0}, {"grid_levels": 0}, {"noise_multiplier": 0.0}])
def test_a_mechanism_without_clip_grid_or_noise_is_refused(change):
    with pytest.raises(ValueError, match=r"grid|standard deviation"):
        grid_sum(stream(), np.zeros(3), **(PLAN | change))


def test_counts_become_levels_plus_integer_noise_in_their_shape():
    counts = np.arange(24, dtype=np.int64).reshape(3, 8)
    noisy = noisy_counts(stream(), counts, noise_multiplier=0.5, levels_per_patient=64)
    assert noisy.dtype == np.int64
    np.testing.assert_array_equal(noisy - 64 * counts, rounded_normal(stream(), 24, sd=32.0).reshape(3, 8))
    assert counts.tolist() == np.arange(24).reshape(3, 8).tolist()


def test_counts_of_nobody_are_noised_to_both_sides():
    noisy = noisy_counts(
        stream(), np.zeros(10_000, dtype=np.int64), noise_multiplier=0.7, levels_per_patient=64
    )
    assert noisy.min() < 0 < noisy.max()
    assert 1e-3 < p_value(noisy, 0.7 * 64) < 1 - 1e-3


def test_no_cells_give_no_counts():
    none = np.zeros((2, 0), dtype=np.int64)
    assert noisy_counts(stream(), none, noise_multiplier=1.0, levels_per_patient=64).shape == (2, 0)


@pytest.mark.parametrize(
    ("counts", "change"),
    [
        (np.zeros(2), {}),
        (np.zeros(2, dtype=np.int64), {"levels_per_patient": 0}),
        (np.zeros(2, dtype=np.int64), {"noise_multiplier": 0.0}),
    ],
)
def test_counts_that_are_no_integers_or_without_noise_are_refused(counts, change):
    with pytest.raises(ValueError, match=r"int64|level|standard deviation"):
        noisy_counts(stream(), counts, **({"noise_multiplier": 1.0, "levels_per_patient": 64} | change))
