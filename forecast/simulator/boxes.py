"""Distances between points and oriented boxes, such as vehicles seen from above."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Written in x and y: reductions over a last axis of length 2 would take most of the run time.


def distances(
    points_m: NDArray[Any], poses: NDArray[Any], sizes_m: NDArray[Any]
) -> NDArray[np.float64]:
    """Returns the signed distances of points from boxes: negative inside.

    Args:
        points_m: Points ``[..., 2]``.
        poses: Box poses ``[..., 3]`` (x_m, y_m, heading_rad) that broadcast against the points.
        sizes_m: Length and width ``[..., 2]``, likewise.

    Returns:
        Distances ``[...]``; inside a box, minus the distance to its nearest side.
    """
    beyond_x, beyond_y, _, _ = _beyond(points_m, poses, sizes_m)
    outside = np.hypot(np.maximum(beyond_x, 0), np.maximum(beyond_y, 0))
    result: NDArray[np.float64] = outside + np.minimum(np.maximum(beyond_x, beyond_y), 0)
    return result


def directions(
    points_m: NDArray[Any], poses: NDArray[Any], sizes_m: NDArray[Any]
) -> NDArray[np.float64]:
    """Returns unit vectors ``[..., 2]`` from boxes to points; inside, to the nearest side.

    The arguments are those of `distances`.
    """
    beyond_x, beyond_y, right, up = _beyond(points_m, poses, sizes_m)
    inside = np.maximum(beyond_x, beyond_y) <= 0
    x = np.where(inside, beyond_x >= beyond_y, np.maximum(beyond_x, 0)) * right
    y = np.where(inside, beyond_x < beyond_y, np.maximum(beyond_y, 0)) * up
    length = np.hypot(x, y)
    cos, sin = np.cos(poses[..., 2]) / length, np.sin(poses[..., 2]) / length
    return np.stack([cos * x - sin * y, sin * x + cos * y], -1)


def _beyond(
    points_m: NDArray[Any], poses: NDArray[Any], sizes_m: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Returns how far points lie beyond the sides of boxes, along and across, and on which side.

    The first two results are negative between the sides; the last two are signs.
    """
    x, y = points_m[..., 0] - poses[..., 0], points_m[..., 1] - poses[..., 1]
    cos, sin = np.cos(poses[..., 2]), np.sin(poses[..., 2])
    along, across = cos * x + sin * y, cos * y - sin * x
    beyond_x = np.abs(along) - sizes_m[..., 0] / 2
    beyond_y = np.abs(across) - sizes_m[..., 1] / 2
    return beyond_x, beyond_y, np.where(along < 0, -1.0, 1.0), np.where(across < 0, -1.0, 1.0)
