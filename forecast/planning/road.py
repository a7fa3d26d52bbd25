"""How plans use the road: offset from the lane, direction against it, and leaving the road."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from forecast import geometry
from forecast.planning.ego import EgoState
from forecast.planning.plan_poses import require_places
from forecast.scene import LaneMap, Polygons

FAR_M = 4.0
"""A pose farther than this from all lanes is on none of them; its offset counts as this."""

_SPACING_M = 1.0
_TURN_M = 4.0
"""Weight of directions in the search for the nearest lane. A lane in the opposite direction is
chosen only if no other is within twice this. A lane across is chosen within 1.4 times this."""

_ON_LANE_M = 0.5
"""A body whose centre is as near to a lane's centre line, in its direction, is on the road."""

_ON_LANE_RAD = 0.2


@dataclass(frozen=True, eq=False)
class RoadUse:
    """How each plan uses the road at each step, ``[P, T]``; zeros if the map does not say.

    Attributes:
        offset_m: Distance of the ego's centre from the centre line of the lane that is nearest in
            position and direction, at most `FAR_M`.
        turn_rad: Angle between the ego's heading and that lane, 0 to pi.
        off_road: Whether a corner of the body is off the drivable area. If the map has none:
            whether it is on a walkway. False beyond a lane that ends at the edge of the map.
    """

    offset_m: NDArray[np.float64]
    turn_rad: NDArray[np.float64]
    off_road: NDArray[np.bool_]

    def rows(self, plans: NDArray[np.int64]) -> RoadUse:
        """Some of the plans."""
        return RoadUse(self.offset_m[plans], self.turn_rad[plans], self.off_road[plans])


class _Lanes(NamedTuple):
    """Points on all centre lines.

    Attributes:
        tree: Search tree of x, y and the direction as a vector of length `_TURN_M`.
        points_m: ``[N, 2]``.
        heading_rad: Direction of the lane ``[N]``.
        open: Whether it is the first of a lane without predecessor, or the last of one without
            successor ``[N]``.
    """

    tree: cKDTree
    points_m: NDArray[np.float64]
    heading_rad: NDArray[np.float64]
    open: NDArray[np.bool_]


def road_use(plans: NDArray[np.float64], lane_map: LaneMap | None, ego: EgoState) -> RoadUse:
    """Measures plans against a map.

    Args:
        plans: Poses ``[P, T, 3]`` of the ego's centre.
        lane_map: The map in their frame, or None.
        ego: The ego, for its size.

    Raises:
        ForecastError: The plans are of another shape, not finite, or no place on Earth.
    """
    require_places(plans)
    offset, turn = np.zeros(plans.shape[:2]), np.zeros(plans.shape[:2])
    off_road = np.zeros(plans.shape[:2], bool)
    if lane_map is None:
        return RoadUse(offset, turn, off_road)
    lanes = _lanes(lane_map)
    unclear = np.ones(plans.shape[:2], bool)
    if lanes is not None:
        offset, turn, outside = _beside(plans, lanes)
        unclear = ~outside & ((offset > _ON_LANE_M) | (turn > _ON_LANE_RAD))
    off_road[unclear] = _off_road(plans[unclear], lane_map, ego)
    return RoadUse(offset, turn, off_road)


def _beside(plans: NDArray[np.float64], lanes: _Lanes) -> tuple[NDArray[Any], ...]:
    """Offset from the nearest lane, angle against it, and whether it has ended ``[P, T]``."""
    flat = plans.reshape(-1, 3)
    _, nearest = lanes.tree.query(_with_direction(flat[:, :2], flat[:, 2]))
    heading = lanes.heading_rad[nearest]
    along, aside = geometry.to_frame(flat[:, :2], lanes.points_m[nearest], heading).T
    beyond = np.maximum(np.abs(along) - _SPACING_M, 0.0)
    outside = (beyond > 0) & lanes.open[nearest]
    # A lane that ends at the edge of the map is continued straight, as by `candidates`.
    offset = np.minimum(np.hypot(aside, np.where(outside, 0.0, beyond)), FAR_M)
    turn = np.abs(geometry.wrap_angle(flat[:, 2] - heading))
    return tuple(values.reshape(plans.shape[:2]) for values in (offset, turn, outside))


def _off_road(poses: NDArray[np.float64], lane_map: LaneMap, ego: EgoState) -> NDArray[np.bool_]:
    """Whether each of some poses ``[N, 3]`` has a corner of the body off the road ``[N]``."""
    area, is_road = _area(lane_map)
    if area is None or not len(poses):
        return np.zeros(len(poses), bool)
    corners = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * [ego.length_m / 2, ego.width_m / 2]
    points = geometry.from_frame(corners, poses[:, None, :2], poses[:, None, 2])
    inside = shapely.contains_xy(area, points[..., 0], points[..., 1])
    return ~inside.all(axis=1) if is_road else inside.any(axis=1)


@lru_cache(maxsize=4)
def _lanes(lane_map: LaneMap) -> _Lanes | None:
    """The lanes of a map; None if it has none."""
    if not len(lane_map):
        return None
    lines = [_spaced(line.astype(np.float64)) for line in lane_map.centerlines]
    points = np.concatenate([(line[1:] + line[:-1]) / 2 for line in lines])
    ways = np.concatenate([np.diff(line, axis=0) for line in lines])
    headings = np.arctan2(ways[:, 1], ways[:, 0])
    last = np.cumsum([len(line) - 1 for line in lines]) - 1
    ends = np.zeros(len(points), bool)
    ends[np.delete(last, lane_map.successors[:, 0])] = True
    ends[np.delete(np.append(0, last[:-1] + 1), lane_map.successors[:, 1])] = True
    return _Lanes(cKDTree(_with_direction(points, headings)), points, headings, ends)


def _spaced(line_m: NDArray[np.float64]) -> NDArray[np.float64]:
    count = max(int(geometry.polyline_length(line_m) / _SPACING_M), 1) + 1
    return geometry.resample_polyline(line_m, count)


def _with_direction(
    points_m: NDArray[np.float64], heading_rad: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Points ``[N, 4]`` whose distances grow with the angle between their directions."""
    way = _TURN_M * np.stack([np.cos(heading_rad), np.sin(heading_rad)], -1)
    return np.concatenate([points_m, way], axis=-1)


@lru_cache(maxsize=4)
def _area(lane_map: LaneMap) -> tuple[Any, bool]:
    """The drivable area and True, or else the walkways and False; None if there are none."""
    is_road = len(lane_map.drivable_area) > 0
    area = shapely.union_all(_shapes(lane_map.drivable_area if is_road else lane_map.walkways))
    if area.is_empty:
        return None, is_road
    shapely.prepare(area)
    return area, is_road


def _shapes(polygons: Polygons) -> list[Any]:
    shapes = [shapely.Polygon(rings[0], rings[1:]) for rings in polygons if len(rings[0]) > 2]
    return [shapely.make_valid(shape) for shape in shapes]
