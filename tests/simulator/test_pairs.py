import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from forecast.simulator.pairs import (
    min_by_owner,
    pairs_between,
    pairs_with_equal,
    pairs_within,
    sum_by_owner,
)

POINTS = st.lists(st.tuples(st.floats(-20, 20), st.floats(-20, 20)), min_size=1, max_size=25)


def as_set(pairs):
    return set(zip(*(p.tolist() for p in pairs), strict=True))


@given(POINTS, st.floats(0.5, 15))
def test_pairs_are_those_of_the_full_distance_table_in_order(points, radius):
    at = np.array(points)
    apart = np.hypot(*(at[:, None] - at).transpose(2, 0, 1))
    found = pairs_within(at, radius)
    expected = np.argwhere((apart <= radius) & ~np.eye(len(at), dtype=bool))
    assert as_set(found) == set(map(tuple, expected.tolist()))
    assert np.array_equal(np.lexsort(found[::-1]), np.arange(len(found[0])))


@given(POINTS, POINTS, st.floats(0.5, 15))
def test_pairs_between_two_sets(first, second, radius):
    a, b = np.array(first), np.array(second)
    apart = np.hypot(*(a[:, None] - b).transpose(2, 0, 1))
    expected = set(map(tuple, np.argwhere(apart <= radius).tolist()))
    assert as_set(pairs_between(a, b, radius)) == expected


def test_pairs_of_many_points_are_those_of_a_few_at_a_time():
    rng = np.random.default_rng(0)
    a, b = rng.uniform(-20, 20, (90, 2)), rng.uniform(-20, 20, (80, 2))
    found = pairs_between(a, b, 7.0)
    assert np.array_equal(np.lexsort(found[::-1]), np.arange(len(found[0])))
    parts = [
        as_set((i + row, j))
        for row in range(90)
        for i, j in [pairs_between(a[row : row + 1], b, 7.0)]
    ]
    assert as_set(found) == set().union(*parts)


def test_empty_sets_and_single_points_have_no_pairs():
    empty = np.zeros((0, 2))
    assert len(pairs_between(empty, np.ones((3, 2)), 5.0)[0]) == 0
    assert len(pairs_within(np.zeros((1, 2)), 5.0)[0]) == 0


def test_pairs_with_equal_names():
    found = pairs_with_equal(np.array([7, 3, 9]), np.array([3, 7, 3, 4]))
    assert as_set(found) == {(0, 1), (1, 0), (1, 2)}


def test_sums_and_minima_by_owner():
    values, owner = np.array([1.0, 2.0, 4.0]), np.array([0, 2, 2])
    assert sum_by_owner(values, owner, 4).tolist() == [1.0, 0.0, 6.0, 0.0]
    assert min_by_owner(values, owner, 4).tolist() == [1.0, np.inf, 2.0, np.inf]
