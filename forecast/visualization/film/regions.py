"""Calibrated regions of people as polygons."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from forecast.scene import Prediction

LEVEL = 0.9
"""Of the levels of tubes, the one nearest to this is shown."""

CORNERS = 16
"""Corners of a region."""


def ribbons(
    prediction: Prediction, now_m: NDArray[np.float32], agents: NDArray[np.int64]
) -> list[NDArray[np.float64]]:
    """The tubes of agents as outlines ``[P, 2]`` around all their steps; none without tubes.

    Args:
        prediction: The prediction.
        now_m: Positions of the agents at its time ``[N, 2]``.
        agents: Their indices in it ``[N]``.
    """
    tubes, steps = prediction.tubes, range(prediction.steps)
    if tubes is None:
        return []
    level = tube_level(prediction)
    return [
        ribbon(place, [tubes.polygon(agent, step, level, CORNERS) for step in steps])
        for place, agent in zip(now_m, agents.tolist(), strict=True)
        if tubes.valid[agent]
    ]


def regions(
    prediction: Prediction, now_m: NDArray[np.float32], agents: NDArray[np.int64], steps: float
) -> list[NDArray[np.float64]]:
    """The regions of agents some steps after a prediction with tubes; see `ribbons`."""
    assert prediction.tubes is not None
    at = np.array([min(steps, prediction.steps)], np.float64)
    tubes = prediction.tubes.select(agents).resampled(at, now_m)
    level = tube_level(prediction)
    return [tubes.polygon(row, 0, level) for row in np.flatnonzero(tubes.valid).tolist()]


def tube_level(prediction: Prediction) -> float:
    """The level of the tubes that are shown: the one nearest to 90 %."""
    assert prediction.tubes is not None
    return min(prediction.tubes.levels, key=lambda level: abs(level - LEVEL))


def ribbon(start_m: NDArray[Any], rings_m: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The outline ``[P, 2]`` of a tube.

    Args:
        start_m: Where the agent is now ``[2]``.
        rings_m: Regions of the steps, all of the same number of corners ``[C, 2]``.
    """
    rings = np.stack([np.broadcast_to(start_m, rings_m[0].shape), *rings_m])
    pairs = np.concatenate([rings[:-1], rings[1:]], axis=1)  # [T, 2 C, 2]
    hulls = shapely.convex_hull(shapely.multipoints(pairs))
    return np.asarray(shapely.union_all(hulls).exterior.coords)


def rings(prediction: Prediction, agents: NDArray[np.int64]) -> NDArray[np.float64]:
    """The regions of those of some agents that have tubes, at all steps ``[N, T, C, 2]``."""
    tubes, steps = prediction.tubes, range(prediction.steps)
    found = [] if tubes is None else [agent for agent in agents.tolist() if tubes.valid[agent]]
    if tubes is None or not found:
        return np.zeros((0, prediction.steps, CORNERS, 2))
    level = tube_level(prediction)
    return np.array(
        [[tubes.polygon(agent, step, level, CORNERS) for step in steps] for agent in found]
    )
