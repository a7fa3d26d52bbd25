"""Motion of pedestrians: courses that change abruptly, social forces, kerbs and traffic lights.

A pedestrian keeps a course (a velocity) until a random moment, a bend of the route or an obstacle.
Then it takes a new course: towards the route, with a change of speed and direction. This change is
the sum of a slow drift (Ornstein-Uhlenbeck processes) and a new random part. So pedestrians walk
perfectly straight for a while and then change abruptly, as recorded ones do. These changes, and not
collision avoidance, make them hard to extrapolate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast import geometry
from forecast.simulator import random_numbers, routes
from forecast.simulator.dynamics import social_forces
from forecast.simulator.dynamics.social_forces import left, unit
from forecast.simulator.population.pedestrians import Crossings, Crowd

_RELAXATION_S = 0.25
_MAX_ACCELERATION_MPS2 = 4.0

_DRIFT_SPREAD = np.array([0.06, 0.03, 0.25])
"""Standard deviations of log speed, heading (rad) and lateral offset (m)."""
_DRIFT_TIME_S = np.array([4.0, 3.0, 5.0])
_NUDGE_SPREAD = np.array([0.32, 0.25])
"""Standard deviations of what a new course adds to log speed and heading."""
_CORRECTIONS_HZ = 1.0
"""Added rate of course changes when a course differs from the route by one `_NUDGE_SPREAD`."""
_DRIFT_SHARED = 0.9
"""Correlation of the drift within a group."""
_BEND_RAD = 0.45
"""A course is dropped if its angle to the route is larger than this."""
_STOP_S = 4.0
"""Mean length of a stop on the way."""

_LOOK_AHEAD_M = 4.0
_KERB_LOOK_M = 4.0
STEP_BACK_M = 1.6
"""Pedestrians less than this far on the road step back from a vehicle that does not stop."""
STOPS_BEFORE_M = 0.5
"""Pedestrians on the road stop this far before the lane of a vehicle that does not stop."""
_COHESION_PER_M = 0.35
_COURSE, _STOP, _STOP_LENGTH = 40, 41, 42
"""Channels of random numbers. The drift uses the first ones."""


@dataclass(frozen=True, eq=False)
class PedestrianState:
    """What changes about the pedestrians of a scene.

    Attributes:
        positions_m: ``[A, 2]``.
        velocities_mps: ``[A, 2]``.
        headings_rad: ``[A]``.
        along_m: Progress on their routes ``[A]``.
        direction: 1 for those who walk on, -1 for those who have turned back ``[A]``.
        drift: The three drift processes, of unit variance ``[A, 3]``.
        course_mps: The course that each keeps ``[A, 2]``.
        standing_places_m: Where each stood last, or is now ``[A, 2]``.
        idle_s: Remaining standing time ``[A]``.
        gap_seen_s: Time for which each has had a gap in traffic ``[A]``.
        waited_s: Waiting time at the kerb ``[A]``.
        decided: Number of their crossings that they have decided to walk ``[A]``.
    """

    positions_m: NDArray[np.float64]
    velocities_mps: NDArray[np.float64]
    headings_rad: NDArray[np.float64]
    along_m: NDArray[np.float64]
    direction: NDArray[np.float64]
    drift: NDArray[np.float64]
    course_mps: NDArray[np.float64]
    standing_places_m: NDArray[np.float64]
    idle_s: NDArray[np.float64]
    gap_seen_s: NDArray[np.float64]
    waited_s: NDArray[np.float64]
    decided: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CrossingIntent:
    """The next crossing of each pedestrian. Vehicles and the search for gaps read it.

    Attributes:
        crossing: Index of the crossing that each comes to or is on; -1: none ``[A]``.
        distance_m: Distance to the kerb where each starts to cross; negative on the road ``[A]``.
        progress: Share of the crossing that each has walked ``[A]``.
        forward: Whether each walks from the crossing's first kerb to its second ``[A]``.
        decided: Whether each has decided to go ``[A]``.
        close: Whether each is close enough to look for a gap and to be yielded to ``[A]``.
        allowed: Whether the light allows each to start, or each ignores it ``[A]``.
    """

    crossing: NDArray[np.int64]
    distance_m: NDArray[np.float64]
    progress: NDArray[np.float64]
    forward: NDArray[np.bool_]
    decided: NDArray[np.bool_]
    close: NDArray[np.bool_]
    allowed: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class CrossingGaps:
    """Gaps in traffic for each pedestrian at a crossing.

    Attributes:
        clear: Whether each could start to cross now ``[A]``.
        danger_m: Distance to the lane of a vehicle that will not stop for them; inf: none ``[A]``.
    """

    clear: NDArray[np.bool_]
    danger_m: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Negotiation:
    """What people change about their own courses because of vehicles in shared space.

    Attributes:
        pace: Factors of their speeds ``[A]``.
        aside_mps: Velocities that are added ``[A, 2]``.
    """

    pace: NDArray[np.float64]
    aside_mps: NDArray[np.float64]


def initial_state(crowd: Crowd) -> PedestrianState:
    """Returns the pedestrians at the starts of their routes, walking or standing."""
    count = len(crowd.keys)
    poses = routes.at(crowd.routes, crowd.begins_m)
    headings = geometry.wrap_angle(poses[:, 2])
    positions = poses[:, :2] + crowd.laterals_m[:, None] * left(poses[:, 2])
    velocities = np.where(crowd.stands_s > 0, 0.0, crowd.speeds_mps)[:, None] * unit(headings)
    zeros = np.zeros(count)
    return PedestrianState(
        positions_m=positions,
        velocities_mps=velocities,
        headings_rad=_initial_headings(crowd, headings),
        along_m=crowd.begins_m,
        direction=np.ones(count),
        drift=_shared_normal(crowd, -1)[:, :3],
        course_mps=velocities,
        standing_places_m=positions,
        idle_s=crowd.stands_s,
        gap_seen_s=zeros,
        waited_s=zeros,
        decided=np.zeros(count, np.int64),
    )


def _initial_headings(crowd: Crowd, headings_rad: NDArray[Any]) -> NDArray[np.float64]:
    """Returns headings ``[A]``; those who stand permanently have random ones."""
    anywhere = 2 * np.pi * random_numbers.uniform(crowd.keys, -1, _COURSE) - np.pi
    return np.where(np.isinf(crowd.stands_s), anywhere, headings_rad)


def standing(crowd: Crowd, state: PedestrianState) -> NDArray[np.bool_]:
    """Returns who stands for a while, or has arrived ``[A]``."""
    return (state.idle_s > 0) | _arrived(crowd, state)


def crossing_intents(
    crowd: Crowd, crossings: Crossings, state: PedestrianState, walk: NDArray[np.bool_]
) -> CrossingIntent:
    """Returns the next crossing of each pedestrian.

    Args:
        crowd: The pedestrians.
        crossings: The crossings.
        state: The state of the pedestrians.
        walk: Whether the light, if there is one, allows to start at each crossing ``[X]``.
    """
    over = state.along_m[:, None] > crowd.kerbs_m[..., 1]
    nth = np.minimum(over.sum(1), crowd.crossings.shape[1] - 1)
    agent = np.arange(len(nth))
    first, second = crowd.kerbs_m[agent, nth].T
    ahead = (state.direction > 0) | (state.along_m > first)
    exists = np.isfinite(second) & (state.along_m <= second) & ahead
    distance = np.where(exists, first - state.along_m, np.inf)
    crossing = np.where(exists, crowd.crossings[agent, nth], -1)
    forward = crowd.forward[agent, nth]
    # The last line stands for none, so that there is one if there are no crossings.
    line = np.vstack([crossings.lines_m, [[[0.0, 0.0], [1.0, 0.0]]]])[crossing]
    span = line[:, 1] - line[:, 0]
    done = ((state.positions_m - line[:, 0]) * span).sum(-1) / (span**2).sum(-1)
    return CrossingIntent(
        crossing=crossing,
        distance_m=distance,
        progress=np.where(forward, done, 1 - done),
        forward=forward,
        decided=exists & (state.decided > nth),
        close=(distance < _KERB_LOOK_M) & (state.idle_s <= 0),
        allowed=np.append(walk, False)[crossing] | ~crowd.obeys,
    )


def no_crossings(count: int) -> CrossingIntent:
    """Returns that nobody comes to a crossing, for a number of pedestrians."""
    no, far = np.zeros(count, bool), np.full(count, np.inf)
    return CrossingIntent(np.full(count, -1), far, np.zeros(count), no, no, no, no)


def step_pedestrians(
    crowd: Crowd,
    state: PedestrianState,
    intent: CrossingIntent,
    gaps: CrossingGaps,
    cars: NDArray[Any],
    car_sizes_m: NDArray[Any],
    index: int,
    dt_s: float,
    negotiation: Negotiation | None = None,
) -> PedestrianState:
    """Returns the state of the pedestrians one step later.

    Args:
        crowd: The pedestrians.
        state: Their state now. It is not modified.
        intent: Their next crossings.
        gaps: Their gaps in traffic.
        cars: Poses of the vehicles as obstacles ``[V, 3]``.
        car_sizes_m: Length and width ``[V, 2]``.
        index: Number of this time step. It selects the random numbers.
        dt_s: Length of the step.
        negotiation: What they change because of vehicles, in shared space. There they may leave
            their way by any distance.
    """
    gap_seen, decided = _decisions(crowd, state, intent, gaps, dt_s)
    nth = (state.along_m[:, None] > crowd.kerbs_m[..., 1]).sum(1)
    held = intent.close & (decided <= nth) & (intent.distance_m > -STEP_BACK_M)
    waited = np.where(held, state.waited_s + dt_s, 0.0)
    gives_up = _any_of_group(crowd, held & (waited > crowd.patience_s))
    idle = _standing_time(crowd, state, intent, index, dt_s)
    noise = _shared_normal(crowd, index)
    drift = _drifted(state.drift, noise[:, :3], dt_s)
    stands = (idle > 0) | _arrived(crowd, state)
    course = _course(crowd, state, drift, noise[:, 3:], stands | held, index, dt_s)
    wanted = _wanted_velocity(crowd, state, intent, gaps, course, held, stands)
    stays = stands & (state.idle_s > 0)
    if negotiation is not None:
        wanted = negotiation.pace[:, None] * wanted + negotiation.aside_mps
        stays &= ~negotiation.aside_mps.any(axis=1)
    push = _push(crowd, state, wanted, cars, car_sizes_m)
    if negotiation is None:
        push = push + social_forces.from_borders(crowd, state.positions_m, state.along_m)
    velocities = state.velocities_mps + dt_s * at_most(push, _MAX_ACCELERATION_MPS2)
    velocities = at_most(velocities, 1.6 * crowd.speeds_mps)
    positions = state.positions_m + dt_s * velocities
    return PedestrianState(
        positions_m=positions,
        velocities_mps=velocities,
        headings_rad=_turned(state.headings_rad, velocities, dt_s),
        along_m=_progress(crowd, state, positions),
        direction=np.where(gives_up, -1.0, state.direction),
        drift=drift,
        course_mps=course,
        standing_places_m=np.where(stays[:, None], state.standing_places_m, positions),
        idle_s=np.maximum(idle - dt_s, 0.0),
        gap_seen_s=gap_seen,
        waited_s=waited,
        decided=decided,
    )


def _push(
    crowd: Crowd,
    state: PedestrianState,
    wanted_mps: NDArray[Any],
    cars: NDArray[Any],
    car_sizes_m: NDArray[Any],
) -> NDArray[np.float64]:
    """Returns accelerations ``[A, 2]`` towards the wanted velocities, and off people and cars."""
    places, velocities = state.positions_m, state.velocities_mps
    push: NDArray[np.float64] = (
        (wanted_mps - velocities) / _RELAXATION_S
        + social_forces.from_people(crowd, places, velocities, state.headings_rad)
        + social_forces.from_vehicles(places, cars, car_sizes_m)
    )
    return push


def _decisions(
    crowd: Crowd, state: PedestrianState, intent: CrossingIntent, gaps: CrossingGaps, dt_s: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Returns `gap_seen_s` and `decided` after the step. The members of a group decide together."""
    nth = (state.along_m[:, None] > crowd.kerbs_m[..., 1]).sum(1)
    able = gaps.clear & intent.allowed
    gap_seen = np.where(able & intent.close, state.gap_seen_s + dt_s, 0.0)
    willing = (able & (gap_seen > crowd.hesitates_s)) | intent.decided | (intent.crossing < 0)
    goes = intent.close & ~_any_of_group(crowd, ~willing)
    endangered = intent.decided & np.isfinite(gaps.danger_m) & (intent.distance_m < 1.0)
    at_kerb = intent.distance_m > -STEP_BACK_M
    steps_back = _any_of_group(crowd, endangered & at_kerb) & at_kerb & (intent.crossing >= 0)
    decided = np.where(goes, np.maximum(state.decided, nth + 1), state.decided)
    return gap_seen, np.where(steps_back, np.minimum(decided, nth), decided)


def _standing_time(
    crowd: Crowd, state: PedestrianState, intent: CrossingIntent, index: int, dt_s: float
) -> NDArray[np.float64]:
    """Returns the remaining standing time. Groups stop at random, but not at or on the road."""
    lead = crowd.keys[crowd.leaders]
    stops = random_numbers.uniform(lead, index, _STOP) < dt_s * crowd.stops_hz
    length = -_STOP_S * np.log(random_numbers.uniform(lead, index, _STOP_LENGTH))
    may = ~_any_of_group(crowd, intent.distance_m < _KERB_LOOK_M) & (state.idle_s <= 0)
    return np.where(stops & may, length, state.idle_s)


def _arrived(crowd: Crowd, state: PedestrianState) -> NDArray[np.bool_]:
    over = state.along_m > crowd.lengths_m - 1.0
    return np.where(state.direction > 0, over, state.along_m < 1.0)


def at_most(vectors: NDArray[Any], limit: NDArray[Any] | float) -> NDArray[np.float64]:
    """Shortens vectors ``[A, 2]`` to a largest length; one for all or ``[A]``."""
    length = np.maximum(np.hypot(vectors[:, 0], vectors[:, 1]), 1e-9)
    shortened: NDArray[np.float64] = vectors * np.minimum(1.0, limit / length)[:, None]
    return shortened


def _any_of_group(crowd: Crowd, holds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Returns whether something holds for any member of each one's group ``[A]``."""
    count = np.bincount(crowd.leaders, weights=holds, minlength=len(holds))
    return count[crowd.leaders] > 0


def _shared_normal(crowd: Crowd, index: int) -> NDArray[np.float64]:
    """Returns normal numbers ``[A, 5]`` for drift (3) and nudge (2), correlated within groups."""
    channels = np.arange(5)
    own = random_numbers.normal(crowd.keys[:, None], index, channels)
    group = random_numbers.normal(crowd.keys[crowd.leaders, None], index, channels + 8)
    return np.sqrt(_DRIFT_SHARED) * group + np.sqrt(1 - _DRIFT_SHARED) * own


def _drifted(drift: NDArray[Any], fresh: NDArray[Any], dt_s: float) -> NDArray[np.float64]:
    """Returns three Ornstein-Uhlenbeck processes of unit variance after an exact step."""
    keep = np.exp(-dt_s / _DRIFT_TIME_S)
    result: NDArray[np.float64] = keep * drift + np.sqrt(1 - keep**2) * fresh
    return result


def _course(
    crowd: Crowd,
    state: PedestrianState,
    drift: NDArray[Any],
    nudge: NDArray[Any],
    busy: NDArray[np.bool_],
    index: int,
    dt_s: float,
) -> NDArray[np.float64]:
    """Returns the course that each keeps or takes now ``[A, 2]``. Groups change it together."""
    widest = social_forces.HALF_WALKWAY_M - 0.2
    aside = np.clip(crowd.laterals_m + _DRIFT_SPREAD[2] * drift[:, 2], -widest, widest)
    ahead = routes.at(crowd.routes, state.along_m + state.direction * _LOOK_AHEAD_M)
    aim = ahead[:, :2] + aside[:, None] * left(ahead[:, 2]) - state.positions_m
    bearing = np.arctan2(aim[:, 1], aim[:, 0])
    speed = crowd.speeds_mps * _cohesion(crowd, state)
    stray = _stray(state.course_mps, bearing, speed)
    off = np.abs(stray[:, 1]) > _BEND_RAD
    extra_rate = _CORRECTIONS_HZ * np.minimum((stray / _NUDGE_SPREAD) ** 2, 9.0).sum(-1)
    lead = crowd.leaders
    changes = random_numbers.uniform(crowd.keys[lead], index, _COURSE) < dt_s * (
        1 / crowd.holds_s + extra_rate[lead]
    )
    fresh = changes | _any_of_group(crowd, off | busy)
    # The signed square of a normal number: mostly small, at times large, of unit variance.
    nudge = nudge * np.abs(nudge) / np.sqrt(3.0)
    pace, veer = (_DRIFT_SPREAD[:2] * drift[:, :2] + _NUDGE_SPREAD * nudge * changes[:, None]).T
    course = (speed * np.exp(pace))[:, None] * unit(bearing + veer)
    return np.where(fresh[:, None], course, state.course_mps)


def _stray(
    course_mps: NDArray[Any], bearing_rad: NDArray[Any], speed_mps: NDArray[Any]
) -> NDArray[np.float64]:
    """Returns the differences of courses from the way along the route ``[A, 2]``.

    They are in log speed and in angle.
    """
    heading = np.arctan2(course_mps[:, 1], course_mps[:, 0])
    pace = np.hypot(course_mps[:, 0], course_mps[:, 1])
    faster = np.log(np.maximum(pace, 0.1) / speed_mps)
    return np.stack([faster, geometry.wrap_angle(bearing_rad - heading)], -1)


def _cohesion(crowd: Crowd, state: PedestrianState) -> NDArray[np.float64]:
    """Returns factors of speed that keep a group together ``[A]``."""
    count = len(crowd.leaders)
    members = np.bincount(crowd.leaders, minlength=count)
    total = np.bincount(crowd.leaders, weights=state.along_m, minlength=count)
    lag = total[crowd.leaders] / np.maximum(members[crowd.leaders], 1) - state.along_m
    return np.clip(1 + _COHESION_PER_M * state.direction * lag, 0.5, 1.4)


def _wanted_velocity(
    crowd: Crowd,
    state: PedestrianState,
    intent: CrossingIntent,
    gaps: CrossingGaps,
    course: NDArray[Any],
    held: NDArray[np.bool_],
    stands: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Returns desired velocities ``[A, 2]``: on course, to the kerb or to the standing place."""
    hurries = (intent.distance_m < 0) & (gaps.danger_m < STOPS_BEFORE_M)
    course = course * np.where(hurries, 1.35, 1.0)[:, None]
    room = np.where(held, np.maximum(intent.distance_m - 0.4, 0.0), np.inf)
    waits = (intent.distance_m < 0) & (gaps.danger_m >= STOPS_BEFORE_M)
    room = np.where(waits, np.maximum(gaps.danger_m - STOPS_BEFORE_M, 0.0), room)
    walking = at_most(course, np.sqrt(2 * 0.9 * room))
    kerb = routes.at(crowd.routes, state.along_m + np.minimum(intent.distance_m, 0.0) - 0.6)
    kerb = kerb[:, :2] + crowd.laterals_m[:, None] * left(kerb[:, 2])
    at_kerb = (held & (intent.distance_m < 0.1))[:, None]
    home = np.where(at_kerb, kerb, state.standing_places_m)
    back = at_most(1.2 * (home - state.positions_m), 0.9)
    return np.where(stands[:, None] | at_kerb, back, walking)


def _turned(
    headings_rad: NDArray[Any], velocities_mps: NDArray[Any], dt_s: float
) -> NDArray[np.float64]:
    """Returns headings ``[A]`` that follow the direction of motion while a pedestrian moves."""
    speed = np.hypot(*velocities_mps.T)
    aim = np.arctan2(velocities_mps[:, 1], velocities_mps[:, 0])
    rate = np.where(speed > 0.2, 1 - np.exp(-dt_s / 0.3), 0.0)
    turned: NDArray[np.float64] = geometry.wrap_angle(
        headings_rad + rate * geometry.wrap_angle(aim - headings_rad)
    )
    return turned


def _progress(
    crowd: Crowd, state: PedestrianState, positions_m: NDArray[Any]
) -> NDArray[np.float64]:
    """Returns the progress of each on its route: the foot of the perpendicular ``[A]``."""
    poses = routes.at(crowd.routes, state.along_m)
    forward = ((positions_m - poses[:, :2]) * unit(poses[:, 2])).sum(-1)
    return np.clip(state.along_m + np.clip(forward, -1.0, 1.0), 0.0, crowd.lengths_m)
