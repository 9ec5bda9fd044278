"""Tests for generators of uniform bits: what a masked upload must pass and a badly masked one must not.

Each function takes uint32 words and returns a p-value: uniform between 0 and 1 where the words are
independent and uniform, near 0 where they are not in the respect that is tested. ``worst`` is the smallest
of all.

References: NIST SP 800-22 (sections 2.1 frequency, 2.3 runs, 2.6 spectral); Knuth, TAOCP 2, section 3.3.2
(chi-square on bytes and pairs, serial correlation).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import special, stats


def _bits(words: np.ndarray) -> np.ndarray:
    return np.unpackbits(np.ascontiguousarray(words, dtype="<u4").view(np.uint8))


def _two_sided(z: float) -> float:
    return float(special.erfc(abs(z) / np.sqrt(2)))


def _chi_square(counts: np.ndarray) -> float:
    """Against equal expected counts; too even is as suspicious as too uneven."""
    expected = counts.sum() / counts.size
    p = stats.chi2.sf(((counts - expected) ** 2).sum() / expected, counts.size - 1)
    return float(2 * min(p, 1 - p))


def frequency(words: np.ndarray) -> float:
    """As many ones as zeros."""
    bits = _bits(words)
    return _two_sided((2 * float(bits.sum()) - bits.size) / np.sqrt(bits.size))


def frequency_by_place(words: np.ndarray) -> float:
    """The same at each of the 32 places of a word."""
    ones = np.array([np.count_nonzero(words >> np.uint32(place) & np.uint32(1)) for place in range(32)])
    z = (2 * ones - words.size) / np.sqrt(words.size)
    return float(stats.chi2.sf((z**2).sum(), 32))


def byte_counts(words: np.ndarray) -> float:
    """Each byte equally often."""
    return _chi_square(np.bincount(words.view(np.uint8), minlength=256))


def byte_pair_counts(words: np.ndarray) -> float:
    """Each pair of adjacent bytes equally often."""
    return _chi_square(np.bincount(words.view(np.uint16), minlength=1 << 16))


def runs(words: np.ndarray) -> float:
    """A bit says nothing about the next."""
    bits = _bits(words)
    share = bits.mean()
    if share in (0, 1):
        return 0.0
    changes = 1 + np.count_nonzero(bits[1:] != bits[:-1])
    expected = 2 * bits.size * share * (1 - share)
    return _two_sided((changes - expected) / (2 * np.sqrt(bits.size) * share * (1 - share)))


def serial_correlation(words: np.ndarray) -> float:
    """A word says nothing about those 1 to 8, 2^8 and 2^16 places later."""
    values = words.astype(np.float64) - words.mean()
    if not (variance := float((values**2).mean())):
        return 0.0
    lags = [lag for lag in (*range(1, 9), 1 << 8, 1 << 16) if lag < words.size / 2]
    z = [float((values[lag:] * values[:-lag]).mean()) / variance * np.sqrt(words.size - lag) for lag in lags]
    return float(stats.chi2.sf(sum(x * x for x in z), len(lags)))


def spectral(words: np.ndarray) -> float:
    """No period stands out: 95 % of the spectrum's peaks lie below the threshold."""
    signs = 2.0 * _bits(words) - 1
    peaks = np.abs(np.fft.rfft(signs))[: signs.size // 2]
    below = np.count_nonzero(peaks < np.sqrt(signs.size * np.log(1 / 0.05)))
    return _two_sided((below - 0.95 * peaks.size) / np.sqrt(signs.size * 0.95 * 0.05 / 4))


BATTERY: tuple[Callable[[np.ndarray], float], ...] = (
    frequency, frequency_by_place, byte_counts, byte_pair_counts, runs, serial_correlation, spectral,
)  # fmt: skip


def worst(words: np.ndarray) -> float:
    """The smallest p-value of the battery."""
    return min(test(words) for test in BATTERY)
