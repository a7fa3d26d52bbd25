"""How vehicles move: they follow their lanes, each other and the rules, more or less.

Car following is the Intelligent Driver Model of Treiber, Hennecke and Helbing, Physical Review E 62
(2000). A leader, a pedestrian in the way, a crosswalk or a red light to stop at, a junction to wait
at and a place to halt at are all obstacles ahead at some gap; the most pressing one counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.simulator import boxes, routes
from forecast.simulator import pairs as near
from forecast.simulator import random_numbers as streams
from forecast.simulator.dynamics.pedestrian_motion import Intent, Outlook, PeopleState
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
_CARELESS_MARGIN_S = 0.2
_SEEN_BRAKE_MPS2 = 0.4


@dataclass(frozen=True, eq=False)
class TrafficState:
    """Where the vehicles are.

    Attributes:
        along_m: Progress on their routes ``[V]``.
        speeds_mps: ``[V]``.
        accelerations_mps2: ``[V]``.
        poses: ``[V, 3]`` (x_m, y_m, heading_rad).
        active: Whether they have not left the district ``[V]``.
        halted_s: How long they have stood where they halt: at a bus stop, in a parking place
            ``[V]``.
    """

    along_m: NDArray[np.float64]
    speeds_mps: NDArray[np.float64]
    accelerations_mps2: NDArray[np.float64]
    poses: NDArray[np.float64]
    active: NDArray[np.bool_]
    halted_s: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Encounters:
    """Where the routes of vehicles meet the crossings of people, one entry for each meeting.

    Attributes:
        vehicle: ``[M]``.
        crossing: ``[M]``.
        along_m: Distance along the route ``[M]``.
        share: How far that is from the crossing's first kerb, as a share of it ``[M]``.
        yields: Whether the driver gives way there ``[M]``.
    """

    vehicle: NDArray[np.int64]
    crossing: NDArray[np.int64]
    along_m: NDArray[np.float64]
    share: NDArray[np.float64]
    yields: NDArray[np.bool_]


def begin(fleet: Fleet) -> TrafficState:
    """The vehicles where they start, at the speed of the place."""
    poses = routes.at(fleet.routes, fleet.starts_m)
    limit = routes.at(fleet.limits_mps[..., None], fleet.starts_m)[:, 0]
    speeds = 0.6 * np.minimum(fleet.speeds_mps, limit)
    speeds = np.where(np.abs(fleet.halts_m - fleet.starts_m) < _HALT_REACH_M, 0.0, speeds)
    return TrafficState(
        fleet.starts_m, speeds, 0.0 * speeds, poses, np.ones(len(poses), bool), 0.0 * speeds
    )


def encounters(fleet: Fleet, crossings: Crossings, keys: NDArray[np.uint64]) -> Encounters:
    """Finds where vehicles meet crossings, and draws who will give way where."""
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
    luck = streams.uniform(keys[:, None], 0, 100 + np.arange(len(start)))
    yields = crossings.marked[crossing] & (luck[vehicle, crossing] < fleet.courtesy[vehicle])
    return Encounters(vehicle, crossing, along, share, yields)


def outlook(
    fleet: Fleet,
    state: TrafficState,
    meet: Encounters,
    crowd: Crowd,
    crossings: Crossings,
    intent: Intent,
    waited_s: NDArray[Any],
    green: NDArray[np.bool_],
) -> Outlook:
    """What the vehicles leave each person at or on a crossing.

    A vehicle that crawls or stands short of the crossing gives way, and so does one that is seen
    to brake for it; one before a red light stops. Who is on the road already trusts a driver who
    means to stop and still can.

    Args:
        fleet: Who drives.
        state: Where they are.
        meet: Where they meet crossings.
        crowd: Who walks.
        crossings: The crossings.
        intent: What people are about to cross.
        waited_s: How long each person has waited ``[A]``; it makes them bolder.
        green: Whether each vehicle may enter its next junction ``[V]``.
    """
    who, at = _concerned(intent, meet)
    car, ahead, lane_m = _approach(fleet, state, meet, crossings, intent, who, at)
    half = fleet.sizes_m[car, 0] / 2
    front, rear = ahead - half, ahead + half + 2 * _CROSSWALK_HALF_M
    speed = np.maximum(state.speeds_mps[car], 0.3)
    stops = red_lines(fleet, state, green)[car] < meet.along_m[at]
    comes = (rear > 0) & state.active[car] & ~stops
    comes &= ~((state.speeds_mps[car] < 1.5) & (front > 0.3))
    can_stop = state.speeds_mps[car] ** 2 < 2 * _FIRM_BRAKE_MPS2 * front
    brakes = can_stop & (state.accelerations_mps2[car] < -_SEEN_BRAKE_MPS2)
    trusted = can_stop & meet.yields[at]
    pace = crowd.speeds_mps[who]

    def in_time(margin_s: NDArray[Any] | float) -> NDArray[np.bool_]:
        soon = front / speed < (lane_m + 2.0) / pace + margin_s
        result: NDArray[np.bool_] = soon & (rear / speed > (lane_m - 2.0) / pace - margin_s)
        return result

    count = len(crowd.keys)
    margin = np.maximum(crowd.margins_s - 0.1 * waited_s, 0.3)[who]
    blocked = near.total(comes & ~brakes & in_time(margin), who, count) > 0
    hits = comes & ~trusted & (lane_m > -1.0) & in_time(_CARELESS_MARGIN_S)
    danger = near.least(np.where(hits, lane_m - 1.5, np.inf), who, count)
    return Outlook(~blocked, danger)


def _concerned(intent: Intent, meet: Encounters) -> near.Pairs:
    """Pairs of a person at or on a crossing and a meeting of a vehicle with that crossing."""
    there = np.flatnonzero((intent.crossing >= 0) & intent.close)
    person, at = near.pairs_with_equal(intent.crossing[there], meet.crossing)
    return there[person], at


def _approach(
    fleet: Fleet,
    state: TrafficState,
    meet: Encounters,
    crossings: Crossings,
    intent: Intent,
    who: NDArray[np.int64],
    at: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """For pairs ``[P]``: the vehicle, its way to the crossing, the person's way to its lane."""
    car = meet.vehicle[at]
    ahead = meet.along_m[at] - state.along_m[car] - _CROSSWALK_HALF_M
    line = crossings.lines_m[intent.crossing[who]]
    width = np.hypot(*(line[:, 1] - line[:, 0]).T)
    share = np.where(intent.forward[who], meet.share[at], 1 - meet.share[at])
    before = intent.distance_m[who]
    lane_m = np.where(before > 0, share * width + before, (share - intent.progress[who]) * width)
    return car, ahead, lane_m


def step(
    fleet: Fleet,
    state: TrafficState,
    meet: Encounters,
    crossings: Crossings,
    people: PeopleState,
    intent: Intent,
    green: NDArray[np.bool_],
    dt_s: float,
    ego_pose: NDArray[Any] | None = None,
) -> TrafficState:
    """The vehicles a moment later.

    Args:
        fleet: Who they are.
        state: Where they are.
        meet: Where they meet people's crossings.
        crossings: The crossings.
        people: Where people are.
        intent: What people are about to cross.
        green: Whether each may enter its next junction ``[V]``.
        dt_s: Length of the step.
        ego_pose: Where the ego is after the step (x_m, y_m, heading_rad), if it does not drive
            itself.
    """
    limit = routes.at(fleet.limits_mps[..., None], state.along_m)[:, 0]
    wanted = np.minimum(fleet.speeds_mps, limit)
    gaps, leader_speeds = _obstacles(fleet, state, meet, crossings, people, intent, green)
    speed = state.speeds_mps
    acceleration = _follow(speed, wanted, fleet.headways_s, gaps, leader_speeds)
    faster = np.maximum(speed + dt_s * acceleration, 0.0)
    along = state.along_m + dt_s * (speed + faster) / 2
    poses = routes.at(fleet.routes, along)
    if ego_pose is not None:
        moved = ego_pose[:2] - state.poses[0, :2]
        poses[0] = ego_pose
        faster[0] = np.hypot(*moved) / dt_s
        along[0] = routes.nearest(fleet.routes[0], ego_pose[:2])
    halts = (np.abs(fleet.halts_m - along) < _HALT_REACH_M) & (faster < 0.3)
    active = state.active & (along < fleet.lengths_m - 1.0)
    gained = (faster - speed) / dt_s
    return TrafficState(along, faster, gained, poses, active, state.halted_s + dt_s * halts)


def _follow(
    speed: NDArray[Any],
    wanted: NDArray[Any],
    headway_s: NDArray[Any],
    gaps: NDArray[Any],
    leader_speeds: NDArray[Any],
) -> NDArray[np.float64]:
    """The Intelligent Driver Model's acceleration ``[V]`` with obstacles ``[V, M]``."""
    closing = speed[:, None] - leader_speeds
    braking = speed[:, None] * closing / (2 * np.sqrt(_ACCELERATION_MPS2 * _BRAKE_MPS2))
    keep = _STANDSTILL_M + (speed * headway_s)[:, None]
    desired = np.maximum(keep + braking, _STANDSTILL_M)
    interaction = (desired / np.maximum(gaps, 0.1)) ** 2
    free = _ACCELERATION_MPS2 * (1 - (speed / np.maximum(wanted, 0.1)) ** 4)
    # Above the wanted speed the model brakes without limit; a driver does so in comfort.
    free = np.maximum(free, -_BRAKE_MPS2)
    acceleration = free - _ACCELERATION_MPS2 * interaction.max(1)
    limited: NDArray[np.float64] = np.clip(acceleration, -_HARDEST_BRAKE_MPS2, _ACCELERATION_MPS2)
    return limited


def _obstacles(
    fleet: Fleet,
    state: TrafficState,
    meet: Encounters,
    crossings: Crossings,
    people: PeopleState,
    intent: Intent,
    green: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gaps to everything to stop for, and its speed along the route: both ``[V, M]``."""
    half = fleet.sizes_m[:, 0] / 2
    car_gap, car_speed = _vehicles_ahead(fleet, state)
    # The standstill distance is kept to a bumper, not to the place of a line.
    line = _STANDSTILL_M - 0.5
    halt = np.where(state.halted_s < fleet.halts_s, fleet.halts_m - state.along_m, np.inf)
    gaps = [
        car_gap,
        _people_ahead(fleet, state, people),
        _crosswalks(fleet, state, meet, crossings, intent) + line,
        _junctions(fleet, state, green) + line,
        red_lines(fleet, state, green) - state.along_m - half + line,
        np.where(halt > -_HALT_REACH_M, np.maximum(halt, 0.0) + line, np.inf),
    ]
    speeds = np.zeros((len(half), len(gaps)))
    speeds[:, 0] = car_speed
    return np.stack(gaps, -1), speeds


def _vehicles_ahead(
    fleet: Fleet, state: TrafficState
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gap to the first vehicle on each one's way, and its speed along it."""
    count = len(state.along_m)
    way = routes.at(fleet.routes, state.along_m[:, None] + _LOOK_AHEAD_M)  # [V, W, 3]
    me, other = near.pairs(state.poses[:, :2], _LOOK_AHEAD_M[-1] + 8.0)
    there = state.active[other]
    me, other = me[there], other[there]
    distance = boxes.distances(
        way[me, :, :2], state.poses[other, None], fleet.sizes_m[other, None, :2]
    )
    hit = distance < (fleet.sizes_m[me, 1] / 2 + _SIDE_MARGIN_M)[:, None]
    first = np.where(hit.any(1), hit.argmax(1), len(_LOOK_AHEAD_M))
    order = np.lexsort((first, me))
    owner, row = np.unique(me[order], return_index=True)
    gap, speed = np.full(count, np.inf), np.zeros(count)
    nearest = order[row]
    seen = first[nearest] < len(_LOOK_AHEAD_M)
    owner, nearest = owner[seen], nearest[seen]
    gap[owner] = _LOOK_AHEAD_M[first[nearest]] - fleet.sizes_m[owner, 0] / 2
    turn = state.poses[other[nearest], 2] - way[owner, first[nearest], 2]
    speed[owner] = np.maximum(state.speeds_mps[other[nearest]] * np.cos(turn), 0.0)
    return gap, speed


def _people_ahead(fleet: Fleet, state: TrafficState, people: PeopleState) -> NDArray[np.float64]:
    """Gap to the first person who is, or in a second will be, in the way."""
    reach_m = _LOOK_AHEAD_M[-1] + 3.0
    car, person = near.pairs_between(state.poses[:, :2], people.positions_m, reach_m)
    way = routes.at(fleet.routes, state.along_m[:, None] + _LOOK_AHEAD_M)[car, :, :2]
    reach = (fleet.sizes_m[car, 1] / 2 + _PERSON_MARGIN_M)[:, None]
    hit = np.zeros(way.shape[:2], bool)
    for ahead_s in (0.0, 1.0):
        where = people.positions_m[person] + ahead_s * people.velocities_mps[person]
        x, y = way[..., 0] - where[:, :1], way[..., 1] - where[:, 1:]  # [P, W]
        hit |= x * x + y * y < reach**2
    hit &= fleet.sizes_m[car, None, 0] / 2 - 0.5 < _LOOK_AHEAD_M
    gap = _LOOK_AHEAD_M[hit.argmax(1)] - fleet.sizes_m[car, 0] / 2
    return near.least(np.where(hit.any(1), gap, np.inf), car, len(state.along_m))


def _crosswalks(
    fleet: Fleet, state: TrafficState, meet: Encounters, crossings: Crossings, intent: Intent
) -> NDArray[np.float64]:
    """Gap to the first crosswalk where a driver lets someone cross."""
    who, at = _concerned(intent, meet)
    car, ahead, lane_m = _approach(fleet, state, meet, crossings, intent, who, at)
    asks = intent.allowed[who] | (intent.distance_m[who] < 0)
    gap = ahead - 0.5 - fleet.sizes_m[car, 0] / 2
    can_stop = state.speeds_mps[car] ** 2 < 2 * _FIRM_BRAKE_MPS2 * np.maximum(gap, 0)
    stops = asks & (lane_m > -2.5) & meet.yields[at] & can_stop & (gap > 0)
    return near.least(np.where(stops, gap, np.inf), car, len(state.along_m))


def _next_connector(
    fleet: Fleet, state: TrafficState
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The connector each vehicle is on or comes to, -1 for none, and where it begins."""
    rear = state.along_m - fleet.sizes_m[:, 0] / 2
    nth = (rear[:, None] > fleet.connector_spans_m[..., 1]).sum(1)
    nth = np.minimum(nth, fleet.connectors.shape[1] - 1)
    row = np.arange(len(nth))
    return fleet.connectors[row, nth], fleet.connector_spans_m[row, nth, 0]


def next_lanes(fleet: Fleet, state: TrafficState) -> NDArray[np.int64]:
    """The connector each vehicle is on or comes to, as a lane index, -1 for none ``[V]``."""
    return _next_connector(fleet, state)[0]


def red_lines(fleet: Fleet, state: TrafficState, green: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Where on its route each vehicle stops at a light, inf where it does not ``[V]``.

    Who cannot stop in comfort when it changes goes on.
    """
    connector, begins_m = _next_connector(fleet, state)
    gap = begins_m - state.along_m - fleet.sizes_m[:, 0] / 2
    can_stop = state.speeds_mps**2 < 2 * _FIRM_BRAKE_MPS2 * np.maximum(gap + 0.5, 0.0)
    stops = (connector >= 0) & ~green & (gap > -0.5) & can_stop
    return np.where(stops, begins_m, np.inf)


def _junctions(fleet: Fleet, state: TrafficState, green: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Gap to the stop line of a junction that someone with precedence uses or nears.

    Who is inside goes first, then who gets there first; who has red does not count.
    """
    count = len(state.along_m)
    connector, begins_m = _next_connector(fleet, state)
    gap = begins_m - state.along_m - fleet.sizes_m[:, 0] / 2
    arrival = np.where(gap <= 0, -1.0, gap / np.maximum(state.speeds_mps, 1.0))
    order = np.empty(count)
    order[np.lexsort((np.arange(count), arrival))] = np.arange(count)
    comes = (gap < _JUNCTION_LOOK_M) & (connector >= 0) & (green | (gap <= 0))
    near_it = np.flatnonzero(comes & state.active)
    me, other = near.pairs(state.poses[near_it, :2], 2 * _JUNCTION_LOOK_M)
    me, other = near_it[me], near_it[other]
    blocked = fleet.conflicts[connector[me], connector[other]] & (order[other] < order[me])
    blocked &= gap[me] > 0
    return near.least(np.where(blocked, gap[me], np.inf), me, count)
