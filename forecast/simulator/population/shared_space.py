"""Who is in a shared space: cars, carts, forklifts and robots, parked cars, and people among them.

Vehicles drive around the blocks at random. Most people are drawn so that they come near a vehicle
if both keep their speeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from forecast import geometry
from forecast.simulator import boxes, routes
from forecast.simulator.map.shared_space import SharedSpace
from forecast.simulator.population import pedestrians
from forecast.simulator.population.pedestrians import Crossings, Crowd
from forecast.simulator.population.vehicles import (
    CAR_M,
    EGO_SIZE_M,
    Fleet,
    ego_corridor,
    speed_limits,
)
from forecast.simulator.population.walking_routes import WalkingRoute, points_on

_EGO_MPS = (2.0, 4.0)


@dataclass(frozen=True)
class _Sort:
    """A sort of vehicle: category, length, width, height, and the range of desired speeds."""

    category: str
    size_m: tuple[float, float, float]
    speeds_mps: tuple[float, float]


_SORTS = {
    "car": _Sort("vehicle.car", (4.4, 1.8, 1.6), (2.5, 4.0)),
    "cart": _Sort("vehicle.car", (2.5, 1.25, 1.8), (2.2, 4.0)),
    "robot": _Sort("vehicle.car", (0.9, 0.65, 1.1), (0.6, 2.0)),
    "forklift": _Sort("vehicle.construction", (2.6, 1.2, 2.1), (1.5, 3.2)),
}
"""nuScenes has no carts and robots. By these categories they are read as vehicles."""

_ROUTE_M = 130.0
_ROUNDING_M = 4.0
_TAKEN_SHARE = 0.75
"""Share of the parking bays that are taken."""
_PLACE_MARGIN_M = 4.0

_GROUP_SHARES = (0.45, 0.27, 0.13, 0.07, 0.05, 0.03)
"""Shares of the groups of one to six."""
_ABREAST, _SIDE_M, _ROW_M = 3, 1.35, 1.8
_STAND_SHARE = 0.05
_HOLDS = 2.0
"""On open ground people keep a course for this many times as long as on a walkway."""
_TRIES = 20
"""A group takes the first of this many ways that comes near a vehicle, or else the last one."""
_MEETS_M, _MEETS_WITHIN_S = 2.5, 18.0
_WALK_MPS, _WARM_UP_S = 1.3, 4.0
_ALONG_SHARE, _COS_ALONG = 0.65, 0.8
"""Share of the groups that meet the vehicle head-on or from behind, and the cosine of an angle up
to which a meeting is one."""
_EGO_SHARE = 0.5
"""Share of the groups that come near the ego; the others come near any vehicle."""
_NEAR_EGO_M, _SHORTEST_M = 30.0, 25.0
_WALK_M = 28.0
"""People who can start so that they do not arrive within this distance."""


def draw_shared_fleet(space: SharedSpace, moving: int, rng: Generator) -> Fleet:
    """Draws the vehicles of one scene; row 0 is the ego.

    `Fleet.yield_probability` is the probability to let a person go first who comes into the way.

    Args:
        space: The place.
        moving: Largest number of moving vehicles, the ego included.
        rng: Random generator.
    """
    names, lines, starts, speeds, sizes = _vehicles(space, moving, rng)
    packed, lengths = routes.pack(lines)
    count = len(names)
    corridor = ego_corridor(packed[0], starts[0], 60.0)
    poses, parked_sizes = _parked(space, corridor, rng)
    none = np.full(count, np.inf)
    return Fleet(
        categories=np.array(names),
        sizes_m=np.array(sizes),
        routes=packed,
        limits_mps=speed_limits(packed),
        lengths_m=lengths,
        starts_m=np.array(starts),
        halts_m=none,
        halts_s=np.zeros(count),
        speeds_mps=np.array(speeds),
        headways_s=rng.uniform(0.6, 1.2, count),
        yield_probability=rng.uniform(0.2, 0.9, count),
        connectors=np.full((count, 1), -1),
        connector_spans_m=np.full((count, 1, 2), np.inf),
        conflicts=np.zeros((0, 0), bool),
        parked_categories=np.full(len(poses), "vehicle.car", "<U40"),
        parked_poses=poses,
        parked_sizes_m=parked_sizes,
        site=None,
        prop_categories=np.zeros(0, "<U40"),
        prop_poses=np.zeros((0, 3)),
        prop_sizes_m=np.zeros((0, 3)),
    )


def draw_shared_crowd(
    space: SharedSpace, fleet: Fleet, count: int, keys: NDArray[np.uint64], rng: Generator
) -> tuple[Crowd, Crossings]:
    """Draws the pedestrians of one scene. There are no crossings.

    Args:
        space: The place.
        fleet: The vehicles that most of them come near.
        count: Number of pedestrians.
        keys: Keys of random numbers, at least one for each pedestrian.
        rng: Random generator.
    """
    corridor = ego_corridor(fleet.routes[0], float(fleet.starts_m[0]), 60.0)
    apart = np.hypot(*(corridor[:, None] - space.doors).transpose(2, 0, 1)).min(0)
    doors = np.flatnonzero(apart < _NEAR_EGO_M)
    tracks = _nominal_tracks(fleet)
    rows: list[dict[str, Any]] = []
    while len(rows) < count:
        size = min(1 + int(rng.choice(len(_GROUP_SHARES), p=_GROUP_SHARES)), count - len(rows))
        stands = rng.random() < _STAND_SHARE
        walk = _walk(space, doors, tracks, rng)
        rows += _group(walk, stands, len(rows), size, rng)
    crossings = Crossings(np.zeros((0, 2, 2)), np.zeros(0, bool))
    return pedestrians.pack(rows, [], keys), crossings


def _vehicles(
    space: SharedSpace, moving: int, rng: Generator
) -> tuple[list[str], list[NDArray[np.float64]], list[float], list[float], list[Any]]:
    """Draws categories, routes, starts, speeds and sizes of the ego and of the others."""
    shares = space.kind.vehicles
    names, lines, starts, speeds, sizes = ["vehicle.car"], [_route(space, rng)], [4.0], [], []
    speeds.append(float(rng.uniform(*_EGO_MPS)))
    sizes.append(np.array(EGO_SIZE_M))
    taken = [np.array([*lines[0][8], *sizes[0]])]
    corridor = ego_corridor(lines[0], starts[0], 60.0)
    for _ in range(20 * moving):
        if len(names) == moving:
            break
        sort = _SORTS[list(shares)[rng.choice(len(shares), p=list(shares.values()))]]
        line, size = _route(space, rng), np.array(sort.size_m) * rng.uniform(0.94, 1.06)
        start = float(rng.uniform(2.0, 12.0))
        box = np.array([*line[int(start / routes.SPACING_M)], *size])
        others = np.array(taken)
        gaps = boxes.distances(box[:2], others[:, :3], others[:, 3:5]) - size[0] / 2
        near = np.hypot(*(corridor - box[:2]).T).min() < 1.3 * _NEAR_EGO_M
        if not near or gaps.min() < _PLACE_MARGIN_M:
            continue
        taken.append(box)
        names.append(sort.category)
        lines.append(line)
        starts.append(start)
        speeds.append(float(rng.uniform(*sort.speeds_mps)))
        sizes.append(size)
    return names, lines, starts, speeds, sizes


def _route(space: SharedSpace, rng: Generator) -> NDArray[np.float64]:
    """Draws a route ``[N, 3]`` around blocks, to the right of the middle of the ways."""
    size = np.array([len(space.columns_m), len(space.rows_m)])
    at = rng.integers(size)
    nodes, step, length = [at], None, 0.0
    while length < _ROUTE_M:
        options = [np.array(s) for s in ((1, 0), (0, 1), (-1, 0), (0, -1))
                   if (at + s >= 0).all() and (at + s < size).all()
                   and (step is None or (np.add(s, step) != 0).any())]  # fmt: skip
        step = options[int(rng.integers(len(options)))]
        before, at = at, at + step
        nodes.append(at)
        length += float(np.hypot(*(_point(space, at) - _point(space, before))))
    middle = np.array([_point(space, node) for node in nodes])
    return routes.sample(_beside(middle, -space.kind.keeps_right_m), smoothing_m=_ROUNDING_M)


def _point(space: SharedSpace, node: NDArray[Any]) -> NDArray[np.float64]:
    return np.array([space.columns_m[node[0]], space.rows_m[node[1]]])


def _beside(line: NDArray[Any], left_m: float) -> NDArray[np.float64]:
    """Returns the parallel of a rectilinear polyline ``[P, 2]`` at an offset to the left."""
    step = np.diff(line, axis=0)
    normal = np.stack([-step[:, 1], step[:, 0]], -1) / np.hypot(*step.T)[:, None]
    first, last = np.vstack([normal[:1], normal]), np.vstack([normal, normal[-1:]])
    # At a corner both offsets apply; on a straight way they are the same one.
    both = np.where(np.abs((first * last).sum(-1, keepdims=True)) > 0.5, first, first + last)
    moved: NDArray[np.float64] = line + left_m * both
    return moved


def _parked(
    space: SharedSpace, corridor: NDArray[Any], rng: Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns poses and sizes of the parked cars near the ego's route."""
    bays = space.bays
    if not len(bays):
        return np.zeros((0, 3)), np.zeros((0, 3))
    near = np.hypot(*(corridor[:, None] - bays[:, :2]).transpose(2, 0, 1)).min(0) < 50.0
    used = bays[near & (rng.random(len(bays)) < _TAKEN_SHARE)]
    return used, np.array(CAR_M) * rng.uniform(0.93, 1.03, (len(used), 1))


def _nominal_tracks(fleet: Fleet) -> NDArray[np.float64]:
    """Returns the poses of vehicles every second if nobody is in their way ``[V, S, 3]``."""
    times = np.arange(0.0, _MEETS_WITHIN_S, 1.0) + _WARM_UP_S
    along = fleet.starts_m[:, None] + fleet.speeds_mps[:, None] * times
    return routes.at(fleet.routes, along)


def _walk(
    space: SharedSpace, doors: NDArray[np.int64], tracks: NDArray[Any], rng: Generator
) -> WalkingRoute:
    """Draws a way between two doors that comes near a vehicle, if one is found."""
    along_it = rng.random() < _ALONG_SHARE
    tracks = tracks[:1] if rng.random() < _EGO_SHARE else tracks
    seconds = np.arange(tracks.shape[1]) + _WARM_UP_S
    for _ in range(_TRIES):
        start, end = rng.choice(doors, 2, replace=False).tolist()
        points = space.shortest_way(start, end)
        length = geometry.polyline_length(points)
        begin = float(rng.uniform(0.0, max(length - _WALK_M, 2.0)))
        if length < _SHORTEST_M:
            continue
        along = begin + _WALK_MPS * seconds
        at, soon = points_on(points, along), points_on(points, along + 0.5)
        at[along >= length] = np.inf
        apart = np.hypot(*(tracks[..., :2] - at).transpose(2, 0, 1))
        vehicle, when = np.unravel_index(apart.argmin(), apart.shape)
        heading = np.arctan2(*(soon[when] - at[when])[::-1])
        same_line = abs(np.cos(tracks[vehicle, when, 2] - heading)) > _COS_ALONG
        if apart.min() < _MEETS_M and same_line == along_it:
            break
    return WalkingRoute(list(points), points_on(points, np.array([begin]))[0])


def _group(
    walk: WalkingRoute, stands: bool, first: int, size: int, rng: Generator
) -> list[dict[str, Any]]:
    """Draws a group of one to six, in rows of at most three who walk at the same speed.

    Each row keeps together for itself: its members are a group of `pedestrians.group`.
    """
    length = geometry.polyline_length(np.array(walk.points_m))
    middle = rng.uniform(-0.5, 0.5)
    found: list[dict[str, Any]] = []
    for begin in range(0, size, _ABREAST):
        abreast = min(size - begin, _ABREAST)
        members = pedestrians.group(walk, stands, first + begin, abreast, rng)
        line = members[0]["route"][None]
        start = routes.nearest(line[0], walk.start_m) - begin / _ABREAST * _ROW_M
        for slot, member in enumerate(members):
            aside = middle + _SIDE_M * (slot - (abreast - 1) / 2) + rng.uniform(-0.15, 0.15)
            behind = np.clip(start - rng.uniform(0.0, 0.4), 0.0, length)
            place = routes.at(line, np.array([behind]))[0, :2]
            found.append({
                **member,
                "walk": WalkingRoute(walk.points_m, place),
                "laterals_m": float(np.clip(aside, -1.5, 1.5)),
                "speeds_mps": (found or members)[0]["speeds_mps"],
                "holds_s": _HOLDS * member["holds_s"],
                "pushes": False,
            })  # fmt: skip
    return found
