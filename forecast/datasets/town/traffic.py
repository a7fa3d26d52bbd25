"""How vehicles move: they follow their lanes, each other and the rules, more or less.

Car following is the Intelligent Driver Model of Treiber, Hennecke and Helbing, Physical Review E 62
(2000). A leader, a pedestrian in the way, a crosswalk to stop at and a junction to wait at are all
obstacles ahead at some gap; the most pressing one counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.datasets.town import boxes, routes, streams
from forecast.datasets.town.crowd import Crossings, Crowd
from forecast.datasets.town.fleet import Fleet
from forecast.datasets.town.people import Intent, PeopleState

_ACCELERATION_MPS2, _BRAKE_MPS2, _HARDEST_BRAKE_MPS2 = 1.5, 2.0, 8.0
_STANDSTILL_M = 2.0
_LOOK_AHEAD_M = np.arange(0.0, 42.0, 1.0)
_SIDE_MARGIN_M, _PERSON_MARGIN_M = 0.3, 0.6
_CROSSWALK_HALF_M = 2.0
_JUNCTION_LOOK_M = 35.0
_FIRM_BRAKE_MPS2 = 3.5


@dataclass(frozen=True, eq=False)
class TrafficState:
    """Where the vehicles are.

    Attributes:
        along_m: Progress on their routes ``[V]``.
        speeds_mps: ``[V]``.
        poses: ``[V, 3]`` (x_m, y_m, heading_rad).
        active: Whether they have not left the district ``[V]``.
    """

    along_m: NDArray[np.float64]
    speeds_mps: NDArray[np.float64]
    poses: NDArray[np.float64]
    active: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Encounters:
    """Where the routes of vehicles meet the crossings of people.

    Attributes:
        along_m: Distance along each route at which it meets each crossing, inf if never ``[V, X]``.
        share: How far that is from the crossing's first kerb, as a share of it ``[V, X]``.
        yields: Whether the driver gives way there ``[V, X]``.
    """

    along_m: NDArray[np.float64]
    share: NDArray[np.float64]
    yields: NDArray[np.bool_]


def begin(fleet: Fleet) -> TrafficState:
    """The vehicles where they start, at the speed of the place."""
    poses = routes.at(fleet.routes, fleet.starts_m)
    limit = routes.at(fleet.limits_mps[..., None], fleet.starts_m)[:, 0]
    speeds = 0.6 * np.minimum(fleet.speeds_mps, limit)
    return TrafficState(fleet.starts_m, speeds, poses, np.ones(len(poses), bool))


def encounters(fleet: Fleet, crossings: Crossings, keys: NDArray[np.uint64]) -> Encounters:
    """Finds where vehicles meet crossings, and draws who will give way where."""
    start, end = crossings.lines_m[:, 0], crossings.lines_m[:, 1]
    span = end - start
    along = np.full((len(fleet.routes), len(start)), np.inf)
    share = np.zeros_like(along)
    for i, route in enumerate(fleet.routes[..., :2]):
        offset = route[:, None] - start  # [N, X, 2]
        at = np.clip((offset * span).sum(-1) / (span**2).sum(-1), 0, 1)
        apart = offset - at[..., None] * span
        distance = np.hypot(apart[..., 0], apart[..., 1])
        near = distance < routes.SPACING_M
        first = near.argmax(0)
        met = near.any(0)
        along[i] = np.where(met, first * routes.SPACING_M, np.inf)
        share[i] = at[first, np.arange(len(start))]
    luck = np.stack([streams.uniform(keys, 0, 100 + x) for x in range(len(start))], -1)
    return Encounters(along, share, crossings.marked & (luck < fleet.courtesy[:, None]))


def clear_gaps(
    fleet: Fleet,
    state: TrafficState,
    meet: Encounters,
    crowd: Crowd,
    crossings: Crossings,
    intent: Intent,
    waited_s: NDArray[Any],
) -> NDArray[np.bool_]:
    """Whether each person can cross before or after every vehicle that comes ``[A]``.

    A vehicle that crawls or stands short of the crossing is taken to give way.
    """
    line = crossings.lines_m[intent.crossing]
    width = np.hypot(*(line[:, 1] - line[:, 0]).T)
    share = meet.share[:, intent.crossing]  # [V, A]
    lane_m = np.where(intent.forward, share, 1 - share) * width
    lane_m = lane_m + np.maximum(intent.distance_m, 0.0)
    half = fleet.sizes_m[:, None, 0] / 2
    ahead = meet.along_m[:, intent.crossing] - state.along_m[:, None] - _CROSSWALK_HALF_M
    front, rear = ahead - half, ahead + half + 2 * _CROSSWALK_HALF_M
    speed = np.maximum(state.speeds_mps, 0.3)[:, None]
    margin = np.maximum(crowd.margins_s - 0.1 * waited_s, 0.3)
    enter = (lane_m - 2.0) / crowd.speeds_mps - margin
    leave = (lane_m + 2.0) / crowd.speeds_mps + margin
    comes = (rear > 0) & np.isfinite(ahead) & state.active[:, None]
    in_time = (front / speed < leave) & (rear / speed > enter)
    gives_way = (state.speeds_mps[:, None] < 1.5) & (front > 0.3)
    return ~(comes & in_time & ~gives_way).any(0)


def step(
    fleet: Fleet,
    state: TrafficState,
    meet: Encounters,
    crossings: Crossings,
    people: PeopleState,
    intent: Intent,
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
        dt_s: Length of the step.
        ego_pose: Where the ego is after the step (x_m, y_m, heading_rad), if it does not drive
            itself.
    """
    limit = routes.at(fleet.limits_mps[..., None], state.along_m)[:, 0]
    wanted = np.minimum(fleet.speeds_mps, limit)
    gaps, leader_speeds = _obstacles(fleet, state, meet, crossings, people, intent)
    speed = state.speeds_mps
    closing = speed[:, None] - leader_speeds
    braking = speed[:, None] * closing / (2 * np.sqrt(_ACCELERATION_MPS2 * _BRAKE_MPS2))
    keep = _STANDSTILL_M + np.maximum(speed * fleet.headways_s, 0)[:, None]
    desired = np.maximum(keep + braking, _STANDSTILL_M)
    interaction = (desired / np.maximum(gaps, 0.1)) ** 2
    free = 1 - (speed / np.maximum(wanted, 0.1)) ** 4
    acceleration = _ACCELERATION_MPS2 * (free - interaction.max(1))
    acceleration = np.clip(acceleration, -_HARDEST_BRAKE_MPS2, _ACCELERATION_MPS2)
    faster = np.maximum(speed + dt_s * acceleration, 0.0)
    along = state.along_m + dt_s * (speed + faster) / 2
    poses = routes.at(fleet.routes, along)
    if ego_pose is not None:
        moved = ego_pose[:2] - state.poses[0, :2]
        poses[0] = ego_pose
        faster[0] = np.hypot(*moved) / dt_s
        along[0] = routes.nearest(fleet.routes[0], ego_pose[:2])
    return TrafficState(along, faster, poses, state.active & (along < fleet.lengths_m - 1.0))


def _obstacles(
    fleet: Fleet,
    state: TrafficState,
    meet: Encounters,
    crossings: Crossings,
    people: PeopleState,
    intent: Intent,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gaps to everything to stop for, and its speed along the route: both ``[V, M]``."""
    car_gap, car_speed = _vehicles_ahead(fleet, state)
    person_gap = _people_ahead(fleet, state, people)
    crosswalk_gap = _crosswalks(fleet, state, meet, crossings, intent)
    junction_gap = _junctions(fleet, state)
    gaps = np.stack([car_gap, person_gap, crosswalk_gap, junction_gap], -1)
    speeds = np.zeros_like(gaps)
    speeds[:, 0] = car_speed
    return gaps, speeds


def _vehicles_ahead(
    fleet: Fleet, state: TrafficState
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gap to the first vehicle on each one's way, and its speed along it."""
    way = routes.at(fleet.routes, state.along_m[:, None] + _LOOK_AHEAD_M)  # [V, W, 3]
    distance = boxes.distances(way[:, :, None, :2], state.poses, fleet.sizes_m[:, :2])
    reach = fleet.sizes_m[:, 1] / 2 + _SIDE_MARGIN_M
    hit = (distance < reach[:, None, None]) & state.active
    hit[np.arange(len(way)), :, np.arange(len(way))] = False
    first = hit.any(2).argmax(1)
    row = np.arange(len(way))
    leader = hit[row, first].argmax(1)
    gap = np.where(hit.any((1, 2)), _LOOK_AHEAD_M[first] - fleet.sizes_m[:, 0] / 2, np.inf)
    turn = state.poses[leader, 2] - way[row, first, 2]
    return gap, np.maximum(state.speeds_mps[leader] * np.cos(turn), 0.0)


def _people_ahead(fleet: Fleet, state: TrafficState, people: PeopleState) -> NDArray[np.float64]:
    """Gap to the first person who is, or in a second will be, in the way."""
    way = routes.at(fleet.routes, state.along_m[:, None] + _LOOK_AHEAD_M)[..., :2]
    soon = people.positions_m + 1.0 * people.velocities_mps
    reach = fleet.sizes_m[:, 1] / 2 + _PERSON_MARGIN_M
    hit = np.zeros(way.shape[:2], bool)
    for where in (people.positions_m, soon):
        x, y = way[..., 0, None] - where[:, 0], way[..., 1, None] - where[:, 1]  # [V, W, A]
        hit |= (x * x + y * y < reach[:, None, None] ** 2).any(2)
    ahead = hit & (fleet.sizes_m[:, None, 0] / 2 - 0.5 < _LOOK_AHEAD_M)
    gap = _LOOK_AHEAD_M[ahead.argmax(1)] - fleet.sizes_m[:, 0] / 2
    return np.where(ahead.any(1), gap, np.inf)


def _crosswalks(
    fleet: Fleet, state: TrafficState, meet: Encounters, crossings: Crossings, intent: Intent
) -> NDArray[np.float64]:
    """Gap to the first crosswalk where a driver lets someone cross."""
    line = crossings.lines_m[intent.crossing]
    width = np.hypot(*(line[:, 1] - line[:, 0]).T)
    share = meet.share[:, intent.crossing]
    lane = np.where(intent.forward, share, 1 - share)
    before = (lane - intent.progress) * width > -2.5  # not yet past this vehicle's lane
    waits = (intent.crossing >= 0) & intent.close & before
    front = meet.along_m[:, intent.crossing] - _CROSSWALK_HALF_M - 0.5
    gap = front - state.along_m[:, None] - fleet.sizes_m[:, None, 0] / 2
    can_stop = state.speeds_mps[:, None] ** 2 < 2 * _FIRM_BRAKE_MPS2 * np.maximum(gap, 0)
    stops = waits & meet.yields[:, intent.crossing] & can_stop & (gap > 0)
    # The standstill distance is kept to the crosswalk's edge, not to a bumper.
    return np.where(stops, gap + _STANDSTILL_M - 0.5, np.inf).min(1, initial=np.inf)


def _junctions(fleet: Fleet, state: TrafficState) -> NDArray[np.float64]:
    """Gap to the stop line of a junction that someone with precedence uses or nears.

    Who is inside goes first, then who gets there first.
    """
    half = fleet.sizes_m[:, 0] / 2
    rear = state.along_m - half
    nth = (rear[:, None] > fleet.connector_spans_m[..., 1]).sum(1)
    nth = np.minimum(nth, fleet.connectors.shape[1] - 1)
    row = np.arange(len(nth))
    connector = fleet.connectors[row, nth]
    gap = fleet.connector_spans_m[row, nth, 0] - state.along_m - half
    arrival = np.where(gap <= 0, -1.0, gap / np.maximum(state.speeds_mps, 1.0))
    near = (gap < _JUNCTION_LOOK_M) & (connector >= 0) & state.active
    order = np.argsort(np.lexsort((row, arrival)))
    first = order[None, :] < order[:, None]
    clash = fleet.conflicts[connector[:, None], connector]
    blocked = clash & first & near & (gap > 0)[:, None]
    return np.where(blocked.any(1), gap + _STANDSTILL_M - 0.5, np.inf)
