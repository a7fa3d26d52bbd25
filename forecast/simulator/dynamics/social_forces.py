"""Social forces on pedestrians: from each other, from vehicles and from the borders of their way.

The forces between pedestrians are the elliptical repulsion of Helbing and Molnár, "Social force
model for pedestrian dynamics", Physical Review E 51 (1995). It is weaker from behind. Every force
has a distance cutoff, beyond which it would be negligible.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.simulator import boxes, routes
from forecast.simulator.pairs import pairs_between, pairs_within, sum_by_owner
from forecast.simulator.population.pedestrians import Crowd

_REPULSION_M2PS2, _REPULSION_RANGE_M, _REPULSION_REACH_M = 2.1, 0.3, 3.0
_STEP_AHEAD_S = 1.0
_BEHIND_WEIGHT, _COS_VIEW = 0.5, float(np.cos(np.radians(100.0)))
_GROUP_REPULSION = 0.25
_BODY_M, _BODY_STIFFNESS_PS2 = 0.5, 25.0
_BORDER_M2PS2, _BORDER_RANGE_M = 0.6, 0.2
_VEHICLE_M2PS2, _VEHICLE_RANGE_M, _VEHICLE_REACH_M = 1.6, 0.4, 2.5

HALF_WALKWAY_M = 1.8
"""Pedestrians stay at about this distance from the middle of their way, or closer."""


def left(heading_rad: NDArray[Any]) -> NDArray[np.float64]:
    """Returns unit vectors ``[..., 2]`` to the left of headings."""
    return np.stack([-np.sin(heading_rad), np.cos(heading_rad)], -1)


def unit(heading_rad: NDArray[Any]) -> NDArray[np.float64]:
    """Returns unit vectors ``[..., 2]`` along headings."""
    return np.stack([np.cos(heading_rad), np.sin(heading_rad)], -1)


def from_people(
    crowd: Crowd,
    positions_m: NDArray[Any],
    velocities_mps: NDArray[Any],
    headings_rad: NDArray[Any],
) -> NDArray[np.float64]:
    """Returns elliptical repulsion and contact forces from nearby pedestrians, in m/s² ``[A, 2]``.

    Args:
        crowd: The pedestrians. Members of a group repel each other less.
        positions_m: ``[A, 2]``.
        velocities_mps: ``[A, 2]``.
        headings_rad: ``[A]``.
    """
    me, other = pairs_within(positions_m, _REPULSION_REACH_M)
    x, y = (positions_m[me] - positions_m[other]).T
    distance = np.maximum(np.hypot(x, y), 1e-6)
    # The ellipse has its foci where the other one is and where it will be after a step.
    step_x, step_y = _STEP_AHEAD_S * velocities_mps[other].T
    ahead_x, ahead_y = x - step_x, y - step_y
    ahead = np.maximum(np.hypot(ahead_x, ahead_y), 1e-6)
    total = distance + ahead
    minor = np.sqrt(np.maximum(total**2 - step_x**2 - step_y**2, 1e-4)) / 2
    strength = _REPULSION_M2PS2 / _REPULSION_RANGE_M * np.exp(-minor / _REPULSION_RANGE_M)
    strength *= total / (4 * minor)
    strength *= np.where(crowd.leaders[me] == crowd.leaders[other], _GROUP_REPULSION, 1.0)
    away_x, away_y = x / distance, y / distance
    facing_x, facing_y = unit(headings_rad[me]).T
    seen = -(away_x * facing_x + away_y * facing_y) > _COS_VIEW
    strength *= np.where(seen, 1.0, _BEHIND_WEIGHT)
    contact = _BODY_STIFFNESS_PS2 * np.maximum(_BODY_M - distance, 0.0)
    force_x = strength * (away_x + ahead_x / ahead) + contact * away_x
    force_y = strength * (away_y + ahead_y / ahead) + contact * away_y
    count = len(positions_m)
    return np.stack([sum_by_owner(force_x, me, count), sum_by_owner(force_y, me, count)], -1)


def from_vehicles(
    positions_m: NDArray[Any], cars: NDArray[Any], car_sizes_m: NDArray[Any]
) -> NDArray[np.float64]:
    """Returns the repulsion from vehicles, in m/s² ``[A, 2]``.

    Args:
        positions_m: Positions of the pedestrians ``[A, 2]``.
        cars: Poses of the vehicles ``[V, 3]``.
        car_sizes_m: Their length and width ``[V, 2]``.
    """
    reach = _VEHICLE_REACH_M + float(np.hypot(*car_sizes_m.T).max(initial=0.0)) / 2
    person, car = pairs_between(positions_m, cars[:, :2], reach)
    points, poses, sizes = positions_m[person], cars[car], car_sizes_m[car]
    gap = boxes.distances(points, poses, sizes) - 0.3
    strength = _VEHICLE_M2PS2 / _VEHICLE_RANGE_M
    strength = strength * np.exp(-np.maximum(gap, -0.5) / _VEHICLE_RANGE_M)
    strength *= gap < _VEHICLE_REACH_M
    push = strength[:, None] * boxes.directions(points, poses, sizes)
    count = len(positions_m)
    return np.stack([sum_by_owner(push[:, i], person, count) for i in range(2)], -1)


def from_borders(
    crowd: Crowd, positions_m: NDArray[Any], along_m: NDArray[Any]
) -> NDArray[np.float64]:
    """Returns the repulsion from the borders of the walkway or crosswalk, in m/s² ``[A, 2]``.

    Args:
        crowd: The pedestrians and their routes.
        positions_m: ``[A, 2]``.
        along_m: Progress on their routes ``[A]``.
    """
    poses = routes.at(crowd.routes, along_m)
    aside = left(poses[:, 2])
    offset = ((positions_m - poses[:, :2]) * aside).sum(-1)
    right_gap = np.maximum(HALF_WALKWAY_M + offset, -0.3)
    left_gap = np.maximum(HALF_WALKWAY_M - offset, -0.3)
    inward = np.exp(-right_gap / _BORDER_RANGE_M) - np.exp(-left_gap / _BORDER_RANGE_M)
    return (_BORDER_M2PS2 / _BORDER_RANGE_M * inward)[:, None] * aside
