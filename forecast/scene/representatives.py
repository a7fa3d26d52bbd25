"""From many joint futures to few that stand for them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from forecast.errors import require

if TYPE_CHECKING:
    from forecast.scene.prediction import Prediction

_ROUNDS = 20


def representatives(prediction: Prediction, k: int) -> Prediction:
    """The k joint futures of a prediction that best stand for all, by k-medoids.

    The distance of two joint futures is the mean squared distance of the predicted agents' paths.
    Each future belongs to the nearest of the k, which carries the weight of all that do. The first
    k are chosen greedily (as BUILD in Kaufman and Rousseeuw 1990), then each cluster's best member
    takes over until nothing changes.

    Those chosen are samples as they were, not means, so every one is a joint future. Choosing
    distorts the distribution: score the samples beside them.

    Args:
        prediction: Many samples; 10 k are plenty.
        k: Number of futures, 1 to the number of samples.

    Returns:
        The chosen futures by falling weight; everything else as it was.

    Raises:
        ForecastError: k is out of range.
    """
    many = prediction.samples
    require(1 <= k <= many, "k", k, f"1 to {many} futures; draw more samples for more")
    distance = _distances(prediction.positions_m[:, prediction.valid])
    chosen = _greedy(distance, prediction.weights, k)
    for _ in range(_ROUNDS):
        better = _best_members(distance, prediction.weights, chosen)
        if np.array_equal(better, chosen):
            break
        chosen = better
    weights = np.zeros(k)
    np.add.at(weights, _owner(distance, chosen), prediction.weights)
    order = np.argsort(-weights, kind="stable")
    return replace(
        prediction, positions_m=prediction.positions_m[chosen[order]], weights=weights[order]
    )


def _distances(futures: NDArray[np.float32]) -> NDArray[np.float64]:
    """Squared distance of every two joint futures ``[K, K]``, up to a factor."""
    flat = futures.reshape(len(futures), -1).astype(np.float64)
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
    """Which of the chosen futures each belongs to ``[K]``; a chosen one to itself."""
    owner = distance[chosen].argmin(axis=0)
    owner[chosen] = np.arange(len(chosen))
    return owner


def _best_members(
    distance: NDArray[np.float64], weights: NDArray[np.float64], chosen: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The member of each cluster that is nearest to its others; the present one among equals."""
    owner = _owner(distance, chosen)
    cost = np.where(owner[:, None] == owner, distance, 0) @ weights
    cost[chosen] -= 1e-9 * (1 + cost[chosen])
    order = np.lexsort((cost, owner))
    first = np.unique(owner[order], return_index=True)[1]
    return order[first]
