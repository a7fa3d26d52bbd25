"""Plans of the ego by name: it brakes, keeps its speed, or drives as recorded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forecast.errors import require
from forecast.planning import EgoState, MotionLimits
from forecast.planning.candidates.profiles import speed_profiles
from forecast.scene import AgentKind, Scene
from forecast.scene.arguments import whole_steps
from forecast.scene.resampling import Resampling

BRAKE, KEEP, RECORDED = "brake", "keep", "recorded"

TITLES = {
    BRAKE: "The car brakes",
    KEEP: "The car does not brake",
    RECORDED: "The car drives as recorded",
}
"""The plans by name, and what is written above their pictures."""

_BRAKING_MPS2 = 4.0
"""Firm braking; an emergency stop is twice as hard."""

_DRIVES_MPS = 0.5
"""A slower ego has nothing to brake."""

_MOVES_M = 0.3
"""Recorded positions closer together do not determine the direction of a path."""


def ego_plan(
    name: str, scene: Scene, at: int, horizon_s: float, dt_s: float
) -> NDArray[np.float64]:
    """A plan of the ego.

    A braking ego and one that keeps its speed drive along the recorded path, and straight on where
    it ends.

    Args:
        name: One of `TITLES`.
        scene: The scene.
        at: Index of the step from which the plan starts.
        horizon_s: Length of the plan, a multiple of ``dt_s``.
        dt_s: Time between its poses.

    Returns:
        x in m, y in m, heading in rad ``[T, 3]`` in the scene's frame; the first is ``dt_s`` after
        the step.

    Raises:
        ForecastError: The scene has no ego at the step, it stands, or its recorded path is shorter
            than the plan.
    """
    ego = EgoState.of(scene, at)
    steps = whole_steps("horizon_s", horizon_s, dt_s)
    at_s = np.arange(1, steps + 1) * dt_s
    if name == RECORDED:
        return _recorded(scene, at, at_s)
    drives = ego.speed_mps >= _DRIVES_MPS
    item = f"{scene.id}: speed of the ego at {at * scene.dt_s:g} s"
    require(drives, item, f"{ego.speed_mps:.1f} m/s", f"{_DRIVES_MPS:g} m/s or more for a plan")
    limits = MotionLimits(braking_mps2=_BRAKING_MPS2)
    times, distances, _ = speed_profiles(ego, limits, horizon_s, speeds=2, forces=1)
    row = {KEEP: 0, BRAKE: 1}[name]
    return _along(_path(scene, at, ego), np.interp(at_s, times, distances[row]))


def _recorded(scene: Scene, at: int, at_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """The recorded poses at some seconds after a step ``[T, 3]``."""
    tracks = scene.tracks.select(scene.tracks.kinds == AgentKind.EGO)
    wanted_us = scene.timestamps_us[at] + np.round(at_s * 1e6).astype(np.int64)
    step_us = max(scene.dt_s, at_s[0]) * 1e6
    way = Resampling.at(wanted_us, scene.timestamps_us, tracks.valid, step_us)
    known_s = float(at_s[way.valid[0]].max(initial=0.0))
    item = f"{scene.id}: recorded path of the ego after {at * scene.dt_s:g} s"
    require(bool(way.valid.all()), item, f"{known_s:g} s long", f"one of {at_s[-1]:g} s")
    places = way.values(tracks.positions_m.astype(np.float64))[0]
    return np.column_stack([places, way.angles(tracks.headings_rad.astype(np.float64))[0]])


def _path(scene: Scene, at: int, ego: EgoState) -> NDArray[np.float64]:
    """The ego's recorded way from a step on ``[P, 3]``, straight on at its end."""
    tracks = scene.tracks
    row = int(np.flatnonzero(tracks.kinds == AgentKind.EGO)[0])
    ahead = np.flatnonzero(tracks.valid[row, at + 1 :]) + at + 1
    points = [ego.pose]
    for place, heading in zip(
        tracks.positions_m[row, ahead], tracks.headings_rad[row, ahead], strict=True
    ):
        if np.hypot(*(place - points[-1][:2])) >= _MOVES_M:
            points.append(np.array([*place, heading], np.float64))
    path = np.stack(points)
    path[:, 2] = np.unwrap(path[:, 2])
    far = 1000.0 * np.array([np.cos(path[-1, 2]), np.sin(path[-1, 2]), 0.0])
    return np.concatenate([path, path[-1:] + far])


def _along(path: NDArray[np.float64], driven_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Poses ``[T, 3]`` at distances ``[T]`` along a path ``[P, 3]``."""
    lengths = np.linalg.norm(np.diff(path[:, :2], axis=0), axis=1)
    along = np.concatenate([[0.0], lengths.cumsum()])
    return np.column_stack([np.interp(driven_m, along, path[:, i]) for i in range(3)])
