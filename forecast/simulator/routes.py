"""Routes: polylines with equal spacing, packed so that one look-up serves all agents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast import geometry

SPACING_M = 0.5
"""Distance between the samples of every route."""


def sample(points_m: NDArray[Any], smoothing_m: float = 0.0) -> NDArray[np.float64]:
    """Samples poses at equal spacing along a polyline, with rounded corners.

    Args:
        points_m: Polyline ``[P, 2]``.
        smoothing_m: Length of the moving average that rounds the corners.

    Returns:
        Poses ``[N, 3]`` (x_m, y_m, heading_rad; the heading has no jumps).
    """
    count = max(round(geometry.polyline_length(points_m) / SPACING_M), 2) + 1
    fine = geometry.resample_polyline(points_m, count)
    half = round(smoothing_m / SPACING_M / 2)
    if half:
        # The moving average keeps both ends in place if the line is reflected there.
        head, tail = 2 * fine[0] - fine[half:0:-1], 2 * fine[-1] - fine[-2 : -half - 2 : -1]
        padded = np.concatenate([head, fine, tail])
        kernel = np.full(2 * half + 1, 1 / (2 * half + 1))
        smooth = [np.convolve(padded[:, i], kernel, mode="valid") for i in range(2)]
        fine = geometry.resample_polyline(np.stack(smooth, -1), count)
    step = np.diff(fine, axis=0)
    heading = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
    return np.column_stack([fine, np.append(heading, heading[-1])])


def pack(lines: Sequence[NDArray[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Packs routes into ``[A, N, D]`` and returns their lengths in metres ``[A]``, too.

    The last row of a short route is repeated.
    """
    longest = max(map(len, lines))
    rows = [np.concatenate([r, np.repeat(r[-1:], longest - len(r), axis=0)]) for r in lines]
    return np.stack(rows), np.array([(len(r) - 1) * SPACING_M for r in lines])


def at(routes: NDArray[Any], along_m: NDArray[Any]) -> NDArray[np.float64]:
    """Interpolates each agent's route at distances along it.

    Args:
        routes: ``[A, N, D]``.
        along_m: Distances from the start ``[A]`` or ``[A, W]``, clamped to the route.

    Returns:
        ``[A, D]`` or ``[A, W, D]``.
    """
    where = np.clip(along_m / SPACING_M, 0, routes.shape[1] - 1.001)
    low = where.astype(np.int64)
    rest = (where - low)[..., None]
    agent = np.arange(len(routes)).reshape((-1,) + (1,) * (along_m.ndim - 1))
    result: NDArray[np.float64] = routes[agent, low] * (1 - rest) + routes[agent, low + 1] * rest
    return result


def nearest(
    route: NDArray[Any], point_m: NDArray[Any], about_m: float = 0.0, within_m: float = np.inf
) -> float:
    """Returns the distance along one route ``[N, D]`` at which it is closest to a point.

    Args:
        route: The route.
        point_m: The point ``[2]``.
        about_m: Only the part of the route around this distance along it counts.
        within_m: Half the length of that part. A route may cross itself.
    """
    along = SPACING_M * np.arange(len(route))
    apart = np.hypot(*(route[:, :2] - point_m).T)
    return float(along[np.where(np.abs(along - about_m) <= within_m, apart, np.inf).argmin()])
