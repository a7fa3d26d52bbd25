"""A few joint futures that represent many."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forecast.errors import require
from forecast.scene.arguments import whole_number

_ROUNDS = 20


def representatives(
    paths_m: NDArray[np.float64], weights: NDArray[np.float64], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The k joint futures that represent all best, by k-medoids.

    The distance of two joint futures is the mean squared distance of the agents' paths. Each future
    belongs to the nearest of the k, whose new weight is the sum of its cluster's. The first k are
    chosen greedily (as BUILD in Kaufman and Rousseeuw 1990). Then each cluster's best member
    replaces the chosen one, until nothing changes.

    The chosen futures are original samples, not means, so each is a joint future. Choosing distorts
    the distribution: score the samples beside them.

    Args:
        paths_m: Joint futures ``[K, A, T, 2]``; K of 10 k is enough.
        weights: Probability of each ``[K]``.
        k: Number of futures to choose, 1 to K.

    Returns:
        Indices of the chosen futures by falling weight ``[k]``, and these weights ``[k]``.

    Raises:
        ForecastError: k is out of range.
    """
    many = len(paths_m)
    require(
        1 <= whole_number("k", k) <= many,
        "k",
        k,
        f"1 to {many} futures; draw more samples for more",
    )
    distance = _distances(paths_m)
    chosen = _greedy(distance, weights, k)
    for _ in range(_ROUNDS):
        better = _best_members(distance, weights, chosen)
        if np.array_equal(better, chosen):
            break
        chosen = better
    total = np.zeros(k)
    np.add.at(total, _owner(distance, chosen), weights)
    order = np.argsort(-total, kind="stable")
    return chosen[order], total[order]


def _distances(paths_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared distance of every two joint futures ``[K, K]``, up to a factor."""
    flat = paths_m.reshape(len(paths_m), -1)
    flat = flat - flat.mean(axis=0)
    lengths = np.square(flat).sum(axis=1)
    return np.maximum(lengths[:, None] + lengths - 2 * flat @ flat.T, 0)


def _greedy(
    distance: NDArray[np.float64], weights: NDArray[np.float64], k: int
) -> NDArray[np.int64]:
    """First choice: each lowers the weighted distance to the nearest chosen one the most."""
    nearest = np.full(len(distance), np.inf)
    chosen: list[int] = []
    for _ in range(k):
        total = np.minimum(distance, nearest) @ weights
        total[chosen] = np.inf
        chosen.append(int(total.argmin()))
        nearest = np.minimum(nearest, distance[chosen[-1]])
    return np.array(chosen)


def _owner(distance: NDArray[np.float64], chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """The chosen future to which each future belongs ``[K]``; a chosen one belongs to itself."""
    owner = distance[chosen].argmin(axis=0)
    owner[chosen] = np.arange(len(chosen))
    return owner


def _best_members(
    distance: NDArray[np.float64], weights: NDArray[np.float64], chosen: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The member of each cluster that is nearest to its others; in a tie the present one."""
    owner = _owner(distance, chosen)
    cost = np.where(owner[:, None] == owner, distance, 0) @ weights
    cost[chosen] -= 1e-9 * (1 + cost[chosen])
    order = np.lexsort((cost, owner))
    first = np.unique(owner[order], return_index=True)[1]
    return order[first]
