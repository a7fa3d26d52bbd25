"""Pairs of nearby points from k-d trees, and sums over pairs. The cost is linear in agents.

Pairs are sorted, so sums do not depend on how a tree was built. Then agents that a change cannot
reach keep their values to the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

_FEW_PAIRS = 5_000
"""Up to this many pairs, all distances take less time than a tree."""

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]
"""First and second members of pairs, both ``[P]``, sorted."""


def pairs_within(points_m: NDArray[Any], radius_m: float) -> Pairs:
    """Returns the pairs of different points ``[A, 2]`` within a radius, as (i, j) and (j, i)."""
    once = cKDTree(points_m).query_pairs(radius_m, output_type="ndarray").astype(np.int64)
    return _sorted(
        np.concatenate([once[:, 0], once[:, 1]]), np.concatenate([once[:, 1], once[:, 0]])
    )


def pairs_between(first_m: NDArray[Any], second_m: NDArray[Any], radius_m: float) -> Pairs:
    """Returns the pairs of a point of ``[A, 2]`` and a point of ``[B, 2]`` within a radius."""
    if len(first_m) * len(second_m) <= _FEW_PAIRS:
        x, y = (first_m[:, None] - second_m).transpose(2, 0, 1)
        i, j = np.nonzero(x * x + y * y <= radius_m * radius_m)
        return i, j
    found = cKDTree(first_m).sparse_distance_matrix(
        cKDTree(second_m), radius_m, output_type="ndarray"
    )
    return _sorted(found["i"].astype(np.int64), found["j"].astype(np.int64))


def pairs_with_equal(first: NDArray[Any], second: NDArray[Any]) -> Pairs:
    """Returns the pairs of an entry of ``[A]`` and an entry of ``[B]`` with the same value."""
    order = np.argsort(second, kind="stable")
    begin = np.searchsorted(second[order], first, "left")
    count = np.searchsorted(second[order], first, "right") - begin
    i = np.repeat(np.arange(len(first)), count)
    within = np.arange(len(i)) - np.repeat(np.cumsum(count) - count, count)
    return i, order[begin[i] + within]


def _sorted(first: NDArray[np.int64], second: NDArray[np.int64]) -> Pairs:
    order = np.lexsort((second, first))
    return first[order], second[order]


def sum_by_owner(values: NDArray[Any], owner: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Returns the sums of values ``[P]`` by owner ``[count]``."""
    return np.bincount(owner, weights=values, minlength=count).astype(np.float64)


def min_by_owner(values: NDArray[Any], owner: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Returns the smallest of the values ``[P]`` by owner ``[count]``; inf for none."""
    result = np.full(count, np.inf)
    np.minimum.at(result, owner, values)
    return result
