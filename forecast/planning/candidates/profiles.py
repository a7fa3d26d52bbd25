"""Speed profiles: distance along the path over time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forecast.planning.candidates.limits import MotionLimits
from forecast.planning.ego import EgoState

_GRID_S = 0.02


def speed_profiles(
    ego: EgoState, limits: MotionLimits, horizon_s: float, speeds: int, forces: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Changes of speed within the limits, each as quick as its peak and the jerk allow.

    The acceleration ramps to a peak, stays there, and ramps back to 0 when the target speed is
    reached: the time-optimal change of speed under a limit of jerk.

    Args:
        ego: The ego now.
        limits: Limits of the motion.
        horizon_s: Length of the profiles.
        speeds: Number of target speeds from 0 to the highest.
        forces: Number of peak accelerations, up to full acceleration and full braking.

    Returns:
        Times ``[G]``, distances ``[V, G]`` and speeds ``[V, G]``; profile 0 keeps the speed,
        profile 1 brakes fully.
    """
    top = max(limits.speed_mps, ego.speed_mps)
    share = np.geomspace(0.1, 1.0, forces) if forces > 1 else np.ones(1)
    target, force = (a.ravel() for a in np.meshgrid(np.linspace(0, top, speeds), share))
    target = np.concatenate([[ego.speed_mps, 0.0], target])
    force = np.concatenate([[1.0, 1.0], force])
    time = np.arange(0.0, horizon_s + _GRID_S, _GRID_S)
    speed = _changes(ego, limits, target, force, time)
    middle = (speed[:, 1:] + speed[:, :-1]) / 2
    distance = np.concatenate([np.zeros((len(speed), 1)), middle.cumsum(1) * _GRID_S], axis=1)
    _, first = np.unique(distance[:, ::10].round(1), axis=0, return_index=True)
    kept = np.unique(np.concatenate([[0, 1], first]))
    return time, distance[kept], speed[kept]


def _changes(
    ego: EgoState,
    limits: MotionLimits,
    target_mps: NDArray[np.float64],
    force: NDArray[np.float64],
    time_s: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Speeds ``[V, G]`` of changes to targets ``[V]`` with shares ``[V]`` of the full peak."""
    jerk, speed = limits.jerk_mps3, ego.speed_mps
    # A deceleration that cannot end before standstill is a measurement error or ends in a jolt.
    now = max(ego.acceleration_mps2, -np.sqrt(2 * jerk * speed))
    sign = np.where(target_mps >= speed + now * abs(now) / (2 * jerk), 1.0, -1.0)
    change, start = sign * (target_mps - speed), sign * now
    full = np.where(sign > 0, limits.acceleration_mps2, limits.braking_mps2)
    without_hold = np.sqrt(np.maximum(2 * jerk * change + start**2, 0) / 2)
    peak = np.maximum(np.minimum(force * full, without_hold), np.maximum(start, 0))
    left = change - (2 * peak**2 - start**2) / (2 * jerk)
    hold = np.where(peak > 1e-9, np.maximum(left, 0) / np.maximum(peak, 1e-9), 0.0)
    ramp_s = (peak - start) / jerk
    after = time_s - ramp_s[:, None] - hold[:, None]
    rising = start[:, None] + jerk * time_s
    acceleration = np.minimum(rising, peak[:, None])
    acceleration = np.where(after > 0, peak[:, None] - jerk * after, acceleration)
    acceleration = sign[:, None] * np.where(after > 0, np.maximum(acceleration, 0), acceleration)
    middle = (acceleration[:, 1:] + acceleration[:, :-1]) / 2
    gained = np.concatenate([np.zeros((len(sign), 1)), middle.cumsum(1) * _GRID_S], axis=1)
    return np.maximum(speed + gained, 0.0)
