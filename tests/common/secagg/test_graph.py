"""The mask graph: symmetric, of the stated degree, and connected whoever of fewer than k members goes."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardround_common.secagg.graph import COMPLETE, connectivity, neighbours


def names(n):
    return [f"site-{i:03d}" for i in range(n)]


def connected(graph, gone=()):
    left = set(graph) - set(gone)
    reached, todo = set(), [min(left)]
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo.extend(set(graph[name]) & left)
    return reached == left


@given(n=st.integers(2, 60), degree=st.integers(1, 20).map(lambda half: 2 * half))
def test_masks_are_shared_in_pairs_and_everybody_has_the_stated_number(n, degree):
    graph = neighbours(names(n), degree)
    for name, others in graph.items():
        assert len(others) == len(set(others)) == connectivity(n, degree)
        assert name not in others
        assert list(others) == sorted(others)
        assert all(name in graph[other] for other in others)


@pytest.mark.parametrize("n", [2, 3, 11, COMPLETE])
def test_up_to_twelve_everybody_shares_a_mask_with_everybody(n):
    assert all(len(others) == n - 1 for others in neighbours(names(n), 4).values())


@pytest.mark.parametrize(("n", "degree"), [(13, 12), (13, 30), (14, 14)])
def test_a_degree_as_large_as_the_cohort_means_everybody(n, degree):
    assert all(len(others) == n - 1 for others in neighbours(names(n), degree).values())


@pytest.mark.parametrize(("n", "degree"), [(13, 4), (14, 4), (16, 4), (18, 4), (13, 6), (15, 6)])
def test_with_fewer_than_k_members_gone_the_rest_hangs_together(n, degree):
    graph = neighbours(names(n), degree)
    assert all(connected(graph, gone) for gone in combinations(graph, degree - 1))


def test_with_k_members_gone_a_site_may_stand_alone():
    graph = neighbours(names(14), 4)
    alone = names(14)[0]
    assert not connected(graph, graph[alone])


@given(n=st.integers(13, 100), half=st.integers(2, 10), data=st.data())
def test_also_in_large_cohorts(n, half, data):
    graph = neighbours(names(n), 2 * half)
    gone = data.draw(st.sets(st.sampled_from(names(n)), max_size=connectivity(n, 2 * half) - 1))
    assert connected(graph, gone)


def test_the_neighbours_are_the_nearest_on_the_ring_of_names():
    graph = neighbours(names(20), 4)
    assert graph["site-000"] == ("site-001", "site-002", "site-018", "site-019")
    assert graph["site-010"] == ("site-008", "site-009", "site-011", "site-012")


@pytest.mark.parametrize("members", [["b", "a"], ["a", "a"]])
def test_names_that_are_not_sorted_are_refused(members):
    with pytest.raises(ValueError, match="ascending"):
        neighbours(members, 4)


@pytest.mark.parametrize("degree", [-2, 0, 1, 7])
def test_an_odd_degree_is_refused(degree):
    with pytest.raises(ValueError, match="even"):
        neighbours(names(20), degree)
