"""Which scenes a bounded memory keeps: those that cover best what was seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_LEAST_SPREAD = 1e-3


def covering(places: Sequence[NDArray[np.float64]], count: int) -> list[int]:
    """Indices of the scenes that cover all best, in ascending order (k-centre selection).

    The first is the one nearest to the mean. Each further one is that which is farthest from all
    before it (Gonzalez 1985): no scene is then farther from a chosen one than twice the least
    possible distance.

    Args:
        places: A vector ``[D]`` for each scene. Every dimension counts by its spread over them.
        count: Most scenes to choose.
    """
    if len(places) <= count:
        return list(range(len(places)))
    every = np.array(places)
    every = (every - every.mean(axis=0)) / np.maximum(every.std(axis=0), _LEAST_SPREAD)
    chosen = [int(np.square(every).sum(axis=1).argmin())]
    apart = np.full(len(every), np.inf)
    while len(chosen) < count:
        apart = np.minimum(apart, np.linalg.norm(every - every[chosen[-1]], axis=1))
        apart[chosen] = -1.0  # equal scenes are at distance 0, and none is chosen twice
        chosen.append(int(apart.argmax()))
    return sorted(chosen)
