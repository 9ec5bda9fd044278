"""Secret sharing: any t shares, no fewer."""

from __future__ import annotations

import os
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wardround_common.secagg.shamir import PRIME, combine, is_share, split


def is_probable_prime(n):
    """Miller-Rabin with 40 fixed bases."""
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in range(2, 42):
        x = pow(base, odd, n)
        if x in (1, n - 1):
            continue
        if not any((x := x * x % n) == n - 1 for _ in range(twos - 1)):
            return False
    return True


def test_the_modulus_is_the_smallest_prime_above_2_to_256():
    assert is_probable_prime(PRIME)
    assert not any(is_probable_prime(n) for n in range(2**256 + 1, PRIME, 2))


def test_shares_of_a_known_polynomial_are_its_values():
    draws = iter((7, 5))  # 7 x^2 + 5 x + 3
    shares = split(
        (3).to_bytes(32, "big"), threshold=3, count=4, entropy=lambda n: next(draws).to_bytes(n, "big")
    )
    assert [int.from_bytes(share, "big") for share in shares] == [15, 41, 81, 135]


@pytest.mark.parametrize(("n", "t"), [(3, 3), (5, 4), (7, 5), (10, 7)])
def test_every_subset_of_t_shares_gives_the_secret_and_no_smaller_one_does(n, t):
    secret = os.urandom(32)
    shares = dict(enumerate(split(secret, threshold=t, count=n, entropy=os.urandom), start=1))
    assert all(combine({x: shares[x] for x in points}) == secret for points in combinations(shares, t))
    assert not any(
        combine({x: shares[x] for x in points}) == secret for points in combinations(shares, t - 1)
    )


@settings(max_examples=50, deadline=None)
@given(secret=st.binary(min_size=32, max_size=32), numbers=st.data())
def test_any_secret_survives_sharing(secret, numbers):
    n = numbers.draw(st.integers(2, 12))
    t = numbers.draw(st.integers(2, n))
    shares = dict(enumerate(split(secret, threshold=t, count=n, entropy=os.urandom), start=1))
    some = numbers.draw(st.permutations(sorted(shares)))[:t]
    assert combine({x: shares[x] for x in some}) == secret
    assert all(is_share(share) for share in shares.values())


def test_the_largest_secret_and_the_secret_zero_survive_sharing():
    for secret in (bytes(32), b"\xff" * 32):
        shares = dict(enumerate(split(secret, threshold=2, count=3, entropy=os.urandom), start=1))
        assert combine({2: shares[2], 3: shares[3]}) == secret


def test_fewer_than_t_shares_fit_every_secret():
    secret = os.urandom(32)
    shares = split(secret, threshold=3, count=3, entropy=os.urandom)
    other = (1).to_bytes(32, "big")
    # the polynomial through (0, other), (1, share 1), (2, share 2) exists: its third share makes `other`
    y0, y1, y2 = 1, *(int.from_bytes(share, "big") for share in shares[:2])
    third = (y0 - 3 * y1 + 3 * y2) % PRIME
    assert combine({1: shares[0], 2: shares[1], 3: third.to_bytes(33, "big")}) == other


def test_a_value_that_is_no_32_byte_secret_is_none():
    for value in (PRIME - 1, 2**256):
        share = value.to_bytes(33, "big")
        assert combine({1: share, 2: share}) is None


def test_a_share_has_one_spelling():
    assert is_share((PRIME - 1).to_bytes(33, "big"))
    assert not is_share(PRIME.to_bytes(33, "big"))
    assert not is_share(bytes(32))
    assert not is_share(bytes(34))


@pytest.mark.parametrize(
    ("secret", "t", "n"), [(bytes(31), 2, 3), (bytes(33), 2, 3), (bytes(32), 1, 3), (bytes(32), 4, 3)]
)
def test_nonsense_is_not_shared(secret, t, n):
    with pytest.raises(ValueError, match="expected 32 bytes"):
        split(secret, threshold=t, count=n, entropy=os.urandom)
