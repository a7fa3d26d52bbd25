"""Who is near whom, at a cost linear in agents: pairs from k-d trees, sums over pairs.

Pairs come sorted, so that sums do not depend on how a tree was built: what is beyond reach of a
change stays the same to the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]
"""First and second members of pairs, both ``[P]``, sorted."""


def pairs(points_m: NDArray[Any], radius_m: float) -> Pairs:
    """Ordered pairs of different points ``[A, 2]`` within a radius, each both ways round."""
    once = cKDTree(points_m).query_pairs(radius_m, output_type="ndarray").astype(np.int64)
    return _sorted(
        np.concatenate([once[:, 0], once[:, 1]]), np.concatenate([once[:, 1], once[:, 0]])
    )


def pairs_between(first_m: NDArray[Any], second_m: NDArray[Any], radius_m: float) -> Pairs:
    """Pairs of a point of ``[A, 2]`` and one of ``[B, 2]`` within a radius."""
    if not len(first_m) or not len(second_m):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    found = cKDTree(first_m).sparse_distance_matrix(
        cKDTree(second_m), radius_m, output_type="ndarray"
    )
    return _sorted(found["i"].astype(np.int64), found["j"].astype(np.int64))


def pairs_with_equal(first: NDArray[Any], second: NDArray[Any]) -> Pairs:
    """Pairs of an entry of ``[A]`` and one of ``[B]`` that hold the same name."""
    order = np.argsort(second, kind="stable")
    begin = np.searchsorted(second[order], first, "left")
    count = np.searchsorted(second[order], first, "right") - begin
    i = np.repeat(np.arange(len(first)), count)
    within = np.arange(len(i)) - np.repeat(np.cumsum(count) - count, count)
    return i, order[begin[i] + within]


def _sorted(first: NDArray[np.int64], second: NDArray[np.int64]) -> Pairs:
    order = np.lexsort((second, first))
    return first[order], second[order]


def total(values: NDArray[Any], owner: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Sums of values ``[P]`` by owner ``[count]``."""
    return np.bincount(owner, weights=values, minlength=count).astype(np.float64)


def least(values: NDArray[Any], owner: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Smallest of the values ``[P]`` by owner ``[count]``, inf where there is none."""
    result = np.full(count, np.inf)
    np.minimum.at(result, owner, values)
    return result
