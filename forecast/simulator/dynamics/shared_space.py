"""Negotiation in shared space: what people do about vehicles, and drivers about people.

Nobody has precedence. A person whose way crosses that of a vehicle goes first, and hurries, or
slows down, stops and walks behind the vehicle. Who walks in the way of a vehicle steps aside. A
driver lets some go first, brakes for all who are in the way, passes slowly where it is narrow,
steers a little aside, and creeps on after a wait.

A decision depends on the present state and on traits of a person and a vehicle alone. It is stable
because both act on it: who slows down arrives later still.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast import geometry
from forecast.simulator import random_numbers, routes
from forecast.simulator.dynamics import vehicle_motion
from forecast.simulator.dynamics.pedestrian_motion import (
    Negotiation,
    PedestrianState,
    at_most,
    standing,
)
from forecast.simulator.dynamics.social_forces import left, unit
from forecast.simulator.dynamics.vehicle_motion import VehicleState
from forecast.simulator.pairs import min_by_owner, pairs_between, sum_by_owner
from forecast.simulator.population.pedestrians import Crowd
from forecast.simulator.population.vehicles import Fleet

_LOOK_M, _WIDE_M = 16.0, 7.0
"""Largest distance of a person and a vehicle that mind each other. A driver minds who is less than
the second distance to the side."""
_COMES_MPS = 0.25
"""A vehicle slower than this is not taken to come."""
_BODY_M = 0.3
_COMFORT_M = (1.0, 3.0)
"""Range of the distances that people like to keep to the side of a vehicle."""
_CROSSING_M = 0.4
"""Distance that people keep to the side of a vehicle whose way they cross."""
_FRONT_S, _BEHIND_S = (3.0, 7.0), (1.5, 5.0)
"""Ranges of the times before the meeting at which people step aside for a vehicle that they see,
and for one that comes from behind."""
_BOLD_S = (0.0, 4.0)
"""Range of what people expect of a driver: the seconds by which they go first though late."""
_BRAKES_MPS2, _BRAKES_S = 0.3, 1.0
"""A vehicle that brakes more than this is expected to take this much longer."""
_CROSSES_MPS = 0.35
"""Who moves across the course of a vehicle faster than this crosses its way."""
_HORIZON_S = 6.0
_HURRY = 1.1
"""Factor of the speed of people who go first with little time."""
_ASIDE_MPS, _BEHIND_MPS = 1.1, 0.35
"""Greatest speed of a step aside, and speed towards the rear of a vehicle that is let pass."""
_CHANNEL = 50
"""The first channel of random numbers of people."""

_ACCELERATION_MPS2, _BRAKE_MPS2, _HARDEST_BRAKE_MPS2 = 1.3, 1.5, 6.0
_STANDSTILL_M, _CREEP_STANDSTILL_M = 1.2, 0.5
_CREEP_S, _CREEP_MPS, _STANDS_MPS, _LONGEST_S = 2.5, 0.7, 0.35, 6.0
"""Drivers creep on, at this speed and nearer to people, after this time of standing. Slower than
the second speed they stand. Times beyond the last one are not counted."""
_IMPATIENT_S = 1.0
"""People who stand in the way of a vehicle step aside after it has stood for this time."""
_WAY_M = np.arange(0.0, 13.0, 0.75)
_MARGIN_M, _CREEP_MARGIN_M = 0.35, 0.15
"""Who is nearer than this to the side of a vehicle's way is in it."""
_PREDICTED_S = (0.0, 0.8, 1.6, 2.4)
_SURE_S = 1.0
"""People who will be in the way later than this are let go first by some drivers only."""
_PASSING_M, _PASSING_MPS, _PASSING_PS = 0.8, 1.6, 2.0
"""Room to a person beside it in which a vehicle drives slowly, its speed without any room, and how
much faster it is by metre of room."""
_STEER_M, _STEER_AHEAD_M, _STEER_PM = 0.6, 8.0, 0.3
"""Greatest offset from the route, distance of the people that it is for, and turn by metre."""


@dataclass(frozen=True, eq=False)
class Traits:
    """What people are like who negotiate. It never changes.

    Attributes:
        comfort_m: Distance that each likes to keep to the side of a vehicle ``[A]``.
        front_s: Time before a meeting at which each steps aside for a vehicle in view ``[A]``.
        behind_s: The same for a vehicle from behind ``[A]``.
        bold_s: Time by which each goes first though late ``[A]``.
        side: 1 for those who step to the left of a vehicle's course if both sides are equal, else
            -1 ``[A]``.
        favour: Rank of each with the driver of each vehicle, from 0 to 1 ``[A, V]``. A driver lets
            people go first whose rank is below `Fleet.yield_probability`.
    """

    comfort_m: NDArray[np.float64]
    front_s: NDArray[np.float64]
    behind_s: NDArray[np.float64]
    bold_s: NDArray[np.float64]
    side: NDArray[np.float64]
    favour: NDArray[np.float64]


def draw_traits(keys: NDArray[np.uint64], vehicles: int) -> Traits:
    """Draws the traits of people.

    Args:
        keys: Keys of their random numbers ``[A]``.
        vehicles: Number of vehicles V.
    """
    draws = random_numbers.uniform(keys[:, None], -1, _CHANNEL + np.arange(5 + vehicles))
    ranges = np.array([_COMFORT_M, _FRONT_S, _BEHIND_S, _BOLD_S, (-1.0, 1.0)])
    columns = (ranges[:, 0] + (ranges[:, 1] - ranges[:, 0]) * draws[:, :5]).T
    comfort, front, behind, bold, side = columns
    return Traits(comfort, front, behind, bold, np.where(side < 0, -1.0, 1.0), draws[:, 5:])


@dataclass(frozen=True, eq=False)
class _Meetings:
    """Pairs of a person and a vehicle that comes, in the frame of the vehicle; all ``[P]``.

    Attributes:
        person: Index of the person.
        car: Index of the vehicle.
        front_s: Time until the front reaches the person, if both keep their speeds.
        rear_s: Time until the rear has passed.
        aside_m: Offset of the person to the left of the vehicle's course.
        across_mps: Speed of the person to the left.
        along_mps: Speed of the person in the vehicle's direction.
        half_m: Half the width of the way that the vehicle and the person's body need.
        comfort_m: What the person who steps aside likes to keep free beyond that.
        stands: Whether the vehicle stands, and would creep on.
    """

    person: NDArray[np.int64]
    car: NDArray[np.int64]
    front_s: NDArray[np.float64]
    rear_s: NDArray[np.float64]
    aside_m: NDArray[np.float64]
    across_mps: NDArray[np.float64]
    along_mps: NDArray[np.float64]
    half_m: NDArray[np.float64]
    comfort_m: NDArray[np.float64]
    stands: NDArray[np.bool_]


def negotiate(
    crowd: Crowd, traits: Traits, state: PedestrianState, fleet: Fleet, vehicles: VehicleState
) -> Negotiation:
    """Returns what each person changes about the own course because of vehicles.

    Args:
        crowd: The pedestrians.
        traits: Their traits.
        state: Their state.
        fleet: The vehicles.
        vehicles: Their state.
    """
    meet = _meetings(crowd, traits, state, fleet, vehicles)
    count = len(crowd.keys)
    pace, yields = _crossing_pace(traits, vehicles, meet)
    slow, fast = np.minimum(pace, 1.0), np.maximum(pace, 1.0)
    slowest = np.minimum(min_by_owner(slow, meet.person, count), 1.0)
    fastest = np.maximum(-min_by_owner(-fast, meet.person, count), 1.0)
    heading = vehicles.poses[meet.car, 2]
    aside = _stepping_aside(traits, meet)[:, None] * left(heading)
    # Who lets a vehicle pass walks on behind it.
    aside -= np.where(yields & (meet.front_s < 1.5), _BEHIND_MPS, 0.0)[:, None] * unit(heading)
    total = np.stack([sum_by_owner(aside[:, i], meet.person, count) for i in range(2)], -1)
    return Negotiation(
        np.where(slowest < 1.0, slowest, fastest),
        at_most(total, _ASIDE_MPS),
    )


def _meetings(
    crowd: Crowd, traits: Traits, state: PedestrianState, fleet: Fleet, vehicles: VehicleState
) -> _Meetings:
    """Returns the pairs of people and vehicles that come nearer to them."""
    person, car = pairs_between(state.positions_m, vehicles.poses[:, :2], _LOOK_M)
    stands = vehicles.speeds_mps < _COMES_MPS
    comes = (vehicles.active & (~stands | (vehicles.halted_s > _IMPATIENT_S)))[car]
    person, car = person[comes], car[comes]
    pose, speed = vehicles.poses[car], np.where(stands, _CREEP_MPS, vehicles.speeds_mps)[car]
    walks = np.where(standing(crowd, state)[:, None], 0.0, state.course_mps)
    offset = geometry.to_frame(state.positions_m[person], pose[:, :2], pose[:, 2])
    motion = geometry.rotate(walks[person], -pose[:, 2])
    reach = fleet.sizes_m[car, 0] / 2 + _BODY_M
    closing = speed - motion[:, 0]
    near = (closing > 0.1) & (offset[:, 0] > -reach)
    comfort = np.where(stands[car], 0.0, traits.comfort_m[person])
    columns = (
        person,
        car,
        np.maximum(offset[:, 0] - reach, 0.0) / np.maximum(closing, 0.1),
        (offset[:, 0] + reach) / np.maximum(closing, 0.1),
        offset[:, 1],
        motion[:, 1],
        motion[:, 0],
        fleet.sizes_m[car, 1] / 2 + _BODY_M,
        comfort,
        stands[car],
    )
    return _Meetings(*(column[near] for column in columns))


def _crossing_pace(
    traits: Traits, vehicles: VehicleState, meet: _Meetings
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Returns factors of speed ``[P]`` of people who cross the way of a vehicle, and who yields."""
    across = np.abs(meet.across_mps)
    done = np.sign(meet.across_mps) * meet.aside_m
    half = meet.half_m + _CROSSING_M
    pace = np.maximum(across, _CROSSES_MPS)
    enter_s = np.maximum(-half - done, 0.0) / pace
    leave_s = (half - done) / pace
    crosses = (across > _CROSSES_MPS) & (done < half) & (meet.front_s < _HORIZON_S)
    crosses &= ~meet.stands
    conflict = crosses & (enter_s < meet.rear_s + 0.3) & (leave_s > meet.front_s - 0.5)
    brakes = vehicles.accelerations_mps2[meet.car] < -_BRAKES_MPS2
    expects = traits.bold_s[meet.person] + _BRAKES_S * brakes
    inside = enter_s <= 0.0
    goes = inside | (leave_s < meet.front_s + expects)
    # Who yields walks as slowly as is needed to come to the way when the rear has passed.
    slow = np.clip(enter_s / np.maximum(meet.rear_s + 0.2, 0.1), 0.0, 1.0)
    late = goes & (leave_s > meet.front_s - 1.0)
    factor = np.where(goes, np.where(late, _HURRY, 1.0), slow)
    return np.where(conflict, factor, 1.0), conflict & ~goes


def _stepping_aside(traits: Traits, meet: _Meetings) -> NDArray[np.float64]:
    """Returns speeds to the left of the vehicle's course ``[P]`` of people in its way."""
    who = meet.person
    within = np.where(meet.along_mps > 0, traits.behind_s[who], traits.front_s[who])
    along_it = np.abs(meet.across_mps) <= np.maximum(_CROSSES_MPS, 0.5 * np.abs(meet.along_mps))
    room = meet.half_m + meet.comfort_m - np.abs(meet.aside_m)
    steps = along_it & (room > 0) & (meet.front_s < within)
    side = np.where(np.abs(meet.aside_m) < 0.15, traits.side[who], np.sign(meet.aside_m))
    speed = np.minimum(room / np.clip(meet.front_s - 0.4, 0.6, 3.0), _ASIDE_MPS)
    return np.where(steps, side * speed, 0.0)


def step_drivers(
    traits: Traits,
    pedestrians: PedestrianState,
    fleet: Fleet,
    state: VehicleState,
    dt_s: float,
    ego_pose: NDArray[Any] | None = None,
) -> VehicleState:
    """Returns the state of the vehicles of a shared space one step later.

    `VehicleState.halted_s` is the time for which each has stood of late, as `_halted` counts it.

    Args:
        traits: The traits of the pedestrians.
        pedestrians: Their state.
        fleet: The vehicles.
        state: Their state now. It is not modified.
        dt_s: Length of the step.
        ego_pose: Pose of the ego after the step (x_m, y_m, heading_rad); None: the simulation
            drives the ego.
    """
    on_route = routes.at(fleet.routes, state.along_m)
    aside = ((state.poses[:, :2] - on_route[:, :2]) * left(on_route[:, 2])).sum(-1)
    creeps = state.halted_s > _CREEP_S
    car, person = pairs_between(state.poses[:, :2], pedestrians.positions_m, _LOOK_M)
    offset = geometry.to_frame(
        pedestrians.positions_m[person], state.poses[car, :2], state.poses[car, 2]
    )
    ahead = (offset[:, 0] > -fleet.sizes_m[car, 0] / 2) & (np.abs(offset[:, 1]) < _WIDE_M)
    car, person, offset = car[ahead], person[ahead], offset[ahead]
    gaps, leaders = _people_in_the_way(traits, pedestrians, fleet, state, aside, car, person)
    limit = routes.at(fleet.limits_mps[..., None], state.along_m)[:, 0]
    wanted = np.minimum(np.minimum(fleet.speeds_mps, limit), _passing_speeds(fleet, car, offset))
    wanted = np.where(creeps, np.minimum(wanted, _CREEP_MPS), wanted)
    speed = state.speeds_mps
    change = _acceleration(fleet, state, wanted, creeps, gaps, leaders)
    faster = np.maximum(speed + dt_s * change, 0.0)
    moved = dt_s * (speed + faster) / 2
    along = state.along_m + moved
    turn = geometry.wrap_angle(state.poses[:, 2] - on_route[:, 2])
    turn += np.minimum(moved, 1.0) * (_STEER_PM * (_evasion(fleet, car, offset) - aside) - turn)
    poses = routes.at(fleet.routes, along)
    poses[:, :2] += (aside + moved * np.tan(turn))[:, None] * left(poses[:, 2])
    poses[:, 2] += turn
    if ego_pose is not None:
        vehicle_motion.place_ego(fleet, state, ego_pose, along, faster, poses, dt_s)
    return VehicleState(
        along_m=along,
        speeds_mps=faster,
        accelerations_mps2=(faster - speed) / dt_s,
        poses=poses,
        active=state.active & (along < fleet.lengths_m - 1.0),
        halted_s=_halted(state.halted_s, faster, dt_s),
    )


def _halted(halted_s: NDArray[Any], speeds_mps: NDArray[Any], dt_s: float) -> NDArray[np.float64]:
    """Returns the times of standing ``[V]``: they grow while a vehicle stands, and shrink after."""
    stands = speeds_mps < _STANDS_MPS
    return np.clip(halted_s + np.where(stands, dt_s, -2 * dt_s), 0.0, _LONGEST_S)


def _people_in_the_way(
    traits: Traits,
    pedestrians: PedestrianState,
    fleet: Fleet,
    state: VehicleState,
    aside_m: NDArray[Any],
    car: NDArray[np.int64],
    person: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the gap to the first person in the way of each vehicle, and the person's speed along.

    All who are in the way now or very soon count. Those who come into the way later count if the
    driver is one to let this person go first.
    """
    way = routes.at(fleet.routes, state.along_m[:, None] + _WAY_M)
    way_m = (way[..., :2] + aside_m[:, None, None] * left(way[..., 2]))[car]
    courteous = traits.favour[person, car] < fleet.yield_probability[car]
    margin = np.where(state.halted_s > _CREEP_S, _CREEP_MARGIN_M, _MARGIN_M)
    reach = (fleet.sizes_m[:, 1] / 2 + margin)[car, None]
    hit = np.zeros(way_m.shape[:2], bool)
    for ahead_s in _PREDICTED_S:
        where = pedestrians.positions_m[person] + ahead_s * pedestrians.velocities_mps[person]
        x, y = way_m[..., 0] - where[:, :1], way_m[..., 1] - where[:, 1:]
        counts = courteous | (ahead_s <= _SURE_S)
        # Later than now, only who will be there when the vehicle is.
        there = state.speeds_mps[car, None] * (ahead_s - 1.0) <= _WAY_M
        hit |= (x * x + y * y < reach**2) & counts[:, None] & there
    half = fleet.sizes_m[car, 0] / 2
    hit &= (half - 0.5)[:, None] < _WAY_M
    first = hit.argmax(1)
    gap = np.where(hit.any(1), _WAY_M[first] - half - _BODY_M, np.inf)
    count = len(aside_m)
    nearest = min_by_owner(gap, car, count)
    along = (pedestrians.velocities_mps[person] * unit(state.poses[car, 2])).sum(-1)
    slowest = min_by_owner(np.where(gap <= nearest[car], along, np.inf), car, count)
    return nearest, np.where(np.isfinite(nearest), np.maximum(slowest, 0.0), 0.0)


def _passing_speeds(
    fleet: Fleet, car: NDArray[np.int64], offset_m: NDArray[Any]
) -> NDArray[np.float64]:
    """Returns the speeds at which vehicles pass people beside them; inf: nobody ``[V]``."""
    half, wide = fleet.sizes_m[car, 0] / 2, fleet.sizes_m[car, 1] / 2
    beside = (offset_m[:, 0] > -half) & (offset_m[:, 0] < half + 2.5)
    room = np.maximum(np.abs(offset_m[:, 1]) - wide - _BODY_M, 0.0)
    speed = np.where(beside & (room < _PASSING_M), _PASSING_MPS + _PASSING_PS * room, np.inf)
    return min_by_owner(speed, car, len(fleet.sizes_m))


def _evasion(fleet: Fleet, car: NDArray[np.int64], offset_m: NDArray[Any]) -> NDArray[np.float64]:
    """Returns how far to the left vehicles want to be for the nearest person ahead ``[V]``."""
    count = len(fleet.sizes_m)
    half, wide = fleet.sizes_m[car, 0] / 2, fleet.sizes_m[car, 1] / 2
    need = wide + _BODY_M + _MARGIN_M - np.abs(offset_m[:, 1])
    ahead = (offset_m[:, 0] > half) & (offset_m[:, 0] < half + _STEER_AHEAD_M) & (need > 0)
    distance = np.where(ahead, offset_m[:, 0], np.inf)
    first = ahead & (distance <= min_by_owner(distance, car, count)[car])
    shift = np.where(first, -np.sign(offset_m[:, 1]) * np.minimum(need, _STEER_M), 0.0)
    return sum_by_owner(shift, car, count)


def _acceleration(
    fleet: Fleet,
    state: VehicleState,
    wanted: NDArray[Any],
    creeps: NDArray[np.bool_],
    gaps: NDArray[Any],
    leader_speeds: NDArray[Any],
) -> NDArray[np.float64]:
    """Returns the Intelligent Driver Model's acceleration behind people and vehicles ``[V]``."""
    car_gaps, car_speeds = vehicle_motion.vehicles_ahead(fleet, state, _WAY_M)
    speed = state.speeds_mps[:, None]
    keep = np.where(creeps, _CREEP_STANDSTILL_M, _STANDSTILL_M)[:, None]
    gap = np.stack([gaps, car_gaps], -1)
    closing = speed - np.stack([leader_speeds, car_speeds], -1)
    braking = speed * closing / (2 * np.sqrt(_ACCELERATION_MPS2 * _BRAKE_MPS2))
    desired = np.maximum(keep + speed * fleet.headways_s[:, None] + braking, keep)
    free = 1 - (state.speeds_mps / np.maximum(wanted, 0.1)) ** 4
    free = np.maximum(_ACCELERATION_MPS2 * free, -_BRAKE_MPS2)
    change = free - _ACCELERATION_MPS2 * ((desired / np.maximum(gap, 0.1)) ** 2).max(1)
    limited: NDArray[np.float64] = np.clip(change, -_HARDEST_BRAKE_MPS2, _ACCELERATION_MPS2)
    return limited
