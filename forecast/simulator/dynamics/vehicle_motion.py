"""Motion of vehicles along their routes: car following, pedestrians, crosswalks, lights, junctions.

Car following is the Intelligent Driver Model of Treiber, Hennecke and Helbing, Physical Review E 62
(2000). The model has one kind of obstacle: something ahead at some gap. A leader is one, and so are
a pedestrian in the way, a crosswalk or red light to stop at, a junction to wait at and a place to
halt at. The one that needs the strongest braking counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.simulator import boxes, random_numbers, routes
from forecast.simulator.dynamics.pedestrian_motion import (
    CrossingGaps,
    CrossingIntent,
    PedestrianState,
)
from forecast.simulator.pairs import (
    Pairs,
    min_by_owner,
    pairs_between,
    pairs_with_equal,
    pairs_within,
    sum_by_owner,
)
from forecast.simulator.population.pedestrians import Crossings, Crowd
from forecast.simulator.population.vehicles import Fleet

_ACCELERATION_MPS2, _BRAKE_MPS2, _HARDEST_BRAKE_MPS2 = 1.5, 2.0, 8.0
_STANDSTILL_M = 2.0
_LOOK_AHEAD_M = np.arange(0.0, 42.0, 1.0)
_SIDE_MARGIN_M, _PERSON_MARGIN_M = 0.3, 0.6
_CROSSWALK_HALF_M = 2.0
_JUNCTION_LOOK_M = 35.0
_FIRM_BRAKE_MPS2 = 3.5

_HALT_REACH_M = 1.5
_ON_ROAD_MARGIN_S = 0.2
_VISIBLE_MPS2 = 0.4
"""People see that a vehicle brakes or speeds up by more than this."""
_GENTLE_BRAKE_MPS2 = 2.0
"""People on the road rely on a vehicle that does not brake yet while this is enough to stop."""
_NEXT_M = 20.0
"""An ego driven from outside is looked for on its route as far as this from where it was."""


@dataclass(frozen=True, eq=False)
class VehicleState:
    """What changes about the vehicles of a scene.

    Attributes:
        along_m: Progress on their routes ``[V]``.
        speeds_mps: ``[V]``.
        accelerations_mps2: ``[V]``.
        poses: ``[V, 3]`` (x_m, y_m, heading_rad).
        active: Whether they are still in the district ``[V]``.
        halted_s: Time for which they have stood at their halt, or in shared space where they are
            ``[V]``.
    """

    along_m: NDArray[np.float64]
    speeds_mps: NDArray[np.float64]
    accelerations_mps2: NDArray[np.float64]
    poses: NDArray[np.float64]
    active: NDArray[np.bool_]
    halted_s: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ConflictPoints:
    """Points where the route of a vehicle meets a crossing of pedestrians.

    Attributes:
        vehicle: Index of the vehicle ``[M]``.
        crossing: Index of the crossing ``[M]``.
        along_m: Distance of the point along the route ``[M]``.
        share: Distance of the point from the crossing's first kerb, as a share of the crossing's
            length ``[M]``.
        yields: Whether the vehicle yields to pedestrians there ``[M]``.
    """

    vehicle: NDArray[np.int64]
    crossing: NDArray[np.int64]
    along_m: NDArray[np.float64]
    share: NDArray[np.float64]
    yields: NDArray[np.bool_]


def initial_state(fleet: Fleet) -> VehicleState:
    """Returns the vehicles at the starts of their routes, at 0.6 times their speed there."""
    poses = routes.at(fleet.routes, fleet.starts_m)
    limit = routes.at(fleet.limits_mps[..., None], fleet.starts_m)[:, 0]
    speeds = 0.6 * np.minimum(fleet.speeds_mps, limit)
    speeds = np.where(np.abs(fleet.halts_m - fleet.starts_m) < _HALT_REACH_M, 0.0, speeds)
    return VehicleState(
        fleet.starts_m, speeds, 0.0 * speeds, poses, np.ones(len(poses), bool), 0.0 * speeds
    )


def find_conflict_points(
    fleet: Fleet, crossings: Crossings, keys: NDArray[np.uint64]
) -> ConflictPoints:
    """Finds where routes of vehicles meet crossings, and draws where each vehicle yields.

    Args:
        fleet: The vehicles.
        crossings: The crossings.
        keys: Keys of the random numbers of the vehicles ``[V]``.
    """
    start, end = crossings.lines_m[:, 0], crossings.lines_m[:, 1]
    span = end - start
    found = []
    for i, route in enumerate(fleet.routes[..., :2]):
        offset = route[:, None] - start  # [N, X, 2]
        at = np.clip((offset * span).sum(-1) / (span**2).sum(-1), 0, 1)
        apart = offset - at[..., None] * span
        close = np.hypot(apart[..., 0], apart[..., 1]) < routes.SPACING_M
        met, first = np.flatnonzero(close.any(0)), close.argmax(0)
        for x in met.tolist():
            found.append((i, x, first[x] * routes.SPACING_M, at[first[x], x]))
    vehicle, crossing, along, share = np.array(found).reshape(-1, 4).T
    vehicle, crossing = vehicle.astype(np.int64), crossing.astype(np.int64)
    draws = random_numbers.uniform(keys[:, None], 0, 100 + np.arange(len(start)))
    yields = crossings.marked[crossing] & (
        draws[vehicle, crossing] < fleet.yield_probability[vehicle]
    )
    return ConflictPoints(vehicle, crossing, along, share, yields)


def crossing_gaps(
    fleet: Fleet,
    state: VehicleState,
    conflicts: ConflictPoints,
    crowd: Crowd,
    crossings: Crossings,
    intent: CrossingIntent,
    waited_s: NDArray[Any],
    green: NDArray[np.bool_],
) -> CrossingGaps:
    """Returns the gaps in traffic for each pedestrian at or on a crossing.

    A vehicle is taken to yield if it stands or is very slow before the crossing, or if it brakes
    visibly and can stop. A vehicle that stops at a red light before the crossing does not count.
    Pedestrians on the road also rely on a vehicle that can still stop gently, unless it speeds up:
    they see what a driver does, and do not know what he intends.

    Args:
        fleet: The vehicles.
        state: Their state.
        conflicts: Where they meet crossings.
        crowd: The pedestrians.
        crossings: The crossings.
        intent: The next crossings of the pedestrians.
        waited_s: Waiting times of the pedestrians ``[A]``. Long waits reduce the accepted margin.
        green: Whether each vehicle may enter its next junction ``[V]``.
    """
    person, at = _conflicts_of_pedestrians(intent, conflicts)
    car, ahead, lane_m = _approach(fleet, state, conflicts, crossings, intent, person, at)
    half = fleet.sizes_m[car, 0] / 2
    front, rear = ahead - half, ahead + half + 2 * _CROSSWALK_HALF_M
    speed = np.maximum(state.speeds_mps[car], 0.3)
    stops = red_light_stops(fleet, state, green)[car] < conflicts.along_m[at]
    comes = (rear > 0) & state.active[car] & ~stops
    comes &= ~((state.speeds_mps[car] < 1.5) & (front > 0.3))
    can_stop = state.speeds_mps[car] ** 2 < 2 * _FIRM_BRAKE_MPS2 * front
    gained = state.accelerations_mps2[car]
    brakes = can_stop & (gained < -_VISIBLE_MPS2)
    gently = state.speeds_mps[car] ** 2 < 2 * _GENTLE_BRAKE_MPS2 * front
    trusted = brakes | (gently & (gained < _VISIBLE_MPS2))
    pace = crowd.speeds_mps[person]

    def in_time(margin_s: NDArray[Any] | float) -> NDArray[np.bool_]:
        soon = front / speed < (lane_m + 2.0) / pace + margin_s
        result: NDArray[np.bool_] = soon & (rear / speed > (lane_m - 2.0) / pace - margin_s)
        return result

    count = len(crowd.keys)
    margin = np.maximum(crowd.margins_s - 0.1 * waited_s, 0.3)[person]
    blocked = sum_by_owner(comes & ~brakes & in_time(margin), person, count) > 0
    hits = comes & ~trusted & (lane_m > -1.0) & in_time(_ON_ROAD_MARGIN_S)
    danger = min_by_owner(np.where(hits, lane_m - 1.5, np.inf), person, count)
    return CrossingGaps(~blocked, danger)


def _conflicts_of_pedestrians(intent: CrossingIntent, conflicts: ConflictPoints) -> Pairs:
    """Returns pairs of a pedestrian at or on a crossing and a conflict point of that crossing."""
    near_crossing = np.flatnonzero((intent.crossing >= 0) & intent.close)
    row, at = pairs_with_equal(intent.crossing[near_crossing], conflicts.crossing)
    return near_crossing[row], at


def _approach(
    fleet: Fleet,
    state: VehicleState,
    conflicts: ConflictPoints,
    crossings: Crossings,
    intent: CrossingIntent,
    person: NDArray[np.int64],
    at: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Returns, for pairs ``[P]``, the vehicle and the distances to the conflict.

    These are the distance of the vehicle to the crossing and of the pedestrian to its lane.
    """
    car = conflicts.vehicle[at]
    ahead = conflicts.along_m[at] - state.along_m[car] - _CROSSWALK_HALF_M
    line = crossings.lines_m[intent.crossing[person]]
    width = np.hypot(*(line[:, 1] - line[:, 0]).T)
    share = np.where(intent.forward[person], conflicts.share[at], 1 - conflicts.share[at])
    before = intent.distance_m[person]
    lane_m = np.where(before > 0, share * width + before, (share - intent.progress[person]) * width)
    return car, ahead, lane_m


def step_vehicles(
    fleet: Fleet,
    state: VehicleState,
    conflicts: ConflictPoints,
    crossings: Crossings,
    pedestrians: PedestrianState,
    intent: CrossingIntent,
    green: NDArray[np.bool_],
    dt_s: float,
    ego_pose: NDArray[Any] | None = None,
) -> VehicleState:
    """Returns the state of the vehicles one step later.

    Args:
        fleet: The vehicles.
        state: Their state now. It is not modified.
        conflicts: Where they meet crossings.
        crossings: The crossings.
        pedestrians: The state of the pedestrians.
        intent: The next crossings of the pedestrians.
        green: Whether each vehicle may enter its next junction ``[V]``.
        dt_s: Length of the step.
        ego_pose: Pose of the ego after the step (x_m, y_m, heading_rad); None: the simulation
            drives the ego.
    """
    limit = routes.at(fleet.limits_mps[..., None], state.along_m)[:, 0]
    wanted = np.minimum(fleet.speeds_mps, limit)
    gaps, leader_speeds = _obstacles(fleet, state, conflicts, crossings, pedestrians, intent, green)
    speed = state.speeds_mps
    acceleration = _follow(speed, wanted, fleet.headways_s, gaps, leader_speeds)
    faster = np.maximum(speed + dt_s * acceleration, 0.0)
    along = state.along_m + dt_s * (speed + faster) / 2
    poses = routes.at(fleet.routes, along)
    if ego_pose is not None:
        place_ego(fleet, state, ego_pose, along, faster, poses, dt_s)
    halts = (np.abs(fleet.halts_m - along) < _HALT_REACH_M) & (faster < 0.3)
    active = state.active & (along < fleet.lengths_m - 1.0)
    gained = (faster - speed) / dt_s
    return VehicleState(along, faster, gained, poses, active, state.halted_s + dt_s * halts)


def place_ego(
    fleet: Fleet,
    state: VehicleState,
    ego_pose: NDArray[Any],
    along_m: NDArray[Any],
    speeds_mps: NDArray[Any],
    poses: NDArray[Any],
    dt_s: float,
) -> None:
    """Puts the ego where somebody else drove it, in what the vehicles are after a step.

    Args:
        fleet: The vehicles.
        state: Their state before the step.
        ego_pose: Pose of the ego after the step (x_m, y_m, heading_rad).
        along_m: Progress after the step ``[V]``. Row 0 is replaced, here and below.
        speeds_mps: Speeds after the step ``[V]``.
        poses: Poses after the step ``[V, 3]``.
        dt_s: Length of the step.
    """
    poses[0] = ego_pose
    speeds_mps[0] = np.hypot(*(ego_pose[:2] - state.poses[0, :2])) / dt_s
    along_m[0] = routes.nearest(fleet.routes[0], ego_pose[:2], state.along_m[0], _NEXT_M)


def _follow(
    speed: NDArray[Any],
    wanted: NDArray[Any],
    headway_s: NDArray[Any],
    gaps: NDArray[Any],
    leader_speeds: NDArray[Any],
) -> NDArray[np.float64]:
    """Returns the Intelligent Driver Model's acceleration ``[V]`` with obstacles ``[V, M]``."""
    closing = speed[:, None] - leader_speeds
    braking = speed[:, None] * closing / (2 * np.sqrt(_ACCELERATION_MPS2 * _BRAKE_MPS2))
    keep = _STANDSTILL_M + (speed * headway_s)[:, None]
    desired = np.maximum(keep + braking, _STANDSTILL_M)
    interaction = (desired / np.maximum(gaps, 0.1)) ** 2
    free = _ACCELERATION_MPS2 * (1 - (speed / np.maximum(wanted, 0.1)) ** 4)
    # Above the desired speed the model brakes without limit. A driver brakes comfortably then.
    free = np.maximum(free, -_BRAKE_MPS2)
    acceleration = free - _ACCELERATION_MPS2 * interaction.max(1)
    limited: NDArray[np.float64] = np.clip(acceleration, -_HARDEST_BRAKE_MPS2, _ACCELERATION_MPS2)
    return limited


def _obstacles(
    fleet: Fleet,
    state: VehicleState,
    conflicts: ConflictPoints,
    crossings: Crossings,
    pedestrians: PedestrianState,
    intent: CrossingIntent,
    green: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns gaps to all obstacles, and their speeds along the route: both ``[V, M]``."""
    half = fleet.sizes_m[:, 0] / 2
    car_gap, car_speed = vehicles_ahead(fleet, state)
    # The model keeps the standstill distance to a bumper. At a line, vehicles stop 0.5 m before it.
    line = _STANDSTILL_M - 0.5
    halt = np.where(state.halted_s < fleet.halts_s, fleet.halts_m - state.along_m, np.inf)
    gaps = [
        car_gap,
        _people_ahead(fleet, state, pedestrians),
        _crosswalks(fleet, state, conflicts, crossings, intent) + line,
        _junctions(fleet, state, green) + line,
        red_light_stops(fleet, state, green) - state.along_m - half + line,
        np.where(halt > -_HALT_REACH_M, np.maximum(halt, 0.0) + line, np.inf),
    ]
    speeds = np.zeros((len(half), len(gaps)))
    speeds[:, 0] = car_speed
    return np.stack(gaps, -1), speeds


def vehicles_ahead(
    fleet: Fleet, state: VehicleState, look_ahead_m: NDArray[np.float64] = _LOOK_AHEAD_M
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the gap to the first vehicle on each one's route, and its speed along the route.

    Args:
        fleet: The vehicles.
        state: Their state.
        look_ahead_m: Distances at which they look, from 0 on.

    Returns:
        Gaps, inf without a vehicle, and speeds, both ``[V]``.
    """
    count = len(state.along_m)
    way = routes.at(fleet.routes, state.along_m[:, None] + look_ahead_m)  # [V, W, 3]
    me, other = pairs_within(state.poses[:, :2], look_ahead_m[-1] + 8.0)
    there = state.active[other]
    me, other = me[there], other[there]
    distance = boxes.distances(
        way[me, :, :2], state.poses[other, None], fleet.sizes_m[other, None, :2]
    )
    hit = distance < (fleet.sizes_m[me, 1] / 2 + _SIDE_MARGIN_M)[:, None]
    first = np.where(hit.any(1), hit.argmax(1), len(look_ahead_m))
    order = np.lexsort((first, me))
    owner, row = np.unique(me[order], return_index=True)
    gap, speed = np.full(count, np.inf), np.zeros(count)
    nearest = order[row]
    seen = first[nearest] < len(look_ahead_m)
    owner, nearest = owner[seen], nearest[seen]
    gap[owner] = look_ahead_m[first[nearest]] - fleet.sizes_m[owner, 0] / 2
    turn = state.poses[other[nearest], 2] - way[owner, first[nearest], 2]
    speed[owner] = np.maximum(state.speeds_mps[other[nearest]] * np.cos(turn), 0.0)
    return gap, speed


def _people_ahead(
    fleet: Fleet, state: VehicleState, pedestrians: PedestrianState
) -> NDArray[np.float64]:
    """Returns the gap to the first pedestrian who is in the way now or in one second ``[V]``."""
    reach_m = _LOOK_AHEAD_M[-1] + 3.0
    car, person = pairs_between(state.poses[:, :2], pedestrians.positions_m, reach_m)
    way = routes.at(fleet.routes, state.along_m[:, None] + _LOOK_AHEAD_M)[car, :, :2]
    reach = (fleet.sizes_m[car, 1] / 2 + _PERSON_MARGIN_M)[:, None]
    hit = np.zeros(way.shape[:2], bool)
    for ahead_s in (0.0, 1.0):
        where = pedestrians.positions_m[person] + ahead_s * pedestrians.velocities_mps[person]
        x, y = way[..., 0] - where[:, :1], way[..., 1] - where[:, 1:]  # [P, W]
        hit |= x * x + y * y < reach**2
    hit &= fleet.sizes_m[car, None, 0] / 2 - 0.5 < _LOOK_AHEAD_M
    gap = _LOOK_AHEAD_M[hit.argmax(1)] - fleet.sizes_m[car, 0] / 2
    return min_by_owner(np.where(hit.any(1), gap, np.inf), car, len(state.along_m))


def _crosswalks(
    fleet: Fleet,
    state: VehicleState,
    conflicts: ConflictPoints,
    crossings: Crossings,
    intent: CrossingIntent,
) -> NDArray[np.float64]:
    """Returns the gap to the first crosswalk at which a vehicle stops for a pedestrian ``[V]``."""
    person, at = _conflicts_of_pedestrians(intent, conflicts)
    car, ahead, lane_m = _approach(fleet, state, conflicts, crossings, intent, person, at)
    wants_to_cross = intent.allowed[person] | (intent.distance_m[person] < 0)
    gap = ahead - 0.5 - fleet.sizes_m[car, 0] / 2
    can_stop = state.speeds_mps[car] ** 2 < 2 * _FIRM_BRAKE_MPS2 * np.maximum(gap, 0)
    stops = wants_to_cross & (lane_m > -2.5) & conflicts.yields[at] & can_stop & (gap > 0)
    return min_by_owner(np.where(stops, gap, np.inf), car, len(state.along_m))


def _next_connector(
    fleet: Fleet, state: VehicleState
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Returns the connector that each vehicle is on or comes to (-1: none), and its begin."""
    rear = state.along_m - fleet.sizes_m[:, 0] / 2
    nth = (rear[:, None] > fleet.connector_spans_m[..., 1]).sum(1)
    nth = np.minimum(nth, fleet.connectors.shape[1] - 1)
    row = np.arange(len(nth))
    return fleet.connectors[row, nth], fleet.connector_spans_m[row, nth, 0]


def next_lanes(fleet: Fleet, state: VehicleState) -> NDArray[np.int64]:
    """Returns the lane index of the connector each vehicle is on or comes to; -1: none ``[V]``."""
    return _next_connector(fleet, state)[0]


def red_light_stops(
    fleet: Fleet, state: VehicleState, green: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Returns where on its route each vehicle stops at a light; inf where it does not ``[V]``.

    A vehicle that cannot stop with firm braking when the light changes drives on.
    """
    connector, begins_m = _next_connector(fleet, state)
    gap = begins_m - state.along_m - fleet.sizes_m[:, 0] / 2
    can_stop = state.speeds_mps**2 < 2 * _FIRM_BRAKE_MPS2 * np.maximum(gap + 0.5, 0.0)
    stops = (connector >= 0) & ~green & (gap > -0.5) & can_stop
    return np.where(stops, begins_m, np.inf)


def _junctions(fleet: Fleet, state: VehicleState, green: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Returns the gap to a junction where a vehicle with precedence is or arrives ``[V]``.

    Vehicles in the junction go first, then those that arrive first. Vehicles at red do not count.
    """
    count = len(state.along_m)
    connector, begins_m = _next_connector(fleet, state)
    gap = begins_m - state.along_m - fleet.sizes_m[:, 0] / 2
    arrival = np.where(gap <= 0, -1.0, gap / np.maximum(state.speeds_mps, 1.0))
    order = np.empty(count)
    order[np.lexsort((np.arange(count), arrival))] = np.arange(count)
    comes = (gap < _JUNCTION_LOOK_M) & (connector >= 0) & (green | (gap <= 0))
    near_it = np.flatnonzero(comes & state.active)
    me, other = pairs_within(state.poses[near_it, :2], 2 * _JUNCTION_LOOK_M)
    me, other = near_it[me], near_it[other]
    blocked = fleet.conflicts[connector[me], connector[other]] & (order[other] < order[me])
    blocked &= gap[me] > 0
    return min_by_owner(np.where(blocked, gap[me], np.inf), me, count)
