"""Where agents are and when they enter an area or cross a line, answered from sampled paths.

`Prediction` asks these questions of its samples. Areas and lines are in the frame of the paths.
Between two steps agents move straight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from forecast.errors import ForecastError, require
from forecast.scene.between_steps import between_steps
from forecast.scene.chances import require_level, require_within
from forecast.scene.grid import Grid
from forecast.scene.lanes import LaneMap

Area: TypeAlias = "shapely.Polygon | shapely.MultiPolygon | ArrayLike"
"""A shapely polygon, or the points ``[P, 2]`` of its outer ring."""

_LEAST_WIDTH_M = 0.1
_MARGIN = 3.0
"""The cells cover this many kernel widths around the samples."""

_MOST_CELLS = 200
_NEAR_M, _FAR_M = 100.0, 200.0
"""Shapes that are asked about are mostly as near to somebody as the first; nobody gets as far as
the second."""

_EDGES_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class Region:
    """A region that contains an agent with a stated probability of the prediction.

    It consists of the cells where a kernel density of the samples is highest (a highest density
    region, Hyndman 1996), down to the density that ``level`` of the samples reach. It may have
    several parts. The level is the prediction's own; how often the truth lies inside is a matter
    of calibration.

    Attributes:
        polygon: The cells as one shape, in the frame of the prediction.
        level: Probability of the prediction that it contains.
        cell_m: Edge of the cells.
    """

    polygon: shapely.MultiPolygon
    level: float
    cell_m: float

    def __repr__(self) -> str:
        parts = len(self.polygon.geoms)
        return f"Region({self.polygon.area:.2f} m^2 in {parts} parts, level {self.level:g})"

    def contains(self, points_m: ArrayLike) -> NDArray[np.bool_]:
        """Whether points ``[..., 2]`` lie in the region ``[...]``."""
        points = np.asarray(points_m, np.float64)
        return np.asarray(shapely.intersects_xy(self.polygon, points[..., 0], points[..., 1]))


def positions_at(
    paths_m: NDArray[np.float64], dt_s: float, at_s: float, now_m: NDArray[Any] | None = None
) -> NDArray[np.float64]:
    """Positions ``[K, 2]`` on paths at a time, interpolated between two steps.

    Args:
        paths_m: One agent's futures ``[K, T, 2]``; step 0 is one ``dt_s`` after the prediction
            time.
        dt_s: Step length.
        at_s: Seconds after the prediction time.
        now_m: Where the agent is then ``[2]``, if that is known.

    Raises:
        ForecastError: The time is after the last step, or before the first and ``now_m`` is not
            known.
    """
    steps, first = paths_m.shape[1], 1 if now_m is None else 0
    asked_s = require_within("at_s", at_s, (first * dt_s, steps * dt_s))
    at = np.clip([asked_s / dt_s], first, steps)  # against rounding
    return between_steps(paths_m, paths_m[:, 0] if now_m is None else now_m, at, axis=1)[:, 0]


def highest_density_region(
    points_m: NDArray[np.float64], weights: NDArray[np.float64], level: float
) -> Region:
    """The region of highest density of weighted points; see `Region`.

    Args:
        points_m: Samples ``[K, 2]``.
        weights: Probability of each ``[K]``.
        level: Probability to contain, between 0 and 1.

    Raises:
        ForecastError: The level is out of range.
    """
    require_level(level)
    width = _kernel_width(points_m)
    low, high = points_m.min(axis=0) - _MARGIN * width, points_m.max(axis=0) + _MARGIN * width
    cell = max(width / 4, float((high - low).max()) / _MOST_CELLS)
    columns, rows = (np.arange(count) + 0.5 for count in np.ceil((high - low) / cell))
    centers = low + cell * np.stack(np.meshgrid(columns, rows), -1).reshape(-1, 2)
    density = _kernels(centers, points_m, width) @ weights
    dense = density >= _threshold(points_m, weights, width, level)
    squares = shapely.box(*(centers[dense] - cell / 2).T, *(centers[dense] + cell / 2).T)
    union = shapely.union_all(squares, grid_size=cell / 1000)
    polygon = shapely.MultiPolygon([union] if union.geom_type == "Polygon" else union)
    return Region(polygon, level, cell)


def _kernel_width(points: NDArray[np.float64]) -> float:
    """Standard deviation of the kernel: the median distance to the sqrt(K)-th nearest sample.

    Unlike a rule by the variance it stays narrow if the samples form two groups.
    """
    distances = np.linalg.norm(points[:, None] - points, axis=-1)
    nearest = min(math.ceil(math.sqrt(len(points))), len(points) - 1)
    return max(float(np.median(np.sort(distances, axis=1)[:, nearest])), _LEAST_WIDTH_M)


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

    The density at a sample is that of the other samples' kernels, because with few samples its own
    kernel would make the region too small. A sample far from all others gets the part of its own
    kernel that contains the level.
    """
    others = _kernels(points, points, width) @ weights - weights
    left = np.maximum(1 - weights, np.finfo(float).eps)
    density = np.maximum(np.where(weights < 1, others / left, 0), weights * (1 - level))
    order = np.argsort(-density, kind="stable")
    reached = np.cumsum(weights[order]) >= level - 1e-9
    found = float(density[order[min(int(reached.argmax()) + 1, len(order) - 1)]])
    # Samples closer together than the narrowest kernel form one spot of the kernel's width.
    return found if width > _LEAST_WIDTH_M else min(found, (1 - level) * float(density.max()))


def first_entry(paths_m: NDArray[np.float64], area: Area) -> NDArray[np.float64]:
    """When paths are first inside an area, in steps after their first step.

    A path that is inside at its first step enters at step 0.

    Args:
        paths_m: ``[K, A, T, 2]``.
        area: In the frame of the paths.

    Returns:
        Steps, with fractions ``[K, A]``; infinite for paths that never enter.
    """
    shape = polygon(area)
    inside = shapely.intersects_xy(shape, paths_m[..., 0], paths_m[..., 1])
    at_step = np.where(inside.any(-1), inside.argmax(-1), np.inf)
    rings = shapely.get_parts(shapely.boundary(shape))
    edges = np.concatenate([_edges(shapely.get_coordinates(ring)) for ring in rings])
    return np.minimum(at_step, _first_crossing(paths_m, edges))


def first_crossing(paths_m: NDArray[np.float64], line_m: ArrayLike) -> NDArray[np.float64]:
    """When paths ``[K, A, T, 2]`` first cross a line ``[P, 2]``, from either side.

    Returns:
        Steps after the first, with fractions ``[K, A]``; infinite for paths that never cross.
    """
    return _first_crossing(paths_m, _edges(_points("line", line_m, 2, "[P, 2], P >= 2")))


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


def require_local(
    item: str,
    shape: shapely.Geometry,
    places_m: NDArray[np.float32],
    origin_m: NDArray[np.float64],
) -> None:
    """Refuses a shape in world coordinates; one that is merely far from everybody is fine.

    Args:
        item: Its name in messages.
        shape: The shape.
        places_m: Where agents are, relative to the origin ``[N, 2]``.
        origin_m: World position of the origin ``[2]``.

    Raises:
        ForecastError: It is far from the agents, and near them once the origin is subtracted.
    """
    middle = np.median(places_m.astype(np.float64), axis=0)
    here, there = (
        float(shapely.distance(shape, shapely.points(middle + off_m)))
        for off_m in (np.zeros(2), origin_m)
    )
    if there < _NEAR_M < _FAR_M < here:
        raise ForecastError(
            f"{item}: {there:.0f} m from the agents as world coordinates, and {here:.0f} m as "
            "coordinates relative to origin_m, which are needed"
        )


def line(line_m: ArrayLike) -> shapely.LineString:
    """A line of points ``[P, 2]``; raises `ForecastError` if it is none."""
    return shapely.LineString(_points("line", line_m, 2, "[P, 2], P >= 2"))


def box(grid: Grid) -> shapely.Polygon:
    """What a grid covers."""
    far_x_m = grid.x_m + grid.columns * grid.cell_m
    return shapely.box(grid.x_m, grid.y_m, far_x_m, grid.y_m + grid.rows * grid.cell_m)


def polygon(area: Area) -> shapely.Geometry:
    """An area as a shape; raises `ForecastError` if it is none."""
    shape = area if isinstance(area, shapely.Geometry) else _ring(area)
    good = shape.geom_type in ("Polygon", "MultiPolygon") and shape.is_valid and not shape.is_empty
    require(good, "area", shape.geom_type, "a polygon that is valid and not empty")
    return shape


def _ring(points_m: ArrayLike) -> shapely.Polygon:
    return shapely.Polygon(_points("area", points_m, 3, "a polygon or its ring [P, 2], P >= 3"))


def _points(item: str, points_m: ArrayLike, least: int, needed: str) -> NDArray[np.float64]:
    """Points ``[P, 2]`` of a line or ring; `ForecastError` if they are few or not finite."""
    try:
        points = np.asarray(points_m, np.float64)
    except (TypeError, ValueError):
        raise ForecastError(f"{item} is not of numbers; {needed} is needed") from None
    good = points.ndim == 2 and points.shape[1:] == (2,) and len(points) >= least
    require(good, f"shape of {item}", list(points.shape), needed)
    bad = points[~np.isfinite(points).all(axis=1)]
    require(not len(bad), f"a point of {item}", bad[:1].tolist(), "a finite place")
    return points


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
