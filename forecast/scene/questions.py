"""Questions in plain terms, answered from the samples of a `Prediction`.

Areas and lines are in the frame of the prediction. Between two steps people walk straight; what
they do before the first step is not looked at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from forecast.errors import require
from forecast.scene.chances import FirstTimes, agent_row
from forecast.scene.lanes import LaneMap

if TYPE_CHECKING:
    from forecast.scene.prediction import Prediction

Area: TypeAlias = "shapely.Polygon | shapely.MultiPolygon | ArrayLike"
"""A shapely polygon, or the points ``[P, 2]`` of its outer ring."""

_LEAST_WIDTH_M = 0.1
_MARGIN = 3.0
"""The cells cover this many kernel widths around the samples."""

_MOST_CELLS = 200
_EDGES_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class Region:
    """Where an agent is at a time, at a stated probability of the prediction.

    The cells where a kernel density of the samples is highest (a highest density region, Hyndman
    1996), down to the density that ``level`` of the samples reach; it may have several parts. The
    level is the prediction's own: how often the truth lies inside is for an evaluation to say.

    Attributes:
        polygon: The cells as one shape, in the frame of the prediction.
        level: Probability of the prediction that it holds.
        cell_m: Edge of the cells.
    """

    polygon: shapely.MultiPolygon
    level: float
    cell_m: float

    def contains(self, points_m: ArrayLike) -> NDArray[np.bool_]:
        """Whether points ``[..., 2]`` lie in the region ``[...]``."""
        points = np.asarray(points_m, np.float64)
        return np.asarray(shapely.intersects_xy(self.polygon, points[..., 0], points[..., 1]))


def where(prediction: Prediction, agent: str, at_s: float, level: float) -> Region:
    """The region an agent is in at a time; see `Region`.

    Args:
        prediction: Its samples.
        agent: Name of the agent.
        at_s: Seconds after the prediction was made; between two steps it is interpolated.
        level: Probability to hold, between 0 and 1.

    Raises:
        ForecastError: The agent is not predicted, the time or the level out of range.
    """
    require(0 < level < 1, "level", level, "a level between 0 and 1")
    points, weights = _at(prediction, agent, at_s), prediction.weights
    width = _kernel_width(points)
    low, high = points.min(axis=0) - _MARGIN * width, points.max(axis=0) + _MARGIN * width
    cell = max(width / 4, float((high - low).max()) / _MOST_CELLS)
    columns, rows = (np.arange(count) + 0.5 for count in np.ceil((high - low) / cell))
    centers = low + cell * np.stack(np.meshgrid(columns, rows), -1).reshape(-1, 2)
    dense = _kernels(centers, points, width) @ weights >= _threshold(points, weights, width, level)
    squares = shapely.box(*(centers[dense] - cell / 2).T, *(centers[dense] + cell / 2).T)
    union = shapely.union_all(squares, grid_size=cell / 1000)
    polygon = shapely.MultiPolygon([union] if union.geom_type == "Polygon" else union)
    return Region(polygon, level, cell)


def _at(prediction: Prediction, agent: str, at_s: float) -> NDArray[np.float64]:
    """Positions ``[K, 2]`` of an agent at a time."""
    agent_row(prediction.agent_ids[prediction.valid], agent)
    row = agent_row(prediction.agent_ids, agent)
    step, last = at_s / prediction.dt_s - 1, prediction.steps - 1
    span = f"a time from {prediction.dt_s} s to {prediction.steps * prediction.dt_s} s"
    require(-1e-6 <= step <= last + 1e-6, "at_s", at_s, span)
    before = min(max(int(step), 0), max(last - 1, 0))
    share = min(max(step - before, 0.0), 1.0)
    path = prediction.positions_m[:, row].astype(np.float64)
    return (1 - share) * path[:, before] + share * path[:, min(before + 1, last)]


def _kernel_width(points: NDArray[np.float64]) -> float:
    """Standard deviation of the kernel: the median way to the sqrt(K)-th nearest sample.

    Unlike a rule by the variance it stays narrow where the samples go two ways.
    """
    ways = np.linalg.norm(points[:, None] - points, axis=-1)
    nearest = min(math.ceil(math.sqrt(len(points))), len(points) - 1)
    return max(float(np.median(np.sort(ways, axis=1)[:, nearest])), _LEAST_WIDTH_M)


def _kernels(
    at: NDArray[np.float64], points: NDArray[np.float64], width: float
) -> NDArray[np.float64]:
    """Kernels ``[N, K]`` of the samples, 1 at their peaks."""
    squares = np.square(at).sum(-1)[:, None] + np.square(points).sum(-1) - 2 * at @ points.T
    return np.exp(-np.maximum(squares, 0) / (2 * width**2))


def _threshold(
    points: NDArray[np.float64], weights: NDArray[np.float64], width: float, level: float
) -> float:
    """The density that ``level`` of the samples reach.

    Each is judged by the others alone, lest few samples promise too much; one far from all others
    by the part of its own kernel that holds the level.
    """
    others = _kernels(points, points, width) @ weights - weights
    left = np.maximum(1 - weights, np.finfo(float).eps)
    density = np.maximum(np.where(weights < 1, others / left, 0), weights * (1 - level))
    order = np.argsort(-density, kind="stable")
    reached = np.cumsum(weights[order]) >= level - 1e-9
    found = float(density[order[min(int(reached.argmax()) + 1, len(order) - 1)]])
    # Samples nearer to each other than the narrowest kernel are one spot of the kernel's width.
    return found if width > _LEAST_WIDTH_M else min(found, (1 - level) * float(density.max()))


def time_to_entry(prediction: Prediction, area: Area) -> FirstTimes:
    """When each agent is first inside an area; see `FirstTimes`.

    An agent that is inside at the first step enters at the first step.
    """
    shape = _polygon(area)
    paths = _paths(prediction)
    inside = shapely.intersects_xy(shape, paths[..., 0], paths[..., 1])
    at_step = np.where(inside.any(-1), inside.argmax(-1), np.inf)
    rings = shapely.get_parts(shapely.boundary(shape))
    edges = np.concatenate([_edges(shapely.get_coordinates(ring)) for ring in rings])
    return _first_times(prediction, np.minimum(at_step, _first_crossing(paths, edges)))


def time_to_crossing(prediction: Prediction, line_m: ArrayLike) -> FirstTimes:
    """When each agent first crosses a line ``[P, 2]``, from either side; see `FirstTimes`."""
    line = np.asarray(line_m, np.float64)
    good = line.ndim == 2 and line.shape[1:] == (2,) and len(line) >= 2
    require(good and bool(np.isfinite(line).all()), "shape of line", list(line.shape), "[P, 2]")
    return _first_times(prediction, _first_crossing(_paths(prediction), _edges(line)))


def lane_area(lane_map: LaneMap, lane: str, width_m: float = 3.5) -> shapely.Polygon:
    """The strip of a lane around its centre line, for `time_to_entry`.

    Args:
        lane_map: The map, in the frame of the prediction.
        lane: Name of the lane.
        width_m: Width of the strip; maps hold centre lines only.

    Raises:
        ForecastError: The map has no such lane.
    """
    rows = np.flatnonzero(lane_map.lane_ids == lane)
    require(len(rows) == 1, f"number of lanes called '{lane}'", len(rows), "exactly 1")
    line = shapely.LineString(lane_map.centerlines[int(rows[0])])
    return shapely.buffer(line, width_m / 2, cap_style="flat")


def _polygon(area: Area) -> shapely.Geometry:
    shape = area if isinstance(area, shapely.Geometry) else _ring(area)
    good = shape.geom_type in ("Polygon", "MultiPolygon") and shape.is_valid and not shape.is_empty
    require(good, "area", shape.geom_type, "a polygon that is valid and not empty")
    return shape


def _ring(points_m: ArrayLike) -> shapely.Polygon:
    ring = np.asarray(points_m, np.float64)
    good = ring.ndim == 2 and ring.shape[1:] == (2,) and len(ring) >= 3
    require(good, "shape of area", list(ring.shape), "a polygon or its ring [P, 2], P >= 3")
    return shapely.Polygon(ring)


def _paths(prediction: Prediction) -> NDArray[np.float64]:
    """Paths ``[K, A, T, 2]`` of the predicted agents."""
    return prediction.positions_m[:, prediction.valid].astype(np.float64)


def _edges(points_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pieces ``[E, 2, 2]`` of a line ``[P, 2]``."""
    return np.stack([points_m[:-1], points_m[1:]], axis=1)


def _first_crossing(paths: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """First time in steps ``[K, A]`` at which paths ``[K, A, T, 2]`` meet an edge, or infinity."""
    first = np.full(paths.shape[:2], np.inf)
    start, step = paths[:, :, :-1, None], np.diff(paths, axis=2)[:, :, :, None]
    for block in range(0, len(edges), _EDGES_AT_ONCE):
        base, far = np.moveaxis(edges[block : block + _EDGES_AT_ONCE], 1, 0)
        share = _meeting(start, step, base, far - base).min(-1, initial=np.inf)
        when = (share + np.arange(share.shape[-1])).min(-1, initial=np.inf)
        first = np.minimum(first, when)
    return first


def _meeting(
    start: NDArray[np.float64],
    step: NDArray[np.float64],
    base: NDArray[np.float64],
    edge: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Share of the step at which it meets the edge; infinite if it does not or runs along it."""
    turn = _cross(step, edge)
    with np.errstate(divide="ignore", invalid="ignore"):
        along_step = _cross(base - start, edge) / turn
        along_edge = _cross(base - start, step) / turn
    ends = [(share >= -1e-9) & (share <= 1 + 1e-9) for share in (along_step, along_edge)]
    return np.where(ends[0] & ends[1], np.clip(along_step, 0, 1), np.inf)


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _first_times(prediction: Prediction, steps: NDArray[np.float64]) -> FirstTimes:
    """Step 0 is one step after the prediction was made."""
    first_s = (steps + 1) * prediction.dt_s
    return FirstTimes(prediction.agent_ids[prediction.valid], first_s, prediction.weights)
