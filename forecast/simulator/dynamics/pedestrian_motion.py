"""How people move: social forces, held courses, sudden changes of mind, kerbs and lights.

A person keeps a course - a velocity - until a moment of attention comes, a bend of the way or an
obstacle, and then takes a new one: towards the route, at a pace and with a veer that drift as
Ornstein-Uhlenbeck processes, plus a fresh nudge. So people walk perfectly straight for a while and
change abruptly, as recorded ones do; this, not avoidance, makes them hard to extrapolate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast import geometry
from forecast.simulator import random_numbers as streams
from forecast.simulator import routes
from forecast.simulator.dynamics import social_forces as forces
from forecast.simulator.dynamics.social_forces import left, unit
from forecast.simulator.population.pedestrians import Crossings, Crowd

_RELAXATION_S = 0.25
_MAX_ACCELERATION_MPS2 = 4.0

_DRIFT_SPREAD = np.array([0.06, 0.03, 0.25])
"""Standard deviations of log speed, heading (rad) and lateral offset (m)."""
_DRIFT_TIME_S = np.array([4.0, 3.0, 5.0])
_NUDGE_SPREAD = np.array([0.32, 0.25])
"""The same for what a new course adds to the first two."""
_CORRECTIONS_HZ = 1.0
"""How much sooner a course is looked over that strays from the plain way on by such a spread."""
_DRIFT_SHARED = 0.9
"""Correlation of the drift within a group."""
_BEND_RAD = 0.45
"""A course this far off the way is given up."""
_STOP_S = 4.0
"""Mean length of a stop on the way."""

_LOOK_AHEAD_M = 4.0
_KERB_LOOK_M = 4.0
_STEP_BACK_M = 1.6
"""Who is no further than this on the road steps back from a car that does not stop."""
_COHESION_PER_M = 0.35
_COURSE, _STOP, _STOP_LENGTH = 40, 41, 42
"""Channels of random numbers; the drift has the first ones."""


@dataclass(frozen=True, eq=False)
class PeopleState:
    """Where people are and what they are up to.

    Attributes:
        positions_m: ``[A, 2]``.
        velocities_mps: ``[A, 2]``.
        headings_rad: ``[A]``.
        along_m: Progress on their routes ``[A]``.
        sense: 1 for those who go on, -1 for those who have turned back ``[A]``.
        drift: The three drift processes, unit variance ``[A, 3]``.
        course_mps: The course each keeps ``[A, 2]``.
        spots_m: Where each came to stand last ``[A, 2]``.
        idle_s: How long each will go on standing ``[A]``.
        looked_s: How long each has had a gap in front ``[A]``.
        waited_s: Time spent at the kerb ``[A]``.
        decided: How many of their crossings they have decided to walk ``[A]``.
    """

    positions_m: NDArray[np.float64]
    velocities_mps: NDArray[np.float64]
    headings_rad: NDArray[np.float64]
    along_m: NDArray[np.float64]
    sense: NDArray[np.float64]
    drift: NDArray[np.float64]
    course_mps: NDArray[np.float64]
    spots_m: NDArray[np.float64]
    idle_s: NDArray[np.float64]
    looked_s: NDArray[np.float64]
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
        allowed: Whether the light lets them start, or they do not care ``[A]``.
    """

    crossing: NDArray[np.int64]
    distance_m: NDArray[np.float64]
    progress: NDArray[np.float64]
    forward: NDArray[np.bool_]
    decided: NDArray[np.bool_]
    close: NDArray[np.bool_]
    allowed: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Outlook:
    """What traffic leaves people.

    Attributes:
        clear: Whether each could start to cross now ``[A]``.
        danger_m: Way left to the lane of a car that will not stop for them, inf if none ``[A]``.
    """

    clear: NDArray[np.bool_]
    danger_m: NDArray[np.float64]


def begin(crowd: Crowd) -> PeopleState:
    """The people where their routes begin, walking or standing."""
    count = len(crowd.keys)
    poses = routes.at(crowd.routes, crowd.begins_m)
    headings = geometry.wrap_angle(poses[:, 2])
    positions = poses[:, :2] + crowd.laterals_m[:, None] * left(poses[:, 2])
    velocities = np.where(crowd.stands_s > 0, 0.0, crowd.speeds_mps)[:, None] * unit(headings)
    zeros = np.zeros(count)
    return PeopleState(
        positions_m=positions,
        velocities_mps=velocities,
        headings_rad=_turned_aside(crowd, headings),
        along_m=crowd.begins_m,
        sense=np.ones(count),
        drift=_shared_normal(crowd, -1)[:, :3],
        course_mps=velocities,
        spots_m=positions,
        idle_s=crowd.stands_s,
        looked_s=zeros,
        waited_s=zeros,
        decided=np.zeros(count, np.int64),
    )


def _turned_aside(crowd: Crowd, headings_rad: NDArray[Any]) -> NDArray[np.float64]:
    """Those who stand for good look anywhere."""
    anywhere = 2 * np.pi * streams.uniform(crowd.keys, -1, _COURSE) - np.pi
    return np.where(np.isinf(crowd.stands_s), anywhere, headings_rad)


def intents(
    crowd: Crowd, crossings: Crossings, state: PeopleState, walk: NDArray[np.bool_]
) -> Intent:
    """What each person is about to cross; ``walk`` says where the light, if any, allows it."""
    over = state.along_m[:, None] > crowd.kerbs_m[..., 1]
    nth = np.minimum(over.sum(1), crowd.crossings.shape[1] - 1)
    agent = np.arange(len(nth))
    first, second = crowd.kerbs_m[agent, nth].T
    ahead = (state.sense > 0) | (state.along_m > first)
    exists = np.isfinite(second) & (state.along_m <= second) & ahead
    distance = np.where(exists, first - state.along_m, np.inf)
    crossing = np.where(exists, crowd.crossings[agent, nth], -1)
    forward = crowd.forward[agent, nth]
    line = crossings.lines_m[crossing]
    span = line[:, 1] - line[:, 0]
    done = ((state.positions_m - line[:, 0]) * span).sum(-1) / (span**2).sum(-1)
    return Intent(
        crossing=crossing,
        distance_m=distance,
        progress=np.where(forward, done, 1 - done),
        forward=forward,
        decided=exists & (state.decided > nth),
        close=(distance < _KERB_LOOK_M) & (state.idle_s <= 0),
        allowed=walk[crossing] | ~crowd.obeys,
    )


def step(
    crowd: Crowd,
    state: PeopleState,
    intent: Intent,
    outlook: Outlook,
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
        outlook: What traffic leaves them.
        cars: Poses ``[V, 3]`` of everything with wheels, as far as people mind it.
        car_sizes_m: Length and width ``[V, 2]``.
        index: Number of this time step; addresses the random numbers.
        dt_s: Length of the step.
    """
    looked, decided = _decisions(crowd, state, intent, outlook, dt_s)
    nth = (state.along_m[:, None] > crowd.kerbs_m[..., 1]).sum(1)
    held = intent.close & (decided <= nth) & (intent.distance_m > -_STEP_BACK_M)
    waited = np.where(held, state.waited_s + dt_s, 0.0)
    gives_up = _any_of_group(crowd, held & (waited > crowd.patience_s))
    idle = _idle(crowd, state, intent, index, dt_s)
    luck = _shared_normal(crowd, index)
    drift = _drifted(state.drift, luck[:, :3], dt_s)
    stands = (idle > 0) | _arrived(crowd, state)
    course = _course(crowd, state, drift, luck[:, 3:], stands | held, index, dt_s)
    wanted = _wanted_velocity(crowd, state, intent, outlook, course, held, stands)
    push = (
        (wanted - state.velocities_mps) / _RELAXATION_S
        + forces.from_people(crowd, state.positions_m, state.velocities_mps, state.headings_rad)
        + forces.from_vehicles(state.positions_m, cars, car_sizes_m)
        + forces.from_borders(crowd, state.positions_m, state.along_m)
    )
    velocities = state.velocities_mps + dt_s * _at_most(push, _MAX_ACCELERATION_MPS2)
    velocities = _at_most(velocities, 1.6 * crowd.speeds_mps)
    positions = state.positions_m + dt_s * velocities
    return PeopleState(
        positions_m=positions,
        velocities_mps=velocities,
        headings_rad=_turned(state.headings_rad, velocities, dt_s),
        along_m=_progress(crowd, state, positions),
        sense=np.where(gives_up, -1.0, state.sense),
        drift=drift,
        course_mps=course,
        spots_m=np.where(stands[:, None] & (state.idle_s > 0)[:, None], state.spots_m, positions),
        idle_s=np.maximum(idle - dt_s, 0.0),
        looked_s=looked,
        waited_s=waited,
        decided=decided,
    )


def _decisions(
    crowd: Crowd, state: PeopleState, intent: Intent, outlook: Outlook, dt_s: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """How long each has looked at a gap, and what they decide; a group goes or stays together."""
    nth = (state.along_m[:, None] > crowd.kerbs_m[..., 1]).sum(1)
    able = outlook.clear & intent.allowed
    looked = np.where(able & intent.close, state.looked_s + dt_s, 0.0)
    willing = (able & (looked > crowd.hesitates_s)) | intent.decided | (intent.crossing < 0)
    goes = intent.close & ~_any_of_group(crowd, ~willing)
    frightened = intent.decided & np.isfinite(outlook.danger_m) & (intent.distance_m < 1.0)
    at_kerb = intent.distance_m > -_STEP_BACK_M
    recoils = _any_of_group(crowd, frightened & at_kerb) & at_kerb & (intent.crossing >= 0)
    decided = np.where(goes, np.maximum(state.decided, nth + 1), state.decided)
    return looked, np.where(recoils, np.minimum(decided, nth), decided)


def _idle(
    crowd: Crowd, state: PeopleState, intent: Intent, index: int, dt_s: float
) -> NDArray[np.float64]:
    """Time left to stand; now and then someone stops, with the group, but not at or on the road."""
    lead = crowd.keys[crowd.leaders]
    stops = streams.uniform(lead, index, _STOP) < dt_s * crowd.stops_hz
    length = -_STOP_S * np.log(streams.uniform(lead, index, _STOP_LENGTH))
    may = ~_any_of_group(crowd, intent.distance_m < _KERB_LOOK_M) & (state.idle_s <= 0)
    return np.where(stops & may, length, state.idle_s)


def _arrived(crowd: Crowd, state: PeopleState) -> NDArray[np.bool_]:
    over = state.along_m > crowd.lengths_m - 1.0
    return np.where(state.sense > 0, over, state.along_m < 1.0)


def _at_most(vectors: NDArray[Any], limit: NDArray[Any] | float) -> NDArray[np.float64]:
    """Shortens vectors ``[A, 2]`` to a limit."""
    length = np.maximum(np.hypot(vectors[:, 0], vectors[:, 1]), 1e-9)
    shortened: NDArray[np.float64] = vectors * np.minimum(1.0, limit / length)[:, None]
    return shortened


def _any_of_group(crowd: Crowd, holds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether something holds for any member of each one's group ``[A]``."""
    count = np.bincount(crowd.leaders, weights=holds, minlength=len(holds))
    return count[crowd.leaders] > 0


def _shared_normal(crowd: Crowd, index: int) -> NDArray[np.float64]:
    """Normal numbers ``[A, 5]`` for drift and nudge, correlated within groups."""
    channels = np.arange(5)
    own = streams.normal(crowd.keys[:, None], index, channels)
    group = streams.normal(crowd.keys[crowd.leaders, None], index, channels + 8)
    return np.sqrt(_DRIFT_SHARED) * group + np.sqrt(1 - _DRIFT_SHARED) * own


def _drifted(drift: NDArray[Any], fresh: NDArray[Any], dt_s: float) -> NDArray[np.float64]:
    """The exact update of three Ornstein-Uhlenbeck processes of unit variance."""
    keep = np.exp(-dt_s / _DRIFT_TIME_S)
    result: NDArray[np.float64] = keep * drift + np.sqrt(1 - keep**2) * fresh
    return result


def _course(
    crowd: Crowd,
    state: PeopleState,
    drift: NDArray[Any],
    nudge: NDArray[Any],
    busy: NDArray[np.bool_],
    index: int,
    dt_s: float,
) -> NDArray[np.float64]:
    """The course each keeps or takes now ``[A, 2]``; the members of a group look up together."""
    widest = forces.HALF_WALKWAY_M - 0.2
    aside = np.clip(crowd.laterals_m + _DRIFT_SPREAD[2] * drift[:, 2], -widest, widest)
    ahead = routes.at(crowd.routes, state.along_m + state.sense * _LOOK_AHEAD_M)
    aim = ahead[:, :2] + aside[:, None] * left(ahead[:, 2]) - state.positions_m
    bearing = np.arctan2(aim[:, 1], aim[:, 0])
    speed = crowd.speeds_mps * _cohesion(crowd, state)
    stray = _stray(state.course_mps, bearing, speed)
    off = np.abs(stray[:, 1]) > _BEND_RAD
    hurry = _CORRECTIONS_HZ * np.minimum((stray / _NUDGE_SPREAD) ** 2, 9.0).sum(-1)
    lead = crowd.leaders
    looks = streams.uniform(crowd.keys[lead], index, _COURSE) < dt_s * (
        1 / crowd.holds_s + hurry[lead]
    )
    fresh = looks | _any_of_group(crowd, off | busy)
    nudge = nudge * np.abs(nudge) / np.sqrt(3.0)  # mostly slight, at times sharp; unit variance
    pace, veer = (_DRIFT_SPREAD[:2] * drift[:, :2] + _NUDGE_SPREAD * nudge * looks[:, None]).T
    course = (speed * np.exp(pace))[:, None] * unit(bearing + veer)
    return np.where(fresh[:, None], course, state.course_mps)


def _stray(
    course_mps: NDArray[Any], bearing_rad: NDArray[Any], speed_mps: NDArray[Any]
) -> NDArray[np.float64]:
    """How far courses are from the plain way on, in log speed and angle ``[A, 2]``."""
    heading = np.arctan2(course_mps[:, 1], course_mps[:, 0])
    pace = np.hypot(course_mps[:, 0], course_mps[:, 1])
    faster = np.log(np.maximum(pace, 0.1) / speed_mps)
    return np.stack([faster, geometry.wrap_angle(bearing_rad - heading)], -1)


def _cohesion(crowd: Crowd, state: PeopleState) -> NDArray[np.float64]:
    """Factors of speed by which a group keeps together ``[A]``."""
    count = len(crowd.leaders)
    members = np.bincount(crowd.leaders, minlength=count)
    total = np.bincount(crowd.leaders, weights=state.along_m, minlength=count)
    lag = total[crowd.leaders] / np.maximum(members[crowd.leaders], 1) - state.along_m
    return np.clip(1 + _COHESION_PER_M * state.sense * lag, 0.5, 1.4)


def _wanted_velocity(
    crowd: Crowd,
    state: PeopleState,
    intent: Intent,
    outlook: Outlook,
    course: NDArray[Any],
    held: NDArray[np.bool_],
    stands: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Desired velocities ``[A, 2]``: on course, back to the kerb or to the place to stand at."""
    hurries = (intent.distance_m < 0) & (outlook.danger_m < 0.5)
    course = course * np.where(hurries, 1.35, 1.0)[:, None]
    room = np.where(held, np.maximum(intent.distance_m - 0.4, 0.0), np.inf)
    waits = (intent.distance_m < 0) & (outlook.danger_m >= 0.5)
    room = np.where(waits, np.maximum(outlook.danger_m - 0.5, 0.0), room)
    walking = _at_most(course, np.sqrt(2 * 0.9 * room))
    kerb = routes.at(crowd.routes, state.along_m + np.minimum(intent.distance_m, 0.0) - 0.6)
    kerb = kerb[:, :2] + crowd.laterals_m[:, None] * left(kerb[:, 2])
    at_kerb = (held & (intent.distance_m < 0.1))[:, None]
    home = np.where(at_kerb, kerb, state.spots_m)
    back = _at_most(1.2 * (home - state.positions_m), 0.9)
    return np.where(stands[:, None] | at_kerb, back, walking)


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


def _progress(crowd: Crowd, state: PeopleState, positions_m: NDArray[Any]) -> NDArray[np.float64]:
    """Follows the foot of the perpendicular on each route."""
    poses = routes.at(crowd.routes, state.along_m)
    forward = ((positions_m - poses[:, :2]) * unit(poses[:, 2])).sum(-1)
    return np.clip(state.along_m + np.clip(forward, -1.0, 1.0), 0.0, crowd.lengths_m)
