"""Candidate plans for a planner that has none: a lattice of speed profiles and paths."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forecast import geometry
from forecast.planning.candidates.limits import MotionLimits, feasible
from forecast.planning.candidates.profiles import speed_profiles
from forecast.planning.candidates.routes import STEP_M, arc_routes, lane_routes
from forecast.planning.ego import EgoState
from forecast.scene import LaneMap
from forecast.scene.arguments import whole_number, whole_steps
from forecast.scene.parsing import require_map_near

_OFFSET_M = 3.5
"""Largest lateral offset: the width of a lane to either side."""

_OVER_S = (1.5, 2.5, 4.0)
"""An offset is reached over the distance driven in these times at present speed, or over 8 m."""

_DENSITIES = (1, 2, 3)
_SAFETY = 0.97
"""Share of a limit that is used, because paths are sampled only every half metre."""


def candidates(
    ego: EgoState,
    n: int = 1000,
    lane_map: LaneMap | None = None,
    *,
    horizon_s: float = 6.0,
    dt_s: float = 0.5,
    limits: MotionLimits | None = None,
) -> NDArray[np.float64]:
    """Feasible plans for a car, spread evenly over what it can do.

    Paths follow the lanes ahead of the ego (`forecast.planning.candidates.routes`), or arcs if no
    lane is near. Each moves from its line to a lateral offset, which is a quintic polynomial of the
    distance driven. Each path is combined with speed profiles
    (`forecast.planning.candidates.profiles`). Combinations beyond the limits are left out.

    Source: lattices in the frame of a lane, Werling et al., "Optimal trajectory generation for
    dynamic street scenarios in a Frenet frame", ICRA 2010 (lateral offset over distance driven).

    Args:
        ego: The ego now.
        n: Number of plans.
        lane_map: Lanes in the frame of the ego.
        horizon_s: Length of the plans, a multiple of ``dt_s``.
        dt_s: Step length.
        limits: Default `MotionLimits`.

    Returns:
        Poses ``[P, T, 3]`` (x_m, y_m, heading_rad) of the ego's centre, the first one step from
        now. Plan 0 keeps the speed and the lane (or goes straight on, if that is not feasible),
        plan 1 brakes fully. P is n, or less if the limits allow fewer plans, for example to a
        standing car.

    Raises:
        ForecastError: ``n`` is below 2, the horizon is not a multiple of the step, or the map lies
            elsewhere.
    """
    limits = limits or MotionLimits()
    whole_number("n", n, least=2)
    steps = whole_steps("horizon_s", horizon_s, dt_s)
    require_map_near("candidates", lane_map, ego.pose[None, :2])
    plans = np.zeros((0, steps, 3))
    for density in _DENSITIES:
        plans = _lattice(ego, lane_map, limits, dt_s, steps, density)
        if len(plans) >= n:
            break
    spread = np.linspace(2, len(plans) - 1, min(n, len(plans)) - 2).round().astype(np.int64)
    return plans[np.concatenate([[0, 1], spread])]


def _lattice(
    ego: EgoState,
    lane_map: LaneMap | None,
    limits: MotionLimits,
    dt_s: float,
    steps: int,
    density: int,
) -> NDArray[np.float64]:
    """All feasible plans ``[P, T, 3]`` of a lattice; first keeping the speed, then full braking."""
    horizon_s = steps * dt_s
    time, distance, speed = speed_profiles(ego, limits, horizon_s, 12 * density, 3 * density)
    paths = _paths(ego, lane_map, limits, float(distance.max()) + 1, density)
    at_steps = np.arange(1, steps + 1) * dt_s
    driven = np.stack([np.interp(at_steps, time, row) for row in distance])  # [V, T]
    coarse = slice(None, None, 5)
    gentle = _gentle(paths[..., 3], distance[:, coarse], speed[:, coarse], limits)
    straight = len(paths) - 1
    keep, brake = ((0 if gentle[0, v] else straight, v) for v in (0, 1))
    gentle[0, :2] = False
    chosen = np.concatenate([[keep, brake], np.argwhere(gentle[:straight])])
    plans = _along(paths[..., :3], chosen[:, 0], driven[chosen[:, 1]])
    good = feasible(plans, ego, dt_s, limits)
    good[:2] = True
    return _distinct(plans[good])


def _distinct(plans: NDArray[np.float64]) -> NDArray[np.float64]:
    """The plans without those that equal an earlier one to 5 cm; the first two are kept."""
    flat = (plans[..., :2] / 0.05).round().astype(np.int32).reshape(len(plans), -1)
    _, first = np.unique(flat, axis=0, return_index=True)
    return plans[np.union1d([0, 1], first)]


def _paths(
    ego: EgoState, lane_map: LaneMap | None, limits: MotionLimits, length_m: float, density: int
) -> NDArray[np.float64]:
    """Paths ``[Q, S, 4]`` (x, y, heading, curvature) every `STEP_M`; the last is straight on."""
    straight = arc_routes(ego, limits, 1, length_m)
    lanes = [] if lane_map is None else lane_routes(ego, lane_map, length_m)
    lines = lanes or arc_routes(ego, limits, 6 * density + 1, length_m)
    wanted = np.linspace(-_OFFSET_M, _OFFSET_M, 6 * density + 1)
    over = [max(8.0, seconds * ego.speed_mps) for seconds in _OVER_S]
    paths = []
    for line in lines:
        held, leaning = _offset_now(ego, line)
        paths.append(_shifted(line, held, leaning, held, over[-1]))
        paths += [_shifted(line, held, leaning, to, way) for to in wanted for way in over]
    return np.stack([*paths, _shifted(straight[0], 0.0, 0.0, 0.0, over[0])])


def _offset_now(ego: EgoState, line_m: NDArray[np.float64]) -> tuple[float, float]:
    """Lateral offset of the ego from the start of a line, and its slope against the line."""
    heading = float(np.arctan2(*(line_m[1] - line_m[0])[::-1]))
    local = geometry.to_frame(np.array([ego.x_m, ego.y_m]), line_m[0], np.float64(heading))
    lean = float(geometry.wrap_angle(ego.heading_rad - heading))
    return float(local[1]), float(np.tan(np.clip(lean, -1.2, 1.2)))


def _shifted(
    line_m: NDArray[np.float64], start_m: float, slope: float, stop_m: float, over_m: float
) -> NDArray[np.float64]:
    """A path ``[S, 4]`` that leaves a line by a quintic from one offset to another."""
    along = np.arange(len(line_m)) * STEP_M
    share = np.clip(along / over_m, 0, 1)
    rise = share**3 * (10 - 15 * share + 6 * share**2)
    # The quintic with slope 1 at its start, and value, slope and curvature 0 at its end.
    lean = share * (1 - share) ** 3 * (1 + 3 * share)
    offset = start_m + (stop_m - start_m) * rise + slope * over_m * lean
    tangent = np.gradient(line_m, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], -1)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    points = line_m + offset[:, None] * normal
    spans = np.concatenate([[0], np.linalg.norm(np.diff(points, axis=0), axis=1).cumsum()])
    x, y = (np.interp(along, spans, points[:, i]) for i in range(2))
    x, y = _beyond(x, y, along, spans[-1])
    heading = np.unwrap(np.arctan2(np.gradient(y), np.gradient(x)))
    lean = np.arctan2(*(line_m[1] - line_m[0])[::-1]) + np.arctan(slope)
    heading[0] += geometry.wrap_angle(lean - heading[0])
    return np.stack([x, y, heading, np.gradient(heading) / STEP_M], -1)


def _beyond(
    x: NDArray[np.float64], y: NDArray[np.float64], along: NDArray[np.float64], length_m: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Extends a path straight; on the inside of a bend it is shorter than its line."""
    last = max(int(np.searchsorted(along, length_m, side="right")) - 1, 1)
    more = np.maximum(np.arange(len(x)) - last, 0)
    held = np.minimum(np.arange(len(x)), last)
    return (
        x[held] + more * (x[last] - x[last - 1]),
        y[held] + more * (y[last] - y[last - 1]),
    )


def _gentle(
    curvature: NDArray[np.float64],
    distance: NDArray[np.float64],
    speed: NDArray[np.float64],
    limits: MotionLimits,
) -> NDArray[np.bool_]:
    """Which profiles ``[V, G]`` keep the limits sideways on which paths ``[Q, S]``: ``[Q, V]``."""
    at = np.minimum(np.ceil(distance / STEP_M).astype(np.int64), curvature.shape[1] - 1)
    bend = np.abs(curvature)
    # Between two points the curvature is at most that of the sharper one.
    bend = np.maximum(bend, np.concatenate([bend[:, :1], bend[:, :-1]], axis=1))
    met = bend[:, at]  # [Q, V, G]
    sharp = met.max(-1) > _SAFETY * limits.curvature_per_m
    hard = (met * speed**2).max(-1) > _SAFETY * limits.lateral_mps2
    return ~(sharp | hard)


def _along(
    paths: NDArray[np.float64], path: NDArray[np.int64], driven_m: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Poses ``[P, T, 3]`` at distances ``[P, T]`` along the paths ``[P]`` of ``[Q, S, 3]``."""
    share = driven_m / STEP_M
    before = np.minimum(share.astype(np.int64), paths.shape[1] - 2)
    rest = (share - before)[..., None]
    start, stop = paths[path[:, None], before], paths[path[:, None], before + 1]
    return start + rest * (stop - start)
