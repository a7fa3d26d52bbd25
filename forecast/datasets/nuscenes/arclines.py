"""Arc-line paths: the curves of the lanes in the nuScenes map expansion.

An arc-line path is a Dubins path. It has three segments in a row. Each is a left turn, a right turn
or straight, and all turns have the same radius.

Sources: Dubins 1957, "On Curves of Minimal Length with a Constraint on Average Curvature"; nuScenes
map expansion, ``arcline_path_utils``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TURN_SIGN = {"L": 1.0, "S": 0.0, "R": -1.0}
"""Sign of the curvature of each segment, by its letter in a path's shape, such as ``LSR``."""

CHORD_ERROR_M = 0.01
"""Largest distance of a discretised path from its arc. It sets the distance between points."""


def discretize(
    start_poses: NDArray[np.float64],
    turns: NDArray[np.float64],
    radii_m: NDArray[np.float64],
    lengths_m: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Discretises arc-line paths: the start, the end of each segment, and points on its arc.

    Args:
        start_poses: x, y, heading at the start of each path ``[N, 3]``.
        turns: `TURN_SIGN` of each path's segments ``[N, 3]``.
        radii_m: Turn radius of each path ``[N]``.
        lengths_m: Lengths of each path's segments ``[N, 3]``.

    Returns:
        Points ``[P, 2]``, path after path, and the index of the path of each point ``[P]``.
    """
    curvature = turns / radii_m[:, None]
    poses = [start_poses, start_poses]
    for segment in range(2):
        poses.append(_advance(poses[-1], curvature[:, segment], lengths_m[:, segment]))
    # The start is a fourth segment of length 0 before the others.
    pose = np.stack(poses, axis=1).reshape(-1, 3)
    bend = np.pad(curvature, ((0, 0), (1, 0))).ravel()
    length = np.pad(lengths_m, ((0, 0), (1, 0))).ravel()
    pieces = np.ceil(length * np.sqrt(np.abs(bend) / (8 * CHORD_ERROR_M))).astype(np.int64)
    pieces = np.maximum(pieces, length > 0)
    pieces[::4] = 1
    segment_of = np.repeat(np.arange(len(pieces)), pieces)
    piece = np.arange(len(segment_of)) - (np.cumsum(pieces) - pieces)[segment_of] + 1
    along = (length / np.maximum(pieces, 1))[segment_of] * piece
    return _advance(pose[segment_of], bend[segment_of], along)[:, :2], segment_of // 4


def _advance(
    pose: NDArray[np.float64], curvature: NDArray[np.float64], length_m: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns the poses ``[N, 3]`` at the ends of arcs of constant curvature (0 is straight)."""
    half_turn = curvature * length_m / 2
    chord = length_m * np.sinc(half_turn / np.pi)
    direction = pose[:, 2] + half_turn
    x, y = pose[:, 0] + chord * np.cos(direction), pose[:, 1] + chord * np.sin(direction)
    return np.stack([x, y, pose[:, 2] + 2 * half_turn], axis=-1)
