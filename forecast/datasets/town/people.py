"""How people move: a social-force model with routes, groups, kerbs, pauses and drifting will.

The forces are those of Helbing and Molnár, "Social force model for pedestrian dynamics", Physical
Review E 51 (1995): relaxation to a desired velocity, elliptical repulsion between people that is
weaker behind one's back, repulsion from borders and obstacles. What a person wants drifts as
Ornstein-Uhlenbeck processes in speed, heading and side of the walkway; this smooth drift, not
avoidance, is what makes real pedestrians hard to extrapolate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast import geometry
from forecast.datasets.town import boxes, routes, streams
from forecast.datasets.town.crowd import Crossings, Crowd

_RELAXATION_S = 0.5
_REPULSION_M2PS2, _REPULSION_RANGE_M = 2.1, 0.3
_STEP_AHEAD_S = 1.0
_BEHIND_WEIGHT, _COS_VIEW = 0.5, float(np.cos(np.radians(100.0)))
_BORDER_M2PS2, _BORDER_RANGE_M = 0.6, 0.2
_VEHICLE_M2PS2, _VEHICLE_RANGE_M = 1.6, 0.4
_GROUP_REPULSION = 0.25
_BODY_M, _BODY_STIFFNESS_PS2 = 0.5, 25.0
_MAX_ACCELERATION_MPS2 = 4.0

_DRIFT_SPREAD = np.array([0.15, 0.12, 0.35])
"""Standard deviations of log speed, heading (rad) and lateral offset (m)."""
_DRIFT_TIME_S = np.array([3.0, 2.5, 5.0])
_DRIFT_SHARED = 0.9
"""Correlation of the drift within a group."""

_LOOK_AHEAD_M = 4.0
_HALF_WALKWAY_M = 1.8
_KERB_LOOK_M = 4.0
_COHESION_PER_M = 0.35


@dataclass(frozen=True, eq=False)
class PeopleState:
    """Where people are and what they are up to.

    Attributes:
        positions_m: ``[A, 2]``.
        velocities_mps: ``[A, 2]``.
        headings_rad: ``[A]``.
        along_m: Progress on their routes ``[A]``.
        drift: The three drift processes, unit variance ``[A, 3]``.
        paused_s: Time spent in the pause so far ``[A]``.
        waited_s: Time spent at the kerb ``[A]``.
        decided: How many of their crossings they have decided to walk ``[A]``.
    """

    positions_m: NDArray[np.float64]
    velocities_mps: NDArray[np.float64]
    headings_rad: NDArray[np.float64]
    along_m: NDArray[np.float64]
    drift: NDArray[np.float64]
    paused_s: NDArray[np.float64]
    waited_s: NDArray[np.float64]
    decided: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Intent:
    """What each person is about to cross; drivers and the gap test read it.

    Attributes:
        crossing: Index of the crossing ahead or under their feet, -1 for none ``[A]``.
        distance_m: Way left to its first kerb, negative on the road ``[A]``.
        progress: Share of the crossing done, from its own first kerb to its second ``[A]``.
        forward: Whether they go from its first kerb to its second ``[A]``.
        decided: Whether they have decided to go ``[A]``.
        close: Whether they are near enough to look for a gap or be waited for ``[A]``.
    """

    crossing: NDArray[np.int64]
    distance_m: NDArray[np.float64]
    progress: NDArray[np.float64]
    forward: NDArray[np.bool_]
    decided: NDArray[np.bool_]
    close: NDArray[np.bool_]


def begin(crowd: Crowd) -> PeopleState:
    """The people at the start of their routes, walking."""
    count = len(crowd.keys)
    along = np.zeros(count)
    poses = routes.at(crowd.routes, along)
    headings = geometry.wrap_angle(poses[:, 2])
    positions = poses[:, :2] + crowd.laterals_m[:, None] * _left(poses[:, 2])
    speed = np.where(crowd.pauses_m <= 0, 0.0, crowd.speeds_mps)
    drift = np.stack([_shared_normal(crowd, -1, channel) for channel in range(3)], -1)
    zeros = np.zeros(count)
    decided = np.zeros(count, np.int64)
    velocities = speed[:, None] * _unit(headings)
    return PeopleState(positions, velocities, headings, along, drift, zeros, zeros, decided)


def intents(crowd: Crowd, crossings: Crossings, state: PeopleState) -> Intent:
    """What each person is about to cross."""
    over = state.along_m[:, None] > crowd.kerbs_m[..., 1]
    nth = np.minimum(over.sum(1), crowd.crossings.shape[1] - 1)
    agent = np.arange(len(nth))
    first, second = crowd.kerbs_m[agent, nth].T
    exists = np.isfinite(second) & (state.along_m <= second)
    distance = np.where(exists, first - state.along_m, np.inf)
    crossing = np.where(exists, crowd.crossings[agent, nth], -1)
    forward = crowd.forward[agent, nth]
    line = crossings.lines_m[crossing]
    span = line[:, 1] - line[:, 0]
    done = ((state.positions_m - line[:, 0]) * span).sum(-1) / (span**2).sum(-1)
    close = distance < _KERB_LOOK_M
    progress = np.where(forward, done, 1 - done)
    return Intent(crossing, distance, progress, forward, exists & (state.decided > nth), close)


def step(
    crowd: Crowd,
    state: PeopleState,
    intent: Intent,
    clear: NDArray[np.bool_],
    cars: NDArray[Any],
    car_sizes_m: NDArray[Any],
    index: int,
    dt_s: float,
) -> PeopleState:
    """The people a moment later.

    Args:
        crowd: Who they are.
        state: Where they are.
        intent: What they are about to cross.
        clear: Whether traffic leaves each of them a gap ``[A]``.
        cars: Poses ``[V, 3]`` of everything with wheels, as far as people mind it.
        car_sizes_m: Length and width ``[V, 2]``.
        index: Number of this time step; addresses the random numbers.
        dt_s: Length of the step.
    """
    nth = (state.along_m[:, None] > crowd.kerbs_m[..., 1]).sum(1)
    willing = clear | intent.decided | (intent.crossing < 0)
    go = intent.close & _whole_group(crowd, willing)
    decided = np.where(go, np.maximum(state.decided, nth + 1), state.decided)
    held = intent.close & ~go & ~intent.decided
    pausing = (state.along_m >= crowd.pauses_m) & (state.paused_s < crowd.pauses_s)
    drift = _drifted(crowd, state.drift, index, dt_s)
    wanted = _wanted_velocity(crowd, state, intent, held, pausing, drift)
    push = (
        (wanted - state.velocities_mps) / _RELAXATION_S
        + _from_people(crowd, state)
        + _from_vehicles(state, cars, car_sizes_m)
        + _from_borders(crowd, state)
    )
    push *= np.minimum(1, _MAX_ACCELERATION_MPS2 / np.maximum(np.hypot(*push.T), 1e-9))[:, None]
    velocities = state.velocities_mps + dt_s * push
    limit = 1.4 * crowd.speeds_mps
    velocities *= np.minimum(1, limit / np.maximum(np.hypot(*velocities.T), 1e-9))[:, None]
    positions = state.positions_m + dt_s * velocities
    return replace(
        state,
        positions_m=positions,
        velocities_mps=velocities,
        headings_rad=_turned(state.headings_rad, velocities, dt_s),
        along_m=_progress(crowd, state.along_m, positions),
        drift=drift,
        paused_s=state.paused_s + dt_s * pausing,
        waited_s=np.where(held, state.waited_s + dt_s, 0.0),
        decided=decided,
    )


def _left(heading_rad: NDArray[Any]) -> NDArray[np.float64]:
    return np.stack([-np.sin(heading_rad), np.cos(heading_rad)], -1)


def _unit(heading_rad: NDArray[Any]) -> NDArray[np.float64]:
    return np.stack([np.cos(heading_rad), np.sin(heading_rad)], -1)


def _whole_group(crowd: Crowd, willing: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether all members of each one's group are willing ``[A]``."""
    refusing = np.bincount(crowd.leaders, weights=~willing, minlength=len(willing))
    return refusing[crowd.leaders] == 0


def _shared_normal(crowd: Crowd, index: int, channel: int) -> NDArray[np.float64]:
    """Normal numbers ``[A]``, correlated within groups."""
    own = streams.normal(crowd.keys, index, channel)
    group = streams.normal(crowd.keys[crowd.leaders], index, channel + 8)
    return np.sqrt(_DRIFT_SHARED) * group + np.sqrt(1 - _DRIFT_SHARED) * own


def _drifted(crowd: Crowd, drift: NDArray[Any], index: int, dt_s: float) -> NDArray[np.float64]:
    """The exact update of three Ornstein-Uhlenbeck processes of unit variance."""
    keep = np.exp(-dt_s / _DRIFT_TIME_S)
    fresh = np.stack([_shared_normal(crowd, index, channel) for channel in range(3)], -1)
    result: NDArray[np.float64] = keep * drift + np.sqrt(1 - keep**2) * fresh
    return result


def _wanted_velocity(
    crowd: Crowd,
    state: PeopleState,
    intent: Intent,
    held: NDArray[np.bool_],
    pausing: NDArray[np.bool_],
    drift: NDArray[Any],
) -> NDArray[np.float64]:
    """Desired velocities ``[A, 2]``: along the route, or towards the place to stand at."""
    pace, veer, aside = (drift * _DRIFT_SPREAD).T
    lateral = np.clip(crowd.laterals_m + aside, -_HALF_WALKWAY_M + 0.2, _HALF_WALKWAY_M - 0.2)
    ahead = routes.at(crowd.routes, state.along_m + _LOOK_AHEAD_M)
    aim = ahead[:, :2] + lateral[:, None] * _left(ahead[:, 2]) - state.positions_m
    direction = _unit(np.arctan2(aim[:, 1], aim[:, 0]) + veer)
    members = np.bincount(crowd.leaders, minlength=len(pace))
    total = np.bincount(crowd.leaders, weights=state.along_m, minlength=len(pace))
    lag = total[crowd.leaders] / members[crowd.leaders] - state.along_m
    speed = crowd.speeds_mps * np.exp(pace) * np.clip(1 + _COHESION_PER_M * lag, 0.5, 1.4)
    room = np.where(held, np.maximum(intent.distance_m - 0.4, 0.0), np.inf)
    walking = np.minimum(speed, np.sqrt(2 * 0.9 * room))[:, None] * direction
    arrived = state.along_m > crowd.lengths_m - 1.0
    place = np.minimum(np.where(pausing, crowd.pauses_m, np.inf), crowd.lengths_m)
    spot = routes.at(crowd.routes, place)
    home = spot[:, :2] + (crowd.laterals_m + 0.15 * drift[:, 2])[:, None] * _left(spot[:, 2])
    back = 0.4 * (home - state.positions_m)
    back *= np.minimum(1, 0.5 / np.maximum(np.hypot(*back.T), 1e-9))[:, None]
    return np.where((pausing | arrived)[:, None], back, walking)


def _from_people(crowd: Crowd, state: PeopleState) -> NDArray[np.float64]:
    """Elliptical repulsion of everyone by everyone, and contact forces ``[A, 2]``."""
    x, y = state.positions_m.T
    x, y = x[:, None] - x, y[:, None] - y  # [A, A]: to each one from each other
    distance = np.hypot(x, y) + 1e6 * np.eye(len(x))
    step_x, step_y = _STEP_AHEAD_S * state.velocities_mps.T
    ahead_x, ahead_y = x - step_x, y - step_y
    ahead_distance = np.maximum(np.hypot(ahead_x, ahead_y), 1e-6)
    total = distance + ahead_distance
    minor = np.sqrt(np.maximum(total**2 - step_x**2 - step_y**2, 1e-4)) / 2
    strength = _REPULSION_M2PS2 / _REPULSION_RANGE_M * np.exp(-minor / _REPULSION_RANGE_M)
    strength *= total / (4 * minor)
    together = crowd.leaders[:, None] == crowd.leaders
    strength *= np.where(together, _GROUP_REPULSION, 1.0)
    away_x, away_y = x / np.maximum(distance, 1e-6), y / np.maximum(distance, 1e-6)
    facing_x, facing_y = _unit(state.headings_rad).T[..., None]
    seen = -(away_x * facing_x + away_y * facing_y) > _COS_VIEW
    strength *= np.where(seen, 1.0, _BEHIND_WEIGHT)
    contact = _BODY_STIFFNESS_PS2 * np.maximum(_BODY_M - distance, 0.0)
    force_x = strength * (away_x + ahead_x / ahead_distance) + contact * away_x
    force_y = strength * (away_y + ahead_y / ahead_distance) + contact * away_y
    return np.stack([force_x.sum(1), force_y.sum(1)], -1)


def _from_vehicles(
    state: PeopleState, cars: NDArray[Any], car_sizes_m: NDArray[Any]
) -> NDArray[np.float64]:
    """Repulsion by the bodies of vehicles ``[A, 2]``."""
    points = state.positions_m[:, None]
    away = boxes.directions(points, cars, car_sizes_m)
    gap = np.maximum(boxes.distances(points, cars, car_sizes_m) - 0.3, -0.5)
    strength = _VEHICLE_M2PS2 / _VEHICLE_RANGE_M * np.exp(-gap / _VEHICLE_RANGE_M)
    return (strength[..., None] * away).sum(1)


def _from_borders(crowd: Crowd, state: PeopleState) -> NDArray[np.float64]:
    """Repulsion by the borders of the walkway or crosswalk ``[A, 2]``."""
    poses = routes.at(crowd.routes, state.along_m)
    left = _left(poses[:, 2])
    offset = ((state.positions_m - poses[:, :2]) * left).sum(-1)
    strength = _BORDER_M2PS2 / _BORDER_RANGE_M
    inward = [np.exp(-np.maximum(_HALF_WALKWAY_M - side * offset, -0.3) / _BORDER_RANGE_M)
              for side in (1, -1)]  # fmt: skip
    return (strength * (inward[1] - inward[0]))[:, None] * left


def _turned(
    headings_rad: NDArray[Any], velocities_mps: NDArray[Any], dt_s: float
) -> NDArray[np.float64]:
    """Headings that follow the motion, the sooner the faster it is."""
    speed = np.hypot(*velocities_mps.T)
    aim = np.arctan2(velocities_mps[:, 1], velocities_mps[:, 0])
    rate = np.where(speed > 0.2, 1 - np.exp(-dt_s / 0.3), 0.0)
    turned: NDArray[np.float64] = geometry.wrap_angle(
        headings_rad + rate * geometry.wrap_angle(aim - headings_rad)
    )
    return turned


def _progress(
    crowd: Crowd, along_m: NDArray[Any], positions_m: NDArray[Any]
) -> NDArray[np.float64]:
    """Follows the foot of the perpendicular on each route; progress is never lost."""
    poses = routes.at(crowd.routes, along_m)
    forward = ((positions_m - poses[:, :2]) * _unit(poses[:, 2])).sum(-1)
    return np.minimum(along_m + np.clip(forward, 0.0, 1.0), crowd.lengths_m)
