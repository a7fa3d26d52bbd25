"""Visibility: how much of each agent is hidden from the ego by vehicles and buildings.

Rays in the plane lead from the ego to points across the width of each agent. A box or a wall on the
way hides the point.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

RAYS = 7
_BINS = (0.4, 0.6, 0.8)


def visible_share(
    eyes_m: NDArray[Any],
    poses: NDArray[Any],
    sizes_m: NDArray[Any],
    occluder_poses: NDArray[Any],
    occluder_sizes_m: NDArray[Any],
    ignored: NDArray[Any],
    walls: Any,
) -> NDArray[np.float64]:
    """Returns the visible share of each box: the share of its rays that are not blocked ``[N]``.

    Args:
        eyes_m: Positions of the observer of each box ``[N, 2]``.
        poses: Poses of the boxes ``[N, 3]``.
        sizes_m: Their length and width ``[N, 2]``.
        occluder_poses: Poses of the occluders at the moment of each box ``[N, O, 3]``.
        occluder_sizes_m: Their length and width ``[O, 2]``.
        ignored: Whether an occluder does not count: it is the box itself, or absent ``[N, O]``.
        walls: Prepared shapely geometry that blocks rays, too, or None.
    """
    sight = poses[:, :2] - eyes_m
    turn = poses[:, 2] - np.arctan2(sight[:, 1], sight[:, 0])
    half = np.abs(sizes_m[:, 0] * np.sin(turn)) + np.abs(sizes_m[:, 1] * np.cos(turn))
    across = np.stack([-sight[:, 1], sight[:, 0]], -1) / np.hypot(*sight.T)[:, None]
    offsets = np.linspace(-0.45, 0.45, RAYS)
    ends = poses[:, None, :2] + (half[:, None] * offsets)[..., None] * across[:, None]  # [N, R, 2]
    hidden = np.zeros(ends.shape[:2], bool)
    for i in range(len(occluder_sizes_m)):
        between = _crosses(eyes_m[:, None], ends, occluder_poses[:, i, None], occluder_sizes_m[i])
        hidden |= between & ~ignored[:, i, None]
    if walls is not None:
        starts = np.broadcast_to(eyes_m[:, None], ends.shape)
        rays = shapely.linestrings(np.stack([starts, ends], -2))
        hidden |= shapely.intersects(walls, rays)
    share: NDArray[np.float64] = 1 - hidden.mean(axis=1)
    return share


def visibility_bins(share: NDArray[Any]) -> NDArray[np.int64]:
    """Returns the visibility bins of nuScenes, 1 to 4, of visible shares ``[N]``."""
    return np.searchsorted(_BINS, share, side="right") + 1


def _crosses(
    starts_m: NDArray[Any], ends_m: NDArray[Any], poses: NDArray[Any], size_m: NDArray[Any]
) -> NDArray[np.bool_]:
    """Returns whether segments pass through boxes: the slab test in the frame of each box."""
    cos, sin = np.cos(poses[..., 2]), np.sin(poses[..., 2])
    enter, leave = np.zeros(ends_m.shape[:-1]), np.ones(ends_m.shape[:-1])
    x, y = (starts_m - poses[..., :2]).transpose(2, 0, 1)
    step_x, step_y = (ends_m - starts_m).transpose(2, 0, 1)
    axes = (
        (cos * x + sin * y, cos * step_x + sin * step_y, size_m[0] / 2),
        (cos * y - sin * x, cos * step_y - sin * step_x, size_m[1] / 2),
    )
    for origin, step, half in axes:
        step = np.where(np.abs(step) < 1e-9, 1e-9, step)
        first, second = (-half - origin) / step, (half - origin) / step
        enter = np.maximum(enter, np.minimum(first, second))
        leave = np.minimum(leave, np.maximum(first, second))
    crossed: NDArray[np.bool_] = enter < leave
    return crossed
