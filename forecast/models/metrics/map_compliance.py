"""Share of a prediction that lies on the road, outside crosswalks and walkways."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from forecast.errors import ForecastError
from forecast.scene import LaneMap, Polygons

LAYERS = ("crosswalks", "walkways", "drivable_area")
"""The parts of a map that classify the ground; where several overlap, the first counts."""


def on_road_share(
    positions_m: NDArray[Any], weights: NDArray[Any], lane_map: LaneMap | None
) -> NDArray[np.float64]:
    """Share of the predicted points on the road: see `on_road`.

    Args:
        positions_m: Joint futures ``[K, N, T, 2]`` in the frame of the map.
        weights: ``[K]``.
        lane_map: The map, or None.

    Returns:
        Share over samples (by weight) and steps ``[N]``; NaN if the map lacks any of `LAYERS`,
        because a crosswalk that is not mapped would count as road.
    """
    if lane_map is None or any(len(getattr(lane_map, layer)) == 0 for layer in LAYERS):
        return np.full(positions_m.shape[1], np.nan)
    return np.einsum("k,knt->n", weights, on_road(positions_m, lane_map)) / positions_m.shape[2]


def on_road(points_m: NDArray[Any], lane_map: LaneMap) -> NDArray[np.bool_]:
    """Which points lie in the drivable area and on neither a crosswalk nor a walkway.

    Args:
        points_m: Points ``[..., 2]`` in the frame of the map.
        lane_map: The map.

    Returns:
        ``[...]``; points outside the drivable area are not on the road.
    """
    road = np.asarray(inside(points_m, lane_map, "drivable_area"))
    there = np.asarray(points_m)[road]  # few points are, and polygons with many corners are slow
    walkable = inside(there, lane_map, "crosswalks") | inside(there, lane_map, "walkways")
    road[road] = ~walkable
    return road


def inside(points_m: NDArray[Any], lane_map: LaneMap, part: str) -> NDArray[np.bool_]:
    """Which points ``[..., 2]`` lie in a part of the map: a field that holds polygons."""
    points = np.asarray(points_m, np.float64)
    return shapely.contains_xy(_area(lane_map, part), points[..., 0], points[..., 1])


@lru_cache(maxsize=12)
def _area(lane_map: LaneMap, part: str) -> Any:
    """Prepared union of the polygons of a part; cached, as all windows of a scene share its map."""
    union = shapely.union_all(_shapes(part, getattr(lane_map, part)))
    shapely.prepare(union)
    return union


def _shapes(name: str, polygons: Polygons) -> list[Any]:
    for index, rings in enumerate(polygons):
        if any(len(ring) < 3 for ring in rings):
            raise ForecastError(
                f"{name}: polygon {index} has a ring of {min(map(len, rings))} point(s); "
                "at least 3 are needed"
            )
    shapes = [shapely.Polygon(rings[0], rings[1:]) for rings in polygons]
    return [shapely.make_valid(shape) for shape in shapes]
