"""Lines that a car can follow: the lanes ahead of it, or arcs if there is no map."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from forecast import geometry
from forecast.planning.candidates.limits import MotionLimits
from forecast.planning.ego import EgoState
from forecast.scene import LaneMap

STEP_M = 0.5
_NEAR_M = 4.0
_ALIGNED_RAD = 1.0
_BEHIND_M = 10.0
_ROUTES = 4
_TIE = 0.5
"""In a junction, connectors overlap. Lanes whose distance (m) plus angle (rad) is this close to the
best one's are all the ego's: which of them is best changes from step to step."""

_SAME_M = 1.0
"""Routes that nowhere differ by more than this are one."""

_TRIES = 6
"""Tries to find the point of a line that the ego is exactly beside. An error of 1 cm is 0.1 m/s in
plans of 0.1 s."""

_SMOOTH_M = 2.0
"""Standard deviation of the smoothing; mapped lanes have kinks that no car follows."""


def lane_routes(ego: EgoState, lane_map: LaneMap, length_m: float) -> list[NDArray[np.float64]]:
    """Smooth centre lines ``[S, 2]`` that start beside the ego, with a point every `STEP_M`.

    One for each path through the lane graph, at most 4; none if no lane in the ego's direction is
    within 4 m. Where several lanes overlap under the ego, as in a junction, each has its routes:
    first one of each lane, then a second one of each.

    Args:
        ego: The ego now.
        lane_map: Lanes with their successors.
        length_m: Length of the routes; a lane that ends is continued straight.
    """
    found: list[NDArray[np.float64]] = []
    for line in _lines(ego, lane_map, length_m):
        route = _smooth(ego, line, length_m)
        if all(np.abs(route - other).max() > _SAME_M for other in found):
            found.append(route)
        if len(found) == _ROUTES:
            break
    return found


def _lines(ego: EgoState, lane_map: LaneMap, length_m: float) -> Iterator[NDArray[np.float64]]:
    """Centre lines ``[P, 2]`` of the paths from the ego's lanes, in turn one of each lane."""
    starts = _own_lanes(ego, lane_map)
    paths = [_chains(lane_map, lane, length_m + _lane_length(lane_map, lane)) for lane in starts]
    for turn in zip_longest(*paths):
        for chain in filter(None, turn):
            line = np.concatenate([lane_map.centerlines[lane] for lane in chain])
            yield line.astype(np.float64)


def arc_routes(
    ego: EgoState, limits: MotionLimits, count: int, length_m: float
) -> list[NDArray[np.float64]]:
    """Arcs ``[S, 2]`` from the ego, a straight line first, up to the curvature its speed allows."""
    slow = max(ego.speed_mps, 1.0)
    most = min(limits.curvature_per_m, limits.lateral_mps2 / slow**2)
    bends = np.linspace(-most, most, count) if count > 1 else np.zeros(0)
    bends = np.concatenate([[0.0], bends[np.abs(bends) > 1e-9]])
    along = np.arange(0.0, length_m + STEP_M, STEP_M)
    # After a quarter turn the line goes straight on: longer arcs are no useful plans.
    heading = ego.heading_rad + np.clip(bends[:, None] * along, -np.pi / 2, np.pi / 2)
    middle = (heading[:, 1:] + heading[:, :-1]) / 2
    steps = STEP_M * np.stack([np.cos(middle), np.sin(middle)], -1)
    points = np.concatenate([np.zeros((len(bends), 1, 2)), steps.cumsum(1)], axis=1)
    return list(points + ego.pose[:2])


def _own_lanes(ego: EgoState, lane_map: LaneMap) -> list[int]:
    """The lanes nearest to the ego in position and direction, the best first; may be none."""
    scores = {}
    for lane, line in enumerate(lane_map.centerlines):
        distance, _, heading = _beside(ego, line.astype(np.float64))
        off = abs(float(geometry.wrap_angle(heading - ego.heading_rad)))
        if distance <= _NEAR_M and off <= _ALIGNED_RAD:
            scores[lane] = distance + off
    most = min(scores.values(), default=0.0) + _TIE
    return sorted((lane for lane, score in scores.items() if score <= most), key=scores.__getitem__)


def _beside(ego: EgoState, line_m: NDArray[np.float64]) -> tuple[float, float, float]:
    """Distance to a line, the arc length of its nearest point, and its heading there.

    A line may cross itself. So only its parts in the ego's direction count, if it has any.
    """
    start, step = line_m[:-1], np.diff(line_m, axis=0)
    length2 = np.maximum(np.square(step).sum(-1), 1e-12)
    to_ego = np.array([ego.x_m, ego.y_m]) - start
    share = np.clip((to_ego * step).sum(-1) / length2, 0, 1)
    distance = np.linalg.norm(to_ego - share[:, None] * step, axis=-1)
    headings = np.arctan2(step[:, 1], step[:, 0])
    aligned = np.abs(geometry.wrap_angle(headings - ego.heading_rad)) <= _ALIGNED_RAD
    counted = np.where(aligned, distance, np.inf) if aligned.any() else distance
    nearest = int(np.argmin(counted))
    length = np.sqrt(length2)
    along = float(length[:nearest].sum() + share[nearest] * length[nearest])
    return float(distance[nearest]), along, float(headings[nearest])


def _chains(lane_map: LaneMap, lane: int, length_m: float) -> list[list[int]]:
    """Sequences of lanes that start with one and are long enough, or end for lack of successors."""
    left = length_m - _lane_length(lane_map, lane)
    nexts = lane_map.successors[lane_map.successors[:, 0] == lane, 1].tolist()
    if left <= 0 or not nexts:
        return [[lane]]
    tails = (tail for after in nexts[:_ROUTES] for tail in _chains(lane_map, after, left))
    return [[lane, *tail] for tail in tails]


def _lane_length(lane_map: LaneMap, lane: int) -> float:
    return max(geometry.polyline_length(lane_map.centerlines[lane]), STEP_M)


def _smooth(ego: EgoState, line_m: NDArray[np.float64], length_m: float) -> NDArray[np.float64]:
    """The line from beside the ego onwards, smoothed, and continued straight at its ends."""
    line = line_m[np.concatenate([[True], np.linalg.norm(np.diff(line_m, axis=0), axis=1) > 1e-6])]
    first, last = line[0] - line[1], line[-1] - line[-2]
    ahead = _BEHIND_M * first / np.linalg.norm(first)
    beyond = (length_m + _BEHIND_M) * last / np.linalg.norm(last)
    line = np.concatenate([[line[0] + ahead], line, [line[-1] + beyond]])
    count = int(geometry.polyline_length(line) / STEP_M) + 1
    even = geometry.resample_polyline(line, count)
    smooth = gaussian_filter1d(even, _SMOOTH_M / STEP_M, axis=0, mode="nearest")
    _, along, _ = _beside(ego, smooth)
    spans = np.concatenate([[0], np.linalg.norm(np.diff(smooth, axis=0), axis=1).cumsum()])
    ahead_m = np.arange(0.0, length_m + STEP_M, STEP_M)
    for _ in range(_TRIES):
        points = [np.interp(along + ahead_m, spans, smooth[:, i]) for i in range(2)]
        found = np.stack(points, axis=-1)
        # In a bend, the chord to the next point is not square to the way from the ego to the line.
        chord = found[1] - found[0]
        along += float((ego.pose[:2] - found[0]) @ chord / np.linalg.norm(chord))
    return found
