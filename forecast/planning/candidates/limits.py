"""Limits of a car's motion, and whether a plan keeps them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecast.errors import require
from forecast.planning.ego import EgoState
from forecast.planning.plan_poses import require_places

_TOLERANCE = 0.03
"""Tolerance: finite differences of poses may exceed a limit of the smooth motion by this share."""

_STILL_M = 0.05
"""A shorter step does not determine the direction of motion."""


@dataclass(frozen=True)
class MotionLimits:
    """Limits of the motion of a passenger car.

    Attributes:
        speed_mps: Highest speed to aim for; an ego that is faster may keep its speed.
        acceleration_mps2: Highest acceleration forward.
        braking_mps2: Highest deceleration; 8 m/s^2 is an emergency stop on a dry road.
        jerk_mps3: Highest change of acceleration; 15 m/s^3 is an emergency's.
        lateral_mps2: Highest acceleration sideways.
        curvature_per_m: Highest curvature of the path; 0.2 is a turning circle of 5 m radius.
    """

    speed_mps: float = 16.7
    acceleration_mps2: float = 3.0
    braking_mps2: float = 8.0
    jerk_mps3: float = 15.0
    lateral_mps2: float = 4.0
    curvature_per_m: float = 0.2

    def __post_init__(self) -> None:
        """Checks the limits; raises `ForecastError`."""
        for name, value in vars(self).items():
            require(value > 0, name, value, "a number above 0")


def feasible(
    plans: NDArray[np.float64], ego: EgoState, dt_s: float, limits: MotionLimits | None = None
) -> NDArray[np.bool_]:
    """Whether each plan keeps the limits, as far as its poses show ``[P]``.

    Speeds, accelerations, jerks and curvatures are finite differences, that is means over steps,
    which never exceed those of the motion. The heading must agree with the direction of motion.

    Args:
        plans: Poses ``[P, T, 3]`` of the ego's centre.
        ego: The ego now.
        dt_s: Step length.
        limits: Default `MotionLimits`.

    Raises:
        ForecastError: The plans are of another shape, not finite, or no place on Earth.
    """
    require_places(plans)
    limits = limits or MotionLimits()
    now = np.broadcast_to(ego.pose, (len(plans), 1, 3))
    poses = np.concatenate([now, plans], axis=1)
    step = np.diff(poses[..., :2], axis=1)
    length = np.linalg.norm(step, axis=-1)
    heading = np.unwrap(poses[..., 2], axis=1)
    turn, middle = np.abs(np.diff(heading, axis=1)), (heading[:, 1:] + heading[:, :-1]) / 2
    speed = length / dt_s
    acceleration = np.diff(speed, axis=1) / dt_s
    jerk = np.diff(acceleration, axis=1) / dt_s
    bends = limits.curvature_per_m * length + 1e-3
    sideways = speed * turn / dt_s
    direction = np.arctan2(step[..., 1], step[..., 0])
    slip = np.abs((direction - middle + np.pi) % (2 * np.pi) - np.pi)
    top = max(limits.speed_mps, ego.speed_mps + _wind_up(ego, limits))
    more = 1 + _TOLERANCE
    return np.all(
        [
            (speed <= top * more).all(1),
            (acceleration <= limits.acceleration_mps2 * more + 1e-2).all(1),
            (acceleration >= -limits.braking_mps2 * more - 1e-2).all(1),
            (np.abs(jerk) <= limits.jerk_mps3 * more + 1e-2).all(1),
            (turn <= bends * more).all(1),
            (sideways <= limits.lateral_mps2 * more + 1e-2).all(1),
            ((slip <= 0.1) | (length < _STILL_M)).all(1),
        ],
        axis=0,
    )


def _wind_up(ego: EgoState, limits: MotionLimits) -> float:
    """Speed that the ego still gains while its acceleration falls to 0 at the limit of jerk."""
    return max(ego.acceleration_mps2, 0.0) ** 2 / (2 * limits.jerk_mps3)
