"""Poses of the ego along a path that somebody has drawn."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicHermiteSpline

from forecast import geometry
from forecast.errors import require
from forecast.planning import EgoState

Floats = NDArray[np.float64]

_SPACING_M = 0.5
_LEAST_GAP_M = 2.0
"""Drawn points nearer to the one before are left out: they are noise of the pointer."""

_SPEED_UP_MPS2, _SLOW_DOWN_MPS2, _SIDEWAYS_MPS2 = 2.0, 4.0, 3.0


def drive_along(
    path_m: ArrayLike, ego: EgoState, speed_mps: float, steps: int, dt_s: float
) -> Floats:
    """Poses ``[T, 3]`` of the ego on a smooth curve through drawn points, then straight on.

    The curve starts at the ego, along its heading. The ego approaches the wished speed with at most
    2 m/s^2 (4 m/s^2 when it is too fast), and slows down before bends.

    Args:
        path_m: Drawn points ``[P, 2]`` in the frame of the ego.
        ego: The ego now.
        speed_mps: The wished speed.
        steps: Number of poses T.
        dt_s: Time between them.

    Raises:
        ForecastError: No point is as far as 2 m from the ego.
    """
    points = _thinned(np.asarray(path_m, np.float64), ego)
    require(len(points) > 1, "length of the drawn plan", "below 2 m", "a longer one")
    line = _curve(points, ego, reach_m=max(ego.speed_mps, speed_mps) * steps * dt_s + 5)
    driven = _driven(line, ego.speed_mps, speed_mps, steps, dt_s)
    along = np.arange(len(line)) * _SPACING_M
    heading = np.unwrap(np.arctan2(np.gradient(line[:, 1]), np.gradient(line[:, 0])))
    heading += 2 * np.pi * round((ego.heading_rad - heading[0]) / (2 * np.pi))
    columns = [np.interp(driven, along, values) for values in (*line.T, heading)]
    return np.stack(columns, -1)


def _thinned(path_m: Floats, ego: EgoState) -> Floats:
    """The ego's place and the drawn points that are far enough from the one before."""
    kept = [ego.pose[:2]]
    for point in path_m:
        if np.linalg.norm(point - kept[-1]) >= _LEAST_GAP_M:
            kept.append(point)
    return np.stack(kept)


def _curve(points_m: Floats, ego: EgoState, reach_m: float) -> Floats:
    """Points ``[S, 2]`` every half metre on a spline, continued straight up to a length."""
    gaps = np.linalg.norm(np.diff(points_m, axis=0), axis=1)
    at = np.append(0, gaps.cumsum())
    slopes = np.gradient(points_m, at, axis=0) if len(at) > 2 else np.diff(points_m, axis=0) / gaps
    slopes = np.resize(slopes, points_m.shape)
    slopes /= np.maximum(np.linalg.norm(slopes, axis=1, keepdims=True), 1e-9)
    slopes[0] = math.cos(ego.heading_rad), math.sin(ego.heading_rad)
    fine = CubicHermiteSpline(at, points_m, slopes)(np.linspace(0, at[-1], int(at[-1] * 10) + 2))
    length = geometry.polyline_length(fine)
    line = geometry.resample_polyline(fine, max(int(length / _SPACING_M), 1) + 1)
    way = (line[-1] - line[-2]) / np.linalg.norm(line[-1] - line[-2])
    more = np.arange(1, max(int((reach_m - length) / _SPACING_M), 0) + 2)[:, None]
    return np.concatenate([line, line[-1] + more * _SPACING_M * way])


def _driven(line_m: Floats, now_mps: float, wished_mps: float, steps: int, dt_s: float) -> Floats:
    """Distances ``[T]`` along a line at the steps."""
    heading = np.unwrap(np.arctan2(*np.diff(line_m, axis=0).T[::-1]))
    bend = np.abs(np.gradient(heading)) / _SPACING_M
    most = np.minimum(wished_mps, np.sqrt(_SIDEWAYS_MPS2 / np.maximum(bend, 1e-6)))
    for i in range(len(most) - 2, -1, -1):  # slow enough for the bends ahead
        most[i] = min(most[i], math.sqrt(most[i + 1] ** 2 + 2 * _SLOW_DOWN_MPS2 * _SPACING_M))
    fine, distance, speed = 10, 0.0, now_mps
    driven = []
    for _ in range(steps):
        for _ in range(fine):
            aim = most[min(int(distance / _SPACING_M), len(most) - 1)]
            gain = np.clip(
                aim - speed, -_SLOW_DOWN_MPS2 * dt_s / fine, _SPEED_UP_MPS2 * dt_s / fine
            )
            distance += (speed + gain / 2) * dt_s / fine
            speed += gain
        driven.append(distance)
    return np.array(driven)
