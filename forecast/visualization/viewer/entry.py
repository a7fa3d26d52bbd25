"""The ego's lane, and when people enter it."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from forecast.errors import ForecastError
from forecast.planning import EgoState
from forecast.planning.candidates.limits import MotionLimits
from forecast.planning.candidates.routes import arc_routes, lane_routes
from forecast.scene import LaneMap, Prediction, Scene

_WIDTH_M = 3.5
_LEAST_M, _MARGIN_M, _AHEAD_S = 20.0, 10.0, 6.0
_ROUGH_M = 0.1
"""Accuracy of the strip's edges: a lane's mapped centre line is not more exact."""


def ego_of(scene: Scene, at: int) -> EgoState | None:
    """The ego at a step; None if it is not there, or not seen before so that it has no speed."""
    try:
        return EgoState.of(scene, at)
    except ForecastError:
        return None


@lru_cache(maxsize=32)
def ego_lane(lane_map: LaneMap | None, ego: EgoState) -> shapely.Polygon:
    """The strip of the lanes ahead of the ego: as far as it drives in 6 s, and 10 m more.

    Where no lane is near, the strip is straight ahead.

    Args:
        lane_map: The map in the frame of the ego, or None.
        ego: The ego now.
    """
    length = max(_AHEAD_S * ego.speed_mps, _LEAST_M) + _MARGIN_M
    lines = [] if lane_map is None else lane_routes(ego, lane_map, length)
    lines = lines or arc_routes(ego, MotionLimits(), 1, length)
    strips = [
        shapely.buffer(shapely.LineString(line).simplify(_ROUGH_M), _WIDTH_M / 2, cap_style="flat")
        for line in lines
    ]
    strip = shapely.union_all(strips).simplify(_ROUGH_M)
    return strip if strip.geom_type == "Polygon" else max(strip.geoms, key=lambda each: each.area)


def entries(
    prediction: Prediction, people: NDArray[np.bool_], lane: shapely.Polygon
) -> dict[str, dict[str, Any]]:
    """Whether and when people enter an area, by name.

    Args:
        prediction: The futures.
        people: The agents that count ``[A]``.
        lane: The area in their frame.

    Returns:
        ``probability``, ``low`` and ``high`` (see `Chances`); ``median_s``, the median time of the
        futures in which it happens, None if there is none; ``now``, the probability to be there
        already, None if it is not known where they are; ``by_step``, the probability that it has
        happened by each step. Nothing if it cannot be said: the futures are shown without it.
    """
    asked = prediction.valid & people
    if not asked.any():
        return {}
    # An origin of 0 says that the area is in the frame of the paths. By the true origin, an ego
    # that is 1 km from everybody looks as if its lane were in world coordinates.
    local = replace(prediction, valid=asked, origin_m=np.zeros(2))
    try:
        times = local.time_to_entry(lane)
    except ForecastError:
        return {}
    steps_s = prediction.dt_s * np.arange(1, prediction.steps + 1)
    whole, by_step = times.within(times.span_s[1]), times.distribution(steps_s)
    now = times.distribution([0.0])[0] if times.span_s[0] == 0 else None
    found = {}
    for row, name in enumerate(times.agent_ids.tolist()):
        first = times.first_s[:, row]
        enter = np.isfinite(first)
        found[name] = {
            "probability": float(whole.probability[row]),
            "low": float(whole.low[row]),
            "high": float(whole.high[row]),
            "median_s": float(np.median(first[enter])) if enter.any() else None,
            "now": None if now is None else float(now[row]),
            "by_step": by_step[:, row].tolist(),
        }
    return found
