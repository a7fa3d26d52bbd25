"""SE(2) frames, angles and polylines.

A pose is ``(x_m, y_m, heading_rad)``; frames are x forward, y left, angles counter-clockwise.
Functions with arguments of type `Array` take numpy arrays or torch tensors, and return the same
type. The others take numpy arrays.
"""

from __future__ import annotations

import sys
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

MIN_MOVE_M = 0.38164
"""Shortest movement that tells the heading of an agent. 0.4 m was chosen on mini_train and
teaser_val among 0.05 to 0.6 m: shorter ones take the jitter of standing people for movement. This
is a little less, and no distance between two points on a grid of 0.01 m. Trackers that round
positions give many movements of exactly 0.4 m, about which a rotation of the scene would decide."""

Array = TypeVar("Array", bound=Any)
"""A numpy array or a torch tensor."""


def _namespace(array: Any) -> Any:
    """Returns torch for a tensor and numpy for anything else, without importing torch."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and isinstance(array, torch.Tensor) else np


def wrap_angle(angle_rad: Array) -> Array:
    """Wraps angles ``[...]`` in radians into ``[-pi, pi)``."""
    return (angle_rad + np.pi) % (2 * np.pi) - np.pi


def rotate(xy: Array, angle_rad: Array) -> Array:
    """Rotates vectors counter-clockwise.

    Args:
        xy: Vectors ``[..., 2]``.
        angle_rad: Angles that broadcast against ``xy[..., 0]``.

    Returns:
        Vectors ``[..., 2]``.
    """
    xp = _namespace(xy)
    cos, sin = xp.cos(angle_rad), xp.sin(angle_rad)
    x, y = xy[..., 0], xy[..., 1]
    return xp.stack([cos * x - sin * y, sin * x + cos * y], -1)


def to_frame(xy: Array, origin_m: Array, heading_rad: Array) -> Array:
    """Expresses points of the outer frame in the frame at ``origin_m`` facing ``heading_rad``.

    Args:
        xy: Points ``[..., 2]`` in metres.
        origin_m: Frame origins that broadcast against ``xy``.
        heading_rad: Frame headings that broadcast against ``xy[..., 0]``.

    Returns:
        Points ``[..., 2]`` in metres.
    """
    return rotate(xy - origin_m, -heading_rad)


def from_frame(xy: Array, origin_m: Array, heading_rad: Array) -> Array:
    """Inverse of `to_frame`."""
    return rotate(xy, heading_rad) + origin_m


def distances(a_m: NDArray[Any], b_m: NDArray[Any]) -> NDArray[Any]:
    """Distances ``[N, M]`` between points ``[N, 2]`` and other points ``[M, 2]``, in metres."""
    # A norm over [N, M, 2] gives the same bits in three times the time.
    x, y = (a_m[:, None, axis] - b_m[:, axis] for axis in (0, 1))
    return np.sqrt(x * x + y * y)


def backward_velocity(
    positions_m: NDArray[Any], valid: NDArray[np.bool_], dt_s: float
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Velocity from the previous step to this one; no later step is used.

    Args:
        positions_m: Positions ``[..., T, 2]``.
        valid: Which positions exist ``[..., T]``.
        dt_s: Step length in seconds.

    Returns:
        Velocities in m/s ``[..., T, 2]``, 0 where unknown, and where they are known ``[..., T]``.
    """
    known = np.zeros_like(valid)
    known[..., 1:] = valid[..., 1:] & valid[..., :-1]
    velocity = np.zeros_like(positions_m)
    velocity[..., 1:, :] = np.diff(positions_m, axis=-2) / dt_s
    return np.where(known[..., None], velocity, 0), known


def motion_headings(
    positions_m: NDArray[Any],
    valid: NDArray[np.bool_],
    observed: int = 0,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Headings from positions: the direction of the latest movement so far.

    An agent has moved when it is at least `MIN_MOVE_M` from where it last had, or from where it
    was first observed. So jitter of a standing agent is no movement, at any rate of frames.

    Args:
        positions_m: Positions ``[A, T, 2]``.
        valid: Which positions exist ``[A, T]``.
        observed: Number of history steps. An agent that first moves within them has the heading of
            that movement before it, too.

    Returns:
        Headings ``[A, T]`` in radians, 0 before any known movement; and where they are known
        ``[A, T]``.
    """
    agents, steps = valid.shape
    headings = np.zeros((steps, agents), np.float32)
    moves = np.zeros((steps, agents), bool)
    first = np.take_along_axis(positions_m, valid.argmax(axis=1)[:, None, None], axis=1)[:, 0]
    last, heading = first.astype(np.float64), np.zeros(agents)
    for step in range(steps):
        x, y = (positions_m[:, step] - last).T
        moves[step] = valid[:, step] & (np.hypot(x, y) >= MIN_MOVE_M)
        heading = np.where(moves[step], np.arctan2(y, x), heading)
        last = np.where(moves[step][:, None], positions_m[:, step], last)
        headings[step] = heading
    known = np.logical_or.accumulate(moves, axis=0)
    if known[:observed].any():
        began = known[:observed].any(axis=0)
        earlier = headings[moves.argmax(axis=0), np.arange(agents)]
        headings = np.where(~known & began, earlier, headings)
        known = known | began
    return np.ascontiguousarray(headings.T), np.ascontiguousarray(known.T)


def step_headings(
    positions_m: NDArray[Any], start_rad: NDArray[Any], min_step_m: float = 0.05
) -> NDArray[np.float32]:
    """Headings during the steps of paths: the direction of the latest movement.

    Args:
        positions_m: Paths ``[..., T + 1, 2]``.
        start_rad: Headings before the first movement, which broadcast against ``[...]``.
        min_step_m: A shorter step is no movement.

    Returns:
        Headings ``[..., T]`` in radians.
    """
    step = np.diff(positions_m, axis=-2)
    moved = np.hypot(step[..., 0], step[..., 1]) >= min_step_m
    last = np.maximum.accumulate(np.where(moved, np.arange(moved.shape[-1]), -1), axis=-1)
    heading = np.arctan2(step[..., 1], step[..., 0])
    held = np.take_along_axis(heading, np.maximum(last, 0), axis=-1)
    return np.where(last >= 0, held, np.asarray(start_rad)[..., None]).astype(np.float32)


def resample_polyline(points_m: NDArray[Any], count: int) -> NDArray[np.float64]:
    """Points at equal arc length along a polyline, both ends included.

    Args:
        points_m: Polyline ``[P, 2]`` with ``P >= 2``.
        count: Number of points to return, at least 2.

    Returns:
        Points ``[count, 2]``.
    """
    steps = np.hypot(*np.diff(points_m, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    at = np.linspace(0.0, along[-1], count)
    return np.stack([np.interp(at, along, points_m[:, i]) for i in range(2)], axis=-1)


def polyline_length(points_m: NDArray[Any]) -> float:
    """Length in metres of a polyline ``[P, 2]``."""
    return float(np.hypot(*np.diff(points_m, axis=0).T).sum())
